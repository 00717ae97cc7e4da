"""Inputs and outputs in system shared memory: regions that clients on this machine register.

A region is read and written with `pread` and `pwrite`, not mapped: its owner may make it smaller at any time, and an access
beyond the end of a mapped file would end the server. Only memory of the server's own user is taken, and only for clients on
this machine: otherwise a peer could read and write the shared memory of other programs.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from multiedge.errors import describe, lower_first
from multiedge.serving.inference.contract import Array, Invalid, NotFound, Unsupported
from multiedge.serving.inference.wire import REGION, Call, GivenTensor, Parameters, WantedOutput
from multiedge.transports.open_inference import decode_raw, encode_raw

FOLDER = Path("/dev/shm")
"""Where Linux shows POSIX shared memory."""
MOST_REGIONS = 1024
BYTE_SIZE, OFFSET = "shared_memory_byte_size", "shared_memory_offset"
_KEY = re.compile(r"/?[A-Za-z0-9_-][A-Za-z0-9._-]{0,249}")


@dataclass(frozen=True)
class Region:
    """Bytes [offset, offset + byte_size) of the shared memory object `key`."""

    name: str
    key: str
    offset: int
    byte_size: int


class _Memory:
    """An open shared memory object, closed when nothing refers to it any more."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


class SystemSharedMemory:
    """The registered regions by name; a place for tensors (`multiedge.serving.inference.wire.Place`)."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._regions: dict[str, tuple[Region, _Memory]] = {}
        self._lock = threading.Lock()

    def register(self, region: Region, is_local: bool) -> None:
        """Raises Invalid for one that is not there, too small, or another user's, and for a name that is taken."""
        _require_local(is_local)
        if not region.name or len(region.name) > 255:
            raise Invalid(f"region: expected a name of 1 to 255 characters, got {describe(region.name)}")
        memory = _open(self._folder, region)
        with self._lock:
            if region.name in self._regions:
                raise Invalid(f"region '{region.name}' is registered already; unregister it first")
            if len(self._regions) >= MOST_REGIONS:
                raise Invalid(f"region '{region.name}': {MOST_REGIONS} are registered, and no more may be")
            self._regions[region.name] = (region, memory)

    def unregister(self, name: str, is_local: bool) -> None:
        """Forgets a region, or all for ''. A name that is not known does not matter."""
        _require_local(is_local)
        with self._lock:
            for each in [name] if name else list(self._regions):
                self._regions.pop(each, None)

    def status(self, name: str = "") -> tuple[Region, ...]:
        """One region, or all for ''. Raises NotFound."""
        with self._lock:
            if not name:
                return tuple(region for region, _ in self._regions.values())
        return (self._find(name)[0],)

    # -- as a place for tensors

    def note(self, parameters: Parameters) -> None:
        """Nothing in a request's own parameters concerns it."""

    def has_input(self, parameters: Parameters) -> bool:
        return REGION in parameters

    def takes_output(self, parameters: Parameters) -> bool:
        return REGION in parameters

    def read(self, tensors: Sequence[GivenTensor], call: Call) -> Mapping[str, Array]:
        """Copies of the arrays: the client may change the region meanwhile."""
        arrays = {}
        for tensor in tensors:
            place, memory = self._place(f"input '{tensor.name}'", tensor.parameters, call)
            content = os.pread(memory.descriptor, place.byte_size, place.offset)
            if len(content) < place.byte_size:
                raise Invalid(f"input '{tensor.name}': region '{place.name}' ends after {len(content)} bytes")
            arrays[tensor.name] = decode_raw(tensor.name, tensor.datatype, tensor.shape, content)
        return arrays

    def write(self, output: WantedOutput, array: Array, call: Call) -> Parameters:
        place, memory = self._place(f"output '{output.name}'", output.parameters, call)
        _, content = encode_raw(output.name, array)
        if len(content) > place.byte_size:
            raise Invalid(f"output '{output.name}': {len(content)} bytes do not fit in {place.byte_size} of '{place.name}'")
        if os.fstat(memory.descriptor).st_size < place.offset + len(content):
            raise Invalid(f"output '{output.name}': region '{place.name}' has become smaller")
        _write(memory.descriptor, content, place.offset)
        return {**output.parameters, BYTE_SIZE: len(content)}

    def _find(self, name: str) -> tuple[Region, _Memory]:
        with self._lock:
            if name not in self._regions:
                raise NotFound(f"no region '{name}'; registered: {', '.join(sorted(self._regions)[:20]) or 'none'}")
            return self._regions[name]

    def _place(self, what: str, parameters: Parameters, call: Call) -> tuple[Region, _Memory]:
        """The bytes of the object at which a tensor is, and the object."""
        _require_local(call.is_local())
        region, memory = self._find(str(parameters[REGION]))
        size, offset = _count(what, parameters, BYTE_SIZE, None), _count(what, parameters, OFFSET, 0)
        if offset + size > region.byte_size:
            raise Invalid(f"{what}: bytes {offset} to {offset + size} are not in '{region.name}' of {region.byte_size} bytes")
        return Region(region.name, region.key, region.offset + offset, size), memory


def _require_local(is_local: bool) -> None:
    if not is_local:
        raise Unsupported("shared memory is for clients on this machine; send the contents in the message")


def _count(what: str, parameters: Parameters, name: str, default: int | None) -> int:
    value = parameters.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Invalid(f"{what}: {name}: expected a whole number from 0, got {describe(value)}")
    return value


def _open(folder: Path, region: Region) -> _Memory:
    if not _KEY.fullmatch(region.key):
        raise Invalid(f"region '{region.name}': expected the key of a shared memory object, got {describe(region.key)}")
    if region.offset < 0 or region.byte_size <= 0:
        raise Invalid(f"region '{region.name}': expected an offset from 0 and at least 1 byte")
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        memory = _Memory(os.open(folder / region.key.removeprefix("/"), flags))
    except OSError as error:
        reason = lower_first(error.strerror or "unknown reason")
        raise Invalid(f"region '{region.name}': shared memory '{region.key}': {reason}") from None
    status = os.fstat(memory.descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise Invalid(f"region '{region.name}': '{region.key}' is not shared memory of the server's own user")
    if status.st_size < region.offset + region.byte_size:
        raise Invalid(f"region '{region.name}': '{region.key}' has {status.st_size} bytes, fewer than offset and size")
    return memory


def _write(descriptor: int, content: bytes, offset: int) -> None:
    rest = memoryview(content)
    while rest:
        count = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[count:], offset + count
