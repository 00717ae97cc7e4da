"""Runtimes that can hold a stage: one file or package each, imported only when used.

A backend is a class as `multiedge.backends.contract.Backend` describes it.
"""

from multiedge.registry import Registry

BACKENDS = Registry(
    "backend",
    {
        "litert": "multiedge.backends.litert:LiteRtBackend",
        "mindspore-lite": "multiedge.backends.mindspore_lite:MindSporeLiteBackend",
        "mnn": "multiedge.backends.mnn:MnnBackend",
        "ncnn": "multiedge.backends.ncnn:NcnnBackend",
        "onnxruntime": "multiedge.backends.onnxruntime:OnnxRuntimeBackend",
        "openvino": "multiedge.backends.openvino:OpenVinoBackend",
        "paddle-lite": "multiedge.backends.paddle_lite:PaddleLiteBackend",
        "synthetic": "multiedge.backends.synthetic:SyntheticBackend",
    },
)
