import os

import numpy as np
import onnxruntime
from sedna.common.class_factory import ClassFactory, ClassType

__all__ = ["BaseModel"]

os.environ["BACKEND_TYPE"] = "ONNX"

from cutting import extract


@ClassFactory.register(ClassType.GENERAL, alias="BaseModel")
class BaseModel:
    def __init__(self, cut, device, first_device):
        self.model_parallel = True
        self.cut, self.map_info = cut, {"head.onnx": first_device, "tail.onnx": device}

    def partition(self, initial_model):
        models_dir = os.path.join(os.path.dirname(initial_model), "parts")
        os.makedirs(models_dir, exist_ok=True)
        extract(initial_model, os.path.join(models_dir, "head.onnx"), ["x"], [self.cut])
        extract(initial_model, os.path.join(models_dir, "tail.onnx"), [self.cut], ["y"])
        return models_dir, self.map_info

    def load(self, models_dir, map_info):
        self.devices = list(map_info.values())
        self.sessions = [
            onnxruntime.InferenceSession(os.path.join(models_dir, file), providers=["CPUExecutionProvider"])
            for file in map_info
        ]

    def predict(self, data):
        guesses = []
        for path in data:
            tensors = {"x": np.load(path)}
            for session in self.sessions:
                names = [value.name for value in session.get_outputs()]
                feeds = {value.name: tensors[value.name] for value in session.get_inputs()}
                tensors.update(zip(names, session.run(names, feeds), strict=True))
            guesses.append(int(tensors["y"].argmax()))
        return {"pred": guesses, "stages": " > ".join(self.devices)}
