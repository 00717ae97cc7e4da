import os

import numpy as np
import onnxruntime
from sedna.common.class_factory import ClassFactory, ClassType

__all__ = ["BaseModel"]

os.environ["BACKEND_TYPE"] = "ONNX"


@ClassFactory.register(ClassType.GENERAL, alias="BaseModel")
class BaseModel:
    def __init__(self, **kwargs):
        self.session = None

    def load(self, model_url=None):
        assert os.environ["BASE_MODEL_URL"] == model_url
        self.session = onnxruntime.InferenceSession(model_url, providers=["CPUExecutionProvider"])

    def predict(self, data, train_dataset=None, **kwargs):
        assert os.environ["LOCAL_TEST"] == "TRUE"
        assert (len(train_dataset), train_dataset.data_type) == (2, "train")
        guesses = [int(self.session.run(None, {"x": np.load(path)})[0].argmax()) for path in data]
        with open(os.path.join(os.environ["RESULT_SAVED_URL"], "guesses.txt"), "w") as file:
            file.write(str(guesses))
        return {"pred": guesses}
