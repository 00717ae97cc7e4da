"""One message: the tensors that a stage sends to another for one item, and its form in bytes.

    4 bytes length of the header | header (JSON) | padding to 64 | tensor | padding to 64 | tensor ...

Strings travel inside the header, everything else as its bytes. Decoding copies nothing: arrays are views of the
buffer that the message lies in.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
ALIGNMENT = 64
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Address:
    """Which message: `epoch` counts the placements of a run, `transfer` is its number in the routes, `ticket` the
    place that the item has among those under way, `sequence` the item's number in the order of submission."""

    epoch: int
    transfer: int
    ticket: int
    sequence: int


@dataclass(frozen=True)
class Message:
    """`arrays` in the order of the transfer's tensors, or empty with an `error`. `sent_s` and `due_s` are the moments
    at which it was sent and may be taken (CLOCK_MONOTONIC); `log` is what happened to the item so far, as rows of
    [kind, stage, device, start_s, stop_s, nbytes, peer]."""

    address: Address
    source: str = ""
    arrays: tuple[Array, ...] = ()
    error: str = ""
    sent_s: float = 0.0
    due_s: float = 0.0
    log: Sequence[Sequence[Any]] = field(default_factory=tuple)

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)


class Endpoint(Protocol):
    """Where one process sends and receives.

    Received arrays belong to the sender's memory: they stay as they are until the item's ticket is given out again,
    which is when the caller has the whole answer. Who needs them longer copies.
    """

    def send(self, peer: str, message: Message) -> None:
        """Never blocks on the receiver: there is room for every ticket. A peer that has gone is not an error here."""
        ...

    def receive(self, timeout_s: float) -> list[Message]:
        """What has arrived, after waiting up to `timeout_s` for the first; [] also when `wake` was called."""
        ...

    def wake(self) -> None:
        """Makes a `receive` of this process return; may be called from another thread."""
        ...

    def forget(self, before_epoch: int) -> None:
        """Drops what belongs to earlier epochs."""
        ...

    def close(self) -> None: ...


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def plan_layout(message: Message) -> tuple[bytes, list[tuple[int, Array]], int]:
    """Header, (offset, array) of each payload, and the bytes that all of it takes."""
    specs: list[list[Any]] = []
    placed: list[Array] = []
    for array in message.arrays:
        if array.dtype.hasobject or array.dtype.kind in "US":
            specs.append(["text", list(array.shape), array.ravel().tolist()])
        else:
            array = np.asarray(array, order="C")
            specs.append([array.dtype.str, list(array.shape)])
            placed.append(array)
    head = [message.source, message.error, message.sent_s, message.due_s, message.log, specs]
    header = json.dumps(head, separators=(",", ":"), default=_plain).encode()
    offset, payloads = _aligned(_LENGTH.size + len(header)), []
    for array in placed:
        payloads.append((offset, array))
        offset = _aligned(offset + array.nbytes)
    return header, payloads, offset


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value.item()


def write(buffer: memoryview | bytearray, header: bytes, payloads: Sequence[tuple[int, Array]]) -> None:
    """Puts a planned message into `buffer`."""
    _LENGTH.pack_into(buffer, 0, len(header))
    buffer[_LENGTH.size : _LENGTH.size + len(header)] = header
    for offset, array in payloads:
        np.ndarray(array.shape, array.dtype, buffer, offset)[...] = array


def encode(message: Message) -> bytearray:
    """The message as bytes of its own."""
    header, payloads, size = plan_layout(message)
    buffer = bytearray(size)
    write(buffer, header, payloads)
    return buffer


def decode(address: Address, buffer: Any) -> Message:
    """The message in `buffer`; its arrays are read-only views of it."""
    (length,) = _LENGTH.unpack_from(buffer, 0)
    source, error, sent_s, due_s, log, specs = json.loads(bytes(buffer[_LENGTH.size : _LENGTH.size + length]))
    offset, arrays = _aligned(_LENGTH.size + length), []
    for kind, shape, *text in specs:
        if kind == "text":
            array: Array = np.empty(len(text[0]), dtype=object)
            array[:] = text[0]
            arrays.append(array.reshape(shape))
            continue
        view: Array = np.ndarray(shape, np.dtype(kind), buffer, offset)
        view.flags.writeable = False
        arrays.append(view)
        offset = _aligned(offset + view.nbytes)
    return Message(address, source, tuple(arrays), error, sent_s, due_s, log)
