"""A model file's structure without its weights, by a scan of the protobuf wire format.

Each large tensor is replaced by an external-data reference into the original file: its place by offset and length,
nothing read. That holds for initialisers, for tensors in attributes of nodes, as of Constant, and for both inside the
bodies of If, Loop and Scan. What is left is a few hundred KB that protobuf parses in milliseconds; the rest stays on disk.
Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from multiedge.errors import ModelError

Buffer = memoryview

TENSOR_FLOAT_DATA, TENSOR_RAW_DATA, TENSOR_DOUBLE_DATA = 4, 9, 10
TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION = 13, 14
ENTRY_KEY, ENTRY_VALUE = 1, 2
EXTERNAL = 1

LARGE_BYTES = 1024
"""Tensors below this stay inline: shape inference needs the small ones, and a reference costs as much."""

MOST_DEPTH = 64
"""Messages in messages that are looked into, four for each body inside another; what lies deeper stays as it is."""

MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR = "ModelProto", "GraphProto", "NodeProto", "AttributeProto", "TensorProto"
_INNER = {
    MODEL: {7: GRAPH},
    GRAPH: {1: NODE, 5: TENSOR},
    NODE: {5: ATTRIBUTE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 11: GRAPH},
}
"""The kind of message in a field, by the kind of message that it is in and its number."""

_PACKED_LIKE_RAW = (TENSOR_FLOAT_DATA, TENSOR_RAW_DATA, TENSOR_DOUBLE_DATA)
"""Fields whose packed bytes are what raw_data would hold (little-endian, fixed width)."""


class Field(NamedTuple):
    """One field of a message: `start` to `stop` is the whole field, `begin` to `stop` its payload."""

    number: int
    wire_type: int
    start: int
    begin: int
    stop: int


def without_weights(data: Buffer, location: str) -> bytes:
    """The serialised ModelProto in `data` with every large tensor external in `location`, the same file's name.

    Raises ModelError if `data` is no sequence of protobuf fields.
    """
    return b"".join(_message(data, MODEL, 0, len(data), location, 0))


def _message(data: Buffer, kind: str, start: int, stop: int, location: str, depth: int) -> Iterator[bytes]:
    kept = start
    for field in fields(data, start, stop):
        inner = _INNER[kind].get(field.number)
        if inner is None or field.wire_type != 2 or field.stop - field.begin < LARGE_BYTES or depth == MOST_DEPTH:
            continue
        yield bytes(data[kept : field.start])
        if inner == TENSOR:
            body = b"".join(_tensor(data, field, location))
        else:
            body = b"".join(_message(data, inner, field.begin, field.stop, location, depth + 1))
        yield _tag(field.number, 2) + _varint(len(body)) + body
        kept = field.stop
    yield bytes(data[kept:stop])


def _tensor(data: Buffer, tensor: Field, location: str) -> Iterator[bytes]:
    weights = [
        field
        for field in fields(data, tensor.begin, tensor.stop)
        if field.number in _PACKED_LIKE_RAW and field.wire_type == 2 and field.stop - field.begin >= LARGE_BYTES
    ]
    if len(weights) != 1:
        yield bytes(data[tensor.begin : tensor.stop])
        return
    field = weights[0]
    yield bytes(data[tensor.begin : field.start])
    yield bytes(data[field.stop : tensor.stop])
    for key, value in (("location", location), ("offset", field.begin), ("length", field.stop - field.begin)):
        entry = _text(ENTRY_KEY, key) + _text(ENTRY_VALUE, str(value))
        yield _tag(TENSOR_EXTERNAL_DATA, 2) + _varint(len(entry)) + entry
    yield _tag(TENSOR_DATA_LOCATION, 0) + _varint(EXTERNAL)


def fields(data: Buffer, start: int, stop: int) -> Iterator[Field]:
    """The fields between `start` and `stop`; ModelError at the first byte that is none."""
    at = start
    while at < stop:
        key, begin = _read_varint(data, at, stop)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            _, end = _read_varint(data, begin, stop)
        elif wire_type == 1:
            end = begin + 8
        elif wire_type == 2:
            length, begin = _read_varint(data, begin, stop)
            end = begin + length
        elif wire_type == 5:
            end = begin + 4
        else:
            raise ModelError(f"byte {at} begins no protobuf field")
        if number == 0 or end > stop:
            raise ModelError(f"the field at byte {at} runs past its end: the file is truncated or damaged")
        yield Field(number, wire_type, at, begin, end)
        at = end


def _read_varint(data: Buffer, at: int, stop: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= stop:
            break
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ModelError(f"the number at byte {at} has no end: the file is truncated or damaged")


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _text(number: int, text: str) -> bytes:
    raw = text.encode()
    return _tag(number, 2) + _varint(len(raw)) + raw
