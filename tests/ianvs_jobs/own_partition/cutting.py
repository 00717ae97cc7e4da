import onnx.utils


def extract(model, path, inputs, outputs):
    onnx.utils.extract_model(model, path, inputs, outputs)
