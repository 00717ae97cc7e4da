"""Where a model's large weights lie: external-data references, checked before anything follows them."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto

from multiedge.errors import ModelError
from multiedge.onnx_io.inside import resolve_inside


@dataclass(frozen=True)
class Reference:
    """Bytes [offset, offset + length) of `file`, an absolute path without symbolic links."""

    file: Path
    offset: int
    length: int


def is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def reference(tensor: onnx.TensorProto, folder: Path, files: dict[str, tuple[Path, int]] | None = None) -> Reference:
    """Where the data of an external tensor lies; `folder` is the model's own.

    `files` remembers path and size by location, for many tensors of one model.

    Raises ModelError if the reference leads out of the folder, to no file, or past the file's end: a model may come
    from anywhere, and its paths are not to be trusted.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    place = f"initialiser '{tensor.name}'"
    location = entries.get("location", "")
    files = {} if files is None else files
    if location not in files:
        found = resolve_inside(folder, location, place)
        files[location] = (found, _size(found, place))
    file, size = files[location]
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", size - offset))
    except ValueError:
        raise ModelError(f"{place}: expected offset and length as numbers, got {entries}") from None
    if offset < 0 or length < 0 or offset + length > size:
        raise ModelError(f"{place}: bytes {offset} to {offset + length} lie outside '{location}', which has {size}")
    return Reference(file, offset, length)


def external_references(path: Path) -> list[tuple[str, Reference]]:
    """The name of each initialiser of an ONNX file that lies outside of it, and where. ModelError as `reference` raises it, or
    if the file is no model."""
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf has its own classes of errors
        raise ModelError(f"{path.name}: is no ONNX model: {type(error).__name__}") from error
    files: dict[str, tuple[Path, int]] = {}
    tensors = [tensor for tensor in proto.graph.initializer if is_external(tensor)]
    return [(tensor.name, reference(tensor, path.parent, files)) for tensor in tensors]


def _size(file: Path, place: str) -> int:
    try:
        found = file.stat()
    except OSError as error:
        raise ModelError(f"{place}: external data file '{file.name}' cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise ModelError(f"{place}: expected external data in a file, but '{file.name}' is a folder, a pipe or a device")
    return found.st_size


def inline(tensor: onnx.TensorProto, place: Reference) -> None:
    """Makes an external tensor hold its data itself."""
    with place.file.open("rb") as file:
        file.seek(place.offset)
        tensor.raw_data = file.read(place.length)
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT


def refer(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Makes `tensor` an external one that lies at `offset` of `location`."""
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    tensor.data_location = TensorProto.EXTERNAL
