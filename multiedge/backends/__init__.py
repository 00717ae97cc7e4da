"""Runtimes that can hold a stage: one file each, imported only when asked for.

A backend is a class with `open(path, device=None, **options) -> Session`; see `multiedge.backends.contract`.
"""

from multiedge.registry import Registry

BACKENDS = Registry(
    "backend",
    {
        "onnxruntime": "multiedge.backends.onnxruntime:OnnxRuntimeBackend",
        "synthetic": "multiedge.backends.synthetic:SyntheticBackend",
    },
)
