"""One message, the tensors that one stage sends to another for one item, and its encoding in bytes.

    head (fixed) | source | specs (JSON) | padding to 64 | tensor | padding to 64 | tensor ... | error | log

Decoding copies strings only: arrays are views of the message's buffer. What repeats from message to message (source, dtypes
and shapes) is a `Layout`, made once. It does not depend on error and log, so the tensors can be written before these are known.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from multiedge.fleet import Encoding
from multiedge.transports.clock import RunClock
from multiedge.transports.coding import coded, is_coded, kind_of, parsed_kind, restored

Array = npt.NDArray[Any]
ALIGNMENT = 64
_HEAD = struct.Struct("<ddIIII")
"""When it was sent and when it is due; the bytes of source, specs, error and log."""
_HEADER_LENGTHS, _LENGTHS_AT = struct.Struct("<II"), 16
_TEXT = "text"
GATHERED_BYTES = 32_768
"""Smaller arrays are copied where messages are gathered: that takes less time than another piece."""
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
    it may be received (CLOCK_MONOTONIC); `log` holds the events of the item so far: see `log_row`. `encoding` is how the arrays
    are to be sent, and `coded_bytes` what they took on the way, of a message that came encoded; the arrays are restored."""

    address: Address
    source: str = ""
    arrays: tuple[Array, ...] = ()
    error: str = ""
    sent_s: float = 0.0
    due_s: float = 0.0
    log: bytes = b""
    encoding: Encoding = Encoding.NONE
    coded_bytes: int | None = None

    @property
    def nbytes(self) -> int:
        """What the arrays take, or took on the way if they came encoded."""
        return sum(array.nbytes for array in self.arrays) if self.coded_bytes is None else self.coded_bytes


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

    clock: RunClock
    """Times in messages are on this clock."""

    def reserve(self, address: Address, source: str, specs: Sequence[ArraySpec]) -> tuple[Array, ...] | None:
        """The memory of the message that is sent next for `address`, as writable arrays that hold anything; None if messages
        have no memory of their own here. Arrays of these in that message are sent without a copy."""
        ...

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


class ArraySpec(NamedTuple):
    """What is known of an array before it exists."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


Spec = tuple[str, tuple[int, ...], int]
"""Of one array: dtype (or 'text', or dtype and encoding), shape, bytes of its payload."""


@dataclass(frozen=True, eq=False)
class Layout:
    """What messages of one source have in common whose arrays have the same dtypes and shapes.

    `header` follows the head; `offsets` are those of the payloads from the start of the message, which end at `stop`.
    `has_views_only` is whether every array is a view of the message, as texts and encoded arrays are not. `coded_bytes` are the
    bytes of all payloads if some are encoded.
    """

    source: str
    specs: tuple[Spec, ...]
    header: bytes
    source_bytes: int
    offsets: tuple[int, ...]
    stop: int
    has_views_only: bool
    coded_bytes: int | None

    def write_header(self, buffer: Any, start: int) -> None:
        """Writes what does not change from message to message to `buffer`, in which the message begins at `start`."""
        buffer[start + _HEAD.size : start + _HEAD.size + len(self.header)] = self.header

    def write_head(self, buffer: Any, start: int, message: Message) -> bytes:
        """Writes what comes before the header, and returns what follows the payloads."""
        error = message.error.encode(errors="backslashreplace")
        lengths = (self.source_bytes, len(self.header) - self.source_bytes, len(error), len(message.log))
        _HEAD.pack_into(buffer, start, message.sent_s, message.due_s, *lengths)
        return error + message.log

    def write_rest(self, buffer: Any, start: int, message: Message) -> None:
        """Writes all but header and payloads."""
        if tail := self.write_head(buffer, start, message):
            buffer[start + self.stop : start + self.stop + len(tail)] = tail

    def nbytes(self, message: Message) -> int:
        """The size of the whole message."""
        return self.stop + len(message.error.encode(errors="backslashreplace")) + len(message.log)

    def places(self, buffer: Any, start: int) -> tuple[Array, ...]:
        """The payloads as writable arrays; a text and an encoded array are arrays of bytes."""
        return tuple(
            np.ndarray(nbytes, np.uint8, buffer, start + offset)
            if _is_copied(kind)
            else np.ndarray(shape, kind, buffer, start + offset)
            for (kind, shape, nbytes), offset in zip(self.specs, self.offsets, strict=True)
        )

    def views(self, buffer: Any, start: int) -> tuple[Array, ...]:
        """The message's arrays: read-only views of `buffer`, and texts."""
        arrays = []
        for (kind, shape, _), place in zip(self.specs, self.places(buffer, start), strict=True):
            place.flags.writeable = False
            arrays.append(_restored(kind, place, shape) if _is_copied(kind) else place)
        return tuple(arrays)


def plan_layout(message: Message) -> tuple[Layout, Sequence[Array]]:
    """The layout, and what is written to each payload: the arrays, and texts as bytes."""
    specs, payloads = [], []
    for array in message.arrays:
        dtype = array.dtype
        if dtype.hasobject or dtype.kind in "US":
            text = np.frombuffer(json.dumps(array.ravel().tolist(), default=_plain).encode(), dtype=np.uint8)
            specs.append((_TEXT, array.shape, text.nbytes))
            payloads.append(text)
        elif is_coded(dtype, message.encoding):
            payload = coded(array, message.encoding)
            specs.append((kind_of(dtype, message.encoding), array.shape, payload.nbytes))
            payloads.append(payload)
        else:
            specs.append((dtype.str, array.shape, array.nbytes))
            payloads.append(array)
    return layout_of(message.source, tuple(specs)), payloads


def plan_places(source: str, specs: Sequence[ArraySpec]) -> Layout:
    """The layout of a message whose arrays are still to be written."""
    return layout_of(source, tuple((spec.dtype.str, spec.shape, spec.nbytes) for spec in specs))


def encode(message: Message, room: int = 0) -> bytearray:
    """The message as new bytes, after `room` bytes that are left free."""
    return bytearray().join(gather(message, room))


def gather(message: Message, room: int = 0) -> list[bytearray | memoryview]:
    """The message after `room` bytes that are left free, in pieces: large arrays are views of their own memory, between new
    bytes. No piece is empty, and the first can be written to."""
    layout, payloads = plan_layout(message)
    pieces: list[bytearray | memoryview] = []
    run, at = bytearray(room + _HEAD.size), _HEAD.size + len(layout.header)
    tail = layout.write_head(run, room, message)
    run += layout.header
    for offset, array in zip(layout.offsets, payloads, strict=True):
        run += bytes(offset - at)
        at = offset + array.nbytes
        if array.nbytes < GATHERED_BYTES:
            run += array.tobytes()
        else:
            view = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            pieces += [run, view] if run else [view]
            run = bytearray()
    run += bytes(layout.stop - at)
    run += tail
    return [*pieces, run] if run else pieces


def decode(address: Address, buffer: Any) -> Message:
    """The message in `buffer`; its arrays are read-only views of it."""
    layout = read_layout(buffer, 0)
    return read_message(address, layout, layout.views(buffer, 0), buffer, 0)


def read_layout(buffer: Any, start: int) -> Layout:
    """The layout of the message that begins at `start`."""
    source_bytes, specs_bytes = _HEADER_LENGTHS.unpack_from(buffer, start + _LENGTHS_AT)
    begin = start + _HEAD.size
    return _parsed(bytes(buffer[begin : begin + source_bytes + specs_bytes]), source_bytes)


def read_message(address: Address, layout: Layout, arrays: tuple[Array, ...], buffer: Any, start: int) -> Message:
    """The message of this layout and these arrays, with the rest from `buffer`."""
    sent_s, due_s, _, _, error_bytes, log_bytes = _HEAD.unpack_from(buffer, start)
    if not (error_bytes or log_bytes):
        return Message(address, layout.source, arrays, "", sent_s, due_s, coded_bytes=layout.coded_bytes)
    error_stop = start + layout.stop + error_bytes
    error = bytes(buffer[error_stop - error_bytes : error_stop]).decode()
    log = bytes(buffer[error_stop : error_stop + log_bytes])
    return Message(address, layout.source, arrays, error, sent_s, due_s, log, coded_bytes=layout.coded_bytes)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value.item()


def _is_copied(kind: str) -> bool:
    """Whether an array of this kind is made from its payload, and no view of it."""
    return kind == _TEXT or " " in kind


def _restored(kind: str, payload: Array, shape: tuple[int, ...]) -> Array:
    if kind == _TEXT:
        return _text(payload, shape)
    dtype, encoding = parsed_kind(kind)
    array = restored(payload, encoding, dtype, shape)
    array.flags.writeable = False
    return array


def _text(payload: Array, shape: tuple[int, ...]) -> Array:
    values = json.loads(payload.tobytes())
    array: Array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)


@lru_cache(_LAYOUTS)
def layout_of(source: str, specs: tuple[Spec, ...]) -> Layout:
    """The layout of messages from `source` with such arrays."""
    name = source.encode()
    header = name + json.dumps(specs, separators=(",", ":")).encode()
    offsets, stop = [], _aligned(_HEAD.size + len(header))
    for _, _, nbytes in specs:
        offsets.append(stop)
        stop = _aligned(stop + nbytes)
    copied = [kind for kind, _, _ in specs if _is_copied(kind)]
    coded_bytes = sum(nbytes for _, _, nbytes in specs) if any(kind != _TEXT for kind in copied) else None
    return Layout(source, specs, header, len(name), tuple(offsets), stop, not copied, coded_bytes)


@lru_cache(_LAYOUTS)
def _parsed(header: bytes, source_bytes: int) -> Layout:
    """The layout that wrote this header."""
    specs = tuple((kind, tuple(shape), nbytes) for kind, shape, nbytes in json.loads(header[source_bytes:]))
    return layout_of(header[:source_bytes].decode(), specs)
