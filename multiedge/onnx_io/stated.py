"""Of what an ONNX file states that it is composed, read without onnx: each worker asks, and need not load it."""

from __future__ import annotations

import mmap
from pathlib import Path

from multiedge.composed import DOMAIN, Composition
from multiedge.errors import ModelError
from multiedge.formats.composed import parse_composition
from multiedge.onnx_io.wire import ENTRY_KEY, ENTRY_VALUE, Field, fields

_METADATA = 14
"""Field number in ModelProto."""


def composition_in(path: Path) -> Composition | None:
    """Of what the file at `path` is composed; None for what is no ONNX model, or one of a single model. Weights are not read.

    ModelError if it states what cannot be read.
    """
    text = _stated(path)
    return None if text is None else parse_composition(text, str(path))


def is_composed(path: Path) -> bool:
    """Whether the file at `path` is an ONNX model that states of what it is composed. Weights are not read."""
    return _stated(path) is not None


def _stated(path: Path) -> str | None:
    """The value of the file's metadata under DOMAIN."""
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as data,
        ):
            entries = [field for field in fields(data, 0, len(data)) if field.number == _METADATA]
            texts = [{each.number: _text(data, each) for each in fields(data, entry.begin, entry.stop)} for entry in entries]
    except (OSError, ValueError, ModelError):  # missing, empty or no model: whoever opens it says so
        return None
    return next((text.get(ENTRY_VALUE, "") for text in texts if text.get(ENTRY_KEY) == DOMAIN), None)


def _text(data: memoryview, field: Field) -> str:
    return bytes(data[field.begin : field.stop]).decode()
