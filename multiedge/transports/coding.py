"""Arrays as bytes that are fewer than their own, and back: what a transfer with an encoding sends.

float16 rounds arrays of float32 and leaves all others as they are; zstd compresses every array without loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from multiedge.errors import MissingDependencyError, PipelineError
from multiedge.fleet import Encoding

Array = npt.NDArray[Any]
ZSTD_LEVEL = 1
"""The fastest of the usual levels: a link is slower than the processor, but not by much."""


def require_zstandard() -> None:
    """MissingDependencyError unless arrays can be compressed here."""
    if find_spec("zstandard") is None:
        raise MissingDependencyError("zstandard", extra="fleet")


def is_coded(dtype: np.dtype[Any], encoding: Encoding) -> bool:
    """Whether numbers of this type are sent in another form."""
    return encoding is Encoding.ZSTD or (encoding is Encoding.FLOAT16 and dtype.kind == "f" and dtype.itemsize == 4)


def coded(array: Array, encoding: Encoding) -> Array:
    """The bytes that are sent for an array for which `is_coded` holds, as uint8.

    Raises:
        PipelineError: If float16 cannot hold one of its values.
    """
    if encoding is Encoding.FLOAT16:
        return _bytes_of(as_float16(array))
    import zstandard

    return np.frombuffer(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(_bytes_of(array).data), np.uint8)


def restored(payload: Array, encoding: Encoding, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """The array for which `payload` was sent; ValueError if that is not what `coded` returns."""
    if encoding is Encoding.FLOAT16:
        return payload.view(np.float16).astype(dtype).reshape(shape)
    import zstandard

    data, nbytes = payload.tobytes(), math.prod(shape) * dtype.itemsize
    try:
        # The size is compared first: a few bytes can claim to be a petabyte.
        if (stated := zstandard.get_frame_parameters(data).content_size) != nbytes:
            raise ValueError(f"expected {nbytes} compressed bytes, got {stated}")
        return np.frombuffer(zstandard.ZstdDecompressor().decompress(data), dtype).reshape(shape)
    except zstandard.ZstdError as error:
        raise ValueError(f"expected bytes compressed by zstd: {error}") from None


def as_float16(array: Array) -> Array:
    """The array rounded to float16; PipelineError if a finite value is too large for it."""
    try:
        with np.errstate(over="raise"):
            return array.astype(np.float16)
    except FloatingPointError:
        largest = float(np.abs(array[np.isfinite(array)]).max())
        raise PipelineError(
            f"float16 holds values up to 65504, got {largest:g}; remove `encoding: float16` from the link and plan again"
        ) from None


def through_link(array: Array, encoding: Encoding) -> Array:
    """The array as the receiver gets it."""
    if encoding is Encoding.FLOAT16 and is_coded(array.dtype, encoding):
        return as_float16(array).astype(array.dtype)
    return array


def expected_bytes(arrays: Iterable[Array], encoding: Encoding) -> int:
    """What the arrays take on a link; of zstd, whose ratio is not known before, as much as without."""
    halved = encoding is Encoding.FLOAT16
    return sum([array.nbytes // 2 if halved and is_coded(array.dtype, encoding) else array.nbytes for array in arrays])


def _bytes_of(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def kind_of(dtype: np.dtype[Any], encoding: Encoding) -> str:
    """How a message names an encoded array."""
    return f"{dtype.str} {encoding.value}"


@lru_cache
def parsed_kind(kind: str) -> tuple[np.dtype[Any], Encoding]:
    """Type and encoding of an array of this kind."""
    dtype, _, encoding = kind.partition(" ")
    return np.dtype(dtype), Encoding(encoding)
