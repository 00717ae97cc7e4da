import os

import numpy as np
import onnxruntime
from sedna.common.class_factory import ClassFactory, ClassType

__all__ = ["BaseModel"]

os.environ["BACKEND_TYPE"] = "ONNX"


@ClassFactory.register(ClassType.GENERAL, alias="BaseModel")
class BaseModel:
    def __init__(self, **kwargs):
        self.model_parallel = True
        self.partition_point_list = [
            {"input_names": ["x"], "output_names": ["h2"], "device_name": "phone"},
            {"input_names": ["h2"], "output_names": ["y"], "device_name": "tablet"},
        ]

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
