"""What every runtime looks like to the rest: a model file goes in, a session that maps named tensors comes out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from multiedge.fleet import Device

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]


class Session(Protocol):
    """A loaded stage. `inputs` and `outputs` are tensor names in the model's order."""

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Every output by name. Inputs are only read, never kept: they may be views of memory that is used again."""
        ...

    def close(self) -> None: ...


class Backend(Protocol):
    """A runtime. Raises ModelError for a file that is missing, damaged or of another format."""

    @staticmethod
    def open(path: str | Path, device: Device | None = None, **options: Any) -> Session: ...


def contiguous(array: Any) -> Any:
    """The array itself if its bytes lie in one piece in native order, else a copy that does; lists stay as they are."""
    if not isinstance(array, np.ndarray) or array.dtype.hasobject:
        return array
    # Not ascontiguousarray, which makes a vector of a scalar.
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
