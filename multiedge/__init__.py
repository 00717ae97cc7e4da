"""Split any ONNX model over heterogeneous devices, run it as a pipeline, measure it honestly."""

__version__ = "0.1.0"
