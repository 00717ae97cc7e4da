"""The arrays of one .npz file. Type and shape of each are checked before its data are unpacked: a small archive can hold
terabytes, and a file can state any size."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import numpy.typing as npt

from multiedge.errors import ConfigError, MultiedgeError, did_you_mean
from multiedge.files import replacing
from multiedge.graph import Tensor
from multiedge.quantity import human_bytes

Arrays = dict[str, npt.NDArray[Any]]

MAX_ARRAY_BYTES = 1 << 30
"""The largest array of a file: the sizes of a dynamic input have no limit of their own."""
_SUFFIX = ".npy"
_MAX_HEADER_BYTES = 10_000
"""As numpy's own limit; numpy reads a header of any size before it refuses it."""
_FRONT_BYTES = 12
"""Magic string, version, and the length of the header."""


def write_npz(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes the arrays by name; ConfigError if the file cannot be written. Texts are written as numpy's, not as objects."""
    plain = {name: array.astype(np.str_) if array.dtype == object else array for name, array in arrays.items()}
    with replacing(path, sync=False) as file:
        np.savez(file, allow_pickle=False, **plain)


def read_npz(path: Path, inputs: Mapping[str, Tensor]) -> Arrays:
    """The arrays of the file, one for each of `inputs`, of its type and shape; ConfigError that names what differs."""
    with _explained(path, next(iter(inputs), "name")):
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{path}: is no regular file; expected an .npz")
        with open(path, "rb") as file, ZipFile(file) as archive:
            members = _members(path, archive, inputs)
            for name in inputs:
                if name not in members:
                    raise ConfigError(f"{path}: the model's input '{name}' is not in there{did_you_mean(name, members)}")
            return {name: _array(path, archive, members[name], inputs[name]) for name in inputs}


def array_names(path: Path) -> list[str]:
    """The names of the arrays in the file; ConfigError if it is no .npz."""
    with _explained(path, "name"), ZipFile(path) as archive:
        return [member.removesuffix(_SUFFIX) for member in archive.namelist()]


def _members(path: Path, archive: ZipFile, inputs: Mapping[str, Tensor]) -> dict[str, ZipInfo]:
    members: dict[str, ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(_SUFFIX)
        if name not in inputs:
            raise ConfigError(f"{path}: '{name}' is no input of the model{did_you_mean(name, inputs)}")
        if name in members or not member.filename.endswith(_SUFFIX):
            raise ConfigError(f"{path}: expected one array '{name}{_SUFFIX}', got another member '{member.filename}'")
        members[name] = member
    return members


def _array(path: Path, archive: ZipFile, member: ZipInfo, tensor: Tensor) -> npt.NDArray[Any]:
    with archive.open(member) as stream:
        dtype, shape, is_fortran, begin = _header(stream)
        place = f"{path}: input '{tensor.name}'"
        _require_fits(place, dtype, shape, tensor)
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes > MAX_ARRAY_BYTES:
            raise ConfigError(f"{place}: expected at most {human_bytes(MAX_ARRAY_BYTES)}, got {human_bytes(float(nbytes))}")
        data = begin + stream.read(max(0, nbytes - len(begin) + 1))
    if len(data) != nbytes:
        raise ConfigError(f"{place}: expected {nbytes} bytes for {dtype} {list(shape)}, the file has other content")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")


def _header(stream: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool, bytes]:
    """Type, shape and order of an .npy file, and the bytes of its data that were read with them; ValueError if it has none."""
    front = BytesIO(stream.read(_FRONT_BYTES + _MAX_HEADER_BYTES))
    version = np.lib.format.read_magic(front)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(front, _MAX_HEADER_BYTES)
    if dtype.hasobject or not dtype.itemsize or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError("pickled objects, types without a size, and negative sizes are no array")
    return dtype, shape, is_fortran, front.read()


def _require_fits(place: str, dtype: np.dtype[Any], got: tuple[int, ...], tensor: Tensor) -> None:
    shape = tensor.shape
    fits = shape is None or (
        len(shape) == len(got) and all(not isinstance(want, int) or want == size for want, size in zip(shape, got, strict=True))
    )
    if not fits or tensor.dtype not in (None, "object", dtype.name):
        sizes = "of any shape" if shape is None else list(shape)
        raise ConfigError(f"{place}: expected {tensor.dtype} {sizes}, got {dtype} {list(got)}; convert it before it is saved")


@contextmanager
def _explained(path: Path, example: str) -> Iterator[None]:
    try:
        yield
    except MultiedgeError:
        raise
    except Exception:  # zipfile, zlib and numpy's parser of headers raise a dozen classes
        raise ConfigError(
            f"{path}: expected an .npz with one array per input of the model, as numpy.savez(path, {example}=array) writes it"
        ) from None
