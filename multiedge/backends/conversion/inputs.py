"""Inputs of one part that are kept beside its conversions: they calibrate, and agreement and accuracy are measured on them.

What is converted with them is another conversion than one without, so whoever opens the part later gets the same as before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.errors import ModelError
from multiedge.onnx_io.npz import write_npz

SUFFIX = ".inputs.npz"
LABELS = "labels"


@dataclass(frozen=True)
class PartInputs:
    """Inputs of a part.

    Attributes:
        items: Arrays by name of the part's inputs, one mapping for each item.
        labels: The right class of each item; empty if they are not known, or if the part does not end with classes.
    """

    items: tuple[Mapping[str, Any], ...]
    labels: tuple[int, ...] = ()

    @cached_property
    def digest(self) -> str:
        """A name of the values."""
        content = hashlib.sha256(repr(self.labels).encode())
        for item in self.items:
            for name, value in sorted(item.items()):
                array = np.ascontiguousarray(value)
                content.update(f"{name} {array.dtype} {array.shape}".encode())
                content.update(array.tobytes())
        return content.hexdigest()[:16]


def inputs_file(part: Path, keep: Path) -> Path:
    """Where the inputs of a part are kept, in the folder of its conversions."""
    return keep / f"{part.stem}{SUFFIX}"


def keep_inputs(part: Path, keep: Path, inputs: PartInputs) -> None:
    """Writes the inputs in place of those that were kept before; ModelError if they are no arrays."""
    arrays: dict[str, Any] = {}
    for number, item in enumerate(inputs.items):
        for name, value in item.items():
            if not isinstance(value, np.ndarray) or value.dtype.hasobject:
                raise ModelError(f"{part}: expected arrays of numbers as inputs, got '{name}' of another type")
            arrays[f"{number}/{name}"] = value
    if inputs.labels:
        arrays[LABELS] = np.array(inputs.labels, dtype=np.int64)
    keep.mkdir(parents=True, exist_ok=True)
    write_npz(inputs_file(part, keep), arrays)


def kept_inputs(part: Path, keep: Path) -> PartInputs | None:
    """The inputs that were kept for a part; None if there are none. ModelError for a damaged file."""
    path = inputs_file(part, keep)
    if not path.is_file():
        return None
    items: dict[int, dict[str, Any]] = {}
    labels: tuple[int, ...] = ()
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                number, _, name = key.partition("/")
                if key == LABELS:
                    labels = tuple(arrays[key].tolist())
                else:
                    items.setdefault(int(number), {})[name] = arrays[key]
    except Exception as error:  # zipfile, zlib and numpy raise a dozen classes
        raise ModelError(f"{path}: is damaged; convert the model again with --inputs") from error
    return PartInputs(tuple(items[number] for number in sorted(items)), labels)
