"""One message, the tensors that one stage sends to another for one item, and its encoding in bytes.

    head (fixed) | source | specs (JSON) | error | log | padding to 64 | tensor | padding to 64 | tensor ...

Decoding copies strings only: arrays are views of the message's buffer. Dtypes and shapes, which repeat from message to
message, are parsed once.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
ALIGNMENT = 64
_HEAD = struct.Struct("<ddIIII")
_TEXT = "text"
_LAYOUTS = 1024
"""How many combinations of dtypes and shapes are cached."""


class Address(NamedTuple):
    """Identifies a message: `epoch` counts the placements of a run, `transfer` is its number in the routes, `ticket` the
    item's slot among the items in the pipeline, `sequence` the item's number in the order of submission."""

    epoch: int
    transfer: int
    ticket: int
    sequence: int


class Message(NamedTuple):
    """`arrays` in the order of the transfer's tensors, or empty with an `error`. `sent_s` is when it was sent, `due_s` when
    it may be received (CLOCK_MONOTONIC); `log` holds the events of the item so far: see `log_row`."""

    address: Address
    source: str = ""
    arrays: tuple[Array, ...] = ()
    error: str = ""
    sent_s: float = 0.0
    due_s: float = 0.0
    log: bytes = b""

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)


def log_row(kind: str, stage: int, device: str, start_s: float, stop_s: float, nbytes: int, peer: str) -> bytes:
    """One event as a message carries it; `join_logs` joins rows."""
    return json.dumps([kind, stage, device, start_s, stop_s, nbytes, peer], separators=(",", ":")).encode()


def join_logs(logs: Iterable[bytes]) -> bytes:
    return b",".join(filter(None, logs))


def log_rows(log: bytes) -> list[list[Any]]:
    """The events of a log, as lists of `log_row`'s arguments."""
    rows: list[list[Any]] = json.loads(b"[" + log + b"]")
    return rows


class Endpoint(Protocol):
    """Where one process sends and receives.

    Received arrays are in shared memory and stay valid until `release`; copy them to keep them longer.
    """

    def send(self, peer: str, message: Message) -> None:
        """Sends without blocking on the receiver: there is room for every ticket. A peer that has ended is no error."""
        ...

    def receive(self, timeout_s: float) -> list[Message]:
        """The messages that have arrived, after waiting up to `timeout_s` for the first; [] also when `wake` was called."""
        ...

    def release(self, address: Address) -> None:
        """Gives the memory of a received message back to its sender; its arrays must not be read any more."""
        ...

    def wake(self) -> None:
        """Makes `receive` return in this process; may be called from another thread."""
        ...

    def forget(self, before_epoch: int) -> None:
        """Drops messages and memory of earlier epochs."""
        ...

    def close(self) -> None: ...


Spec = tuple[str, tuple[int, ...], int]
"""Of one array: dtype (or 'text'), shape, bytes of its payload."""


def plan_layout(message: Message) -> tuple[bytes, list[tuple[int, Array]], int]:
    """The header, the (offset, array) of each payload, and the size of the whole in bytes."""
    payloads = [_payload(array) for array in message.arrays]
    specs, offsets, size = _layout(tuple(spec for spec, _ in payloads))
    source, error = message.source.encode(), message.error.encode(errors="backslashreplace")
    head = _HEAD.pack(message.sent_s, message.due_s, len(source), len(specs), len(error), len(message.log))
    header = b"".join((head, source, specs, error, message.log))
    start = _aligned(len(header))
    placed = [(start + offset, array) for offset, (_, array) in zip(offsets, payloads, strict=True)]
    return header, placed, start + size


def write(buffer: Any, header: bytes, payloads: Sequence[tuple[int, Array]]) -> None:
    """Writes a planned message into `buffer`."""
    buffer[: len(header)] = header
    for offset, array in payloads:
        np.ndarray(array.shape, array.dtype, buffer, offset)[...] = array


def encode(message: Message, room: int = 0) -> bytearray:
    """The message as new bytes, after `room` bytes that are left free."""
    header, payloads, size = plan_layout(message)
    buffer = bytearray(room + size)
    write(memoryview(buffer)[room:], header, payloads)
    return buffer


def decode(address: Address, buffer: Any) -> Message:
    """The message in `buffer`; its arrays are read-only views of it."""
    sent_s, due_s, *lengths = _HEAD.unpack_from(buffer, 0)
    fields, end = [], _HEAD.size
    for length in lengths:
        fields.append(bytes(buffer[end : end + length]))
        end += length
    source, specs, error, log = fields
    start = _aligned(end)
    arrays = tuple(_view(kind, shape, nbytes, buffer, start + offset) for kind, shape, nbytes, offset in _parsed(specs))
    return Message(address, source.decode(), arrays, error.decode(), sent_s, due_s, log)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _payload(array: Array) -> tuple[Spec, Array]:
    """The description of an array, and what is copied: the array, or its strings as JSON."""
    if array.dtype.hasobject or array.dtype.kind in "US":
        text = np.frombuffer(json.dumps(array.ravel().tolist(), default=_plain).encode(), dtype=np.uint8)
        return (_TEXT, array.shape, text.nbytes), text
    return (array.dtype.str, array.shape, array.nbytes), array


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value.item()


@lru_cache(_LAYOUTS)
def _layout(specs: tuple[Spec, ...]) -> tuple[bytes, tuple[int, ...], int]:
    """The specs as JSON, the offset of each payload from the first, and the bytes of all of them."""
    offsets, size = [], 0
    for _, _, nbytes in specs:
        offsets.append(size)
        size = _aligned(size + nbytes)
    return json.dumps(specs, separators=(",", ":")).encode(), tuple(offsets), size


@lru_cache(_LAYOUTS)
def _parsed(specs: bytes) -> tuple[tuple[str, tuple[int, ...], int, int], ...]:
    """The specs that `_layout` wrote, each with its offset."""
    parsed = tuple((kind, tuple(shape), nbytes) for kind, shape, nbytes in json.loads(specs))
    return tuple((*spec, offset) for spec, offset in zip(parsed, _layout(parsed)[1], strict=True))


def _view(kind: str, shape: tuple[int, ...], nbytes: int, buffer: Any, offset: int) -> Array:
    if kind == _TEXT:
        text = json.loads(bytes(buffer[offset : offset + nbytes]))
        array: Array = np.empty(len(text), dtype=object)
        array[:] = text
        return array.reshape(shape)
    view: Array = np.ndarray(shape, kind, buffer, offset)
    view.flags.writeable = False
    return view
