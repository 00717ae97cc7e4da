"""The models that benchmarks run on."""

from __future__ import annotations

from pathlib import Path

import onnx

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def path_of(name: str) -> Path:
    """The file of a model: an ONNX file itself, a `light_*` model of the onnx package, or one that the tests export once.

    LookupError if the name is none of these.
    """
    if Path(name).is_file():
        return Path(name)
    if name.startswith("light_"):
        path = LIGHT / f"{name}.onnx"
        if not path.exists():
            raise LookupError(f"the onnx package has no model '{name}'")
        return path
    from tests.builders import models

    exported = getattr(models, name, None)
    if exported is None:
        raise LookupError(f"'{name}' is neither a file nor a model of tests/builders/models.py")
    return Path(exported())
