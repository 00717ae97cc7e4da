"""The Open Inference Protocol v2 over gRPC: messages, and tensors in and out of them.

The messages are built from a table of field numbers (`multiedge.transports.inference_messages`), so no generated code is kept
here. Tensors are always sent as raw contents: typed contents cost about 28 ms per message for 600 KB. Both kinds are read.
`grpc` and `protobuf` come with the extra `remote`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from multiedge.errors import MissingDependencyError, PipelineError, did_you_mean
from multiedge.transports.inference_messages import MESSAGES, PACKAGE

Array = npt.NDArray[Any]

SERVICE = f"{PACKAGE}.GRPCInferenceService"
MAX_MESSAGE_BYTES = 256 << 20
"""How large a request may be unless the server is given another limit."""
HEADER = "Inference-Header-Content-Length"
"""Over HTTP, the header with the number of bytes of JSON in a body that has binary contents after it."""
BINARY_SIZE = "binary_data_size"
"""Over HTTP, the parameter of a tensor with the number of bytes of its binary contents."""
UNLIMITED_MESSAGES = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))

_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    **{f"{kind.upper()}{bits}": np.dtype(f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
}
_DATATYPES = {dtype: name for name, dtype in _DTYPES.items()}
DATATYPES = (*_DTYPES, "BYTES")
_TYPED_FIELDS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field of typed contents that holds a datatype; FP16 has none."""
CHOICE = "parameter_choice"
"""The choice in a message of which one field is set, such as the value of a parameter."""
_WIDE = {"int_contents": np.dtype(np.int32), "uint_contents": np.dtype(np.uint32)}


@lru_cache(maxsize=1)
def messages() -> dict[str, Any]:
    """The protocol's message classes by name. Raises MissingDependencyError without protobuf."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise MissingDependencyError("protobuf", extra="remote") from error
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="multiedge/open_inference.proto", package=PACKAGE, syntax="proto3")
    for message, fields in MESSAGES.items():
        declared = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            field = declared.field.add(name=name, number=number)
            field.label = field_type.LABEL_REPEATED if kind.endswith("*") else field_type.LABEL_OPTIONAL
            if kind.endswith("?"):
                if not declared.oneof_decl:
                    declared.oneof_decl.add(name=CHOICE)
                field.oneof_index = 0
            kind = kind.rstrip("*?")
            if kind in MESSAGES:
                field.type, field.type_name = field_type.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                field.type = getattr(field_type, f"TYPE_{kind.upper()}")
    # A separate pool: the default one may already hold another package's copy of the same protocol.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}


def grpc_module() -> Any:
    """The `grpc` package, or MissingDependencyError."""
    try:
        import grpc
    except ImportError as error:
        raise MissingDependencyError("grpcio", extra="remote") from error
    return grpc


def infer_request(model: str, item: int, tensors: Mapping[str, Array], outputs: Iterable[str]) -> Any:
    """A ModelInferRequest with `tensors` as inputs that requests `outputs`."""
    kinds = messages()
    request = kinds["ModelInferRequest"](model_name=model, id=str(item))
    for name in outputs:
        request.outputs.add(name=name)
    pack(request.inputs, request.raw_input_contents, tensors)
    return request


def pack(described: Any, contents: Any, tensors: Mapping[str, Array]) -> None:
    """Appends a description and the raw bytes of each tensor to a message's two lists."""
    for name, array in tensors.items():
        datatype, raw = encode_raw(name, array)
        described.add(name=name, datatype=datatype, shape=array.shape)
        contents.append(raw)


def unpack(described: Any, contents: Any) -> dict[str, Array]:
    """Tensors by name from a message's two lists: raw contents without a copy, or typed contents if there are no raw ones.

    Raises PipelineError for contents that do not fit their description.
    """
    names = [tensor.name for tensor in described]
    if len(set(names)) < len(names):
        raise PipelineError(f"expected each tensor once, got {', '.join(sorted(names))}")
    if described and not len(contents):
        return {tensor.name: _decode_typed(tensor) for tensor in described}
    if len(described) != len(contents):
        raise PipelineError(f"expected raw contents for {len(described)} tensors, got {len(contents)}")
    for tensor in described:
        # MLServer sets an empty message of typed contents beside the raw ones.
        if tensor.contents.ByteSize():
            raise PipelineError(f"tensor '{tensor.name}': expected raw or typed contents, got both")
    return {
        tensor.name: decode_raw(tensor.name, tensor.datatype, tuple(tensor.shape), raw)
        for tensor, raw in zip(described, contents, strict=True)
    }


def datatype_of(dtype: str | None) -> str:
    """The protocol's name of a numpy type; '' for one that is unknown or that it does not have."""
    if dtype == "object":
        return "BYTES"
    return next((name for known, name in _DATATYPES.items() if known.name == dtype), "")


def dtype_of(datatype: str) -> np.dtype[Any]:
    """numpy's type of a datatype of the protocol. Raises PipelineError for one that it does not have."""
    if datatype == "BYTES":
        return np.dtype(object)
    if datatype not in _DTYPES:
        raise PipelineError(f"unknown datatype '{datatype}'{did_you_mean(datatype, DATATYPES)}")
    return _DTYPES[datatype]


def encode_raw(name: str, array: Array) -> tuple[str, bytes]:
    """The datatype and the raw contents of a tensor. Raises PipelineError for a type that the protocol does not have."""
    if array.dtype == object:
        parts = [str(text).encode() for text in array.ravel()]
        return "BYTES", b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    if array.dtype not in _DATATYPES:
        raise PipelineError(f"tensor '{name}': the Open Inference Protocol has no type for {array.dtype}")
    return _DATATYPES[array.dtype], np.ascontiguousarray(array).tobytes()


def decode_raw(name: str, datatype: str, shape: tuple[int, ...], raw: bytes | memoryview) -> Array:
    """The tensor in raw contents, without a copy. Raises PipelineError for contents that do not fit the description."""
    require_description(name, datatype, shape)
    try:
        if datatype == "BYTES":
            return np.array(_texts(name, raw), dtype=object).reshape(shape)
        return np.frombuffer(raw, _DTYPES[datatype]).reshape(shape)
    except UnicodeDecodeError as error:
        raise PipelineError(f"tensor '{name}': expected strings in UTF-8, got other bytes ({error.reason})") from error
    except ValueError as error:
        raise PipelineError(f"tensor '{name}': {len(raw)} bytes do not fill {datatype} {shape}") from error


def _decode_typed(tensor: Any) -> Array:
    require_description(tensor.name, tensor.datatype, tensor.shape)
    field = _TYPED_FIELDS.get(tensor.datatype)
    for other, _ in tensor.contents.ListFields():
        if other.name != field:
            raise PipelineError(f"tensor '{tensor.name}': expected {field or 'raw'} for {tensor.datatype}, got {other.name}")
    if field is None:
        raise PipelineError(f"tensor '{tensor.name}': expected raw contents for {tensor.datatype}, got none")
    values, shape = getattr(tensor.contents, field), tuple(tensor.shape)
    try:
        if tensor.datatype == "BYTES":
            return np.array([text.decode() for text in values], dtype=object).reshape(shape)
        dtype = _DTYPES[tensor.datatype]
        wide = np.array(values, _WIDE.get(field, dtype))
        array = wide.astype(dtype).reshape(shape)
    except UnicodeDecodeError as error:
        raise PipelineError(f"tensor '{tensor.name}': expected strings in UTF-8, got other bytes ({error.reason})") from error
    except ValueError as error:
        raise PipelineError(f"tensor '{tensor.name}': {len(values)} values do not fill {tensor.datatype} {shape}") from error
    if array.dtype.kind in "iu" and not np.array_equal(array.ravel(), wide):
        raise PipelineError(f"tensor '{tensor.name}': expected values that {tensor.datatype} can hold")
    return array


def require_description(name: str, datatype: str, shape: Sequence[int]) -> None:
    """PipelineError for a datatype that the protocol does not have, and for a negative size."""
    if datatype not in DATATYPES:
        raise PipelineError(f"tensor '{name}': unknown datatype '{datatype}'{did_you_mean(datatype, DATATYPES)}")
    if any(size < 0 for size in shape):
        raise PipelineError(f"tensor '{name}': expected sizes from 0, got {list(shape)[:8]}")


def _texts(name: str, raw: bytes | memoryview) -> list[str]:
    texts, at = [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        if at + 4 + size > len(raw):
            raise PipelineError(f"tensor '{name}': a string of {size} bytes runs past the end of its contents")
        texts.append(bytes(raw[at + 4 : at + 4 + size]).decode())
        at += 4 + size
    return texts
