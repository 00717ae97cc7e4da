"""The Open Inference Protocol v2 over gRPC: messages, and tensors in and out of them.

The messages are built from a table of field numbers (kserve's open-inference-protocol specification), so no generated
code is kept here. Tensors are always sent as raw contents: typed contents cost about 28 ms per message for 600 KB. Both
kinds are read.
`grpc` and `protobuf` come with the extra `remote`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from multiedge.errors import MissingDependencyError, PipelineError

Array = npt.NDArray[Any]

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
MAX_MESSAGE_BYTES = 256 << 20
"""How large a request may be unless the server is given another limit."""
UNLIMITED_MESSAGES = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))

_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    **{f"{kind.upper()}{bits}": np.dtype(f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
}
_DATATYPES = {dtype: name for name, dtype in _DTYPES.items()}
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
_WIDE = {"int_contents": np.dtype(np.int32), "uint_contents": np.dtype(np.uint32)}

# Message -> {field: (number, type)}; a type in capitals is a message, '*' marks repeated fields.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "InferTensorContents": {
        "bool_contents": (1, "bool*"),
        "int_contents": (2, "int32*"),
        "int64_contents": (3, "int64*"),
        "uint_contents": (4, "uint32*"),
        "uint64_contents": (5, "uint64*"),
        "fp32_contents": (6, "float*"),
        "fp64_contents": (7, "double*"),
        "bytes_contents": (8, "bytes*"),
    },
    "InferParameter": {"bool_param": (1, "bool"), "int64_param": (2, "int64"), "string_param": (3, "string")},
    # An entry of a map<string, InferParameter>, which is sent as a list of such entries.
    "Parameter": {"key": (1, "string"), "value": (2, "InferParameter")},
    "InferInputTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "int64*"),
        "parameters": (4, "Parameter*"),
        "contents": (5, "InferTensorContents"),
    },
    "InferOutputTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "int64*"),
        "parameters": (4, "Parameter*"),
        "contents": (5, "InferTensorContents"),
    },
    "InferRequestedOutputTensor": {"name": (1, "string"), "parameters": (2, "Parameter*")},
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, "Parameter*"),
        "inputs": (5, "InferInputTensor*"),
        "outputs": (6, "InferRequestedOutputTensor*"),
        "raw_input_contents": (7, "bytes*"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "outputs": (5, "InferOutputTensor*"),
        "raw_output_contents": (6, "bytes*"),
    },
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": (1, "string"), "version": (2, "string"), "extensions": (3, "string*")},
    "ModelReadyRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelReadyResponse": {"ready": (1, "bool")},
    "TensorMetadata": {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "int64*")},
    "ModelMetadataRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "string*"),
        "platform": (3, "string"),
        "inputs": (4, "TensorMetadata*"),
        "outputs": (5, "TensorMetadata*"),
    },
}
METHODS = ("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer")


@lru_cache(maxsize=1)
def messages() -> dict[str, Any]:
    """The protocol's message classes by name. Raises MissingDependencyError without protobuf."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise MissingDependencyError("protobuf", extra="remote") from error
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="multiedge/open_inference.proto", package=PACKAGE, syntax="proto3")
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            field = declared.field.add(name=name, number=number)
            field.label = field_type.LABEL_REPEATED if kind.endswith("*") else field_type.LABEL_OPTIONAL
            kind = kind.rstrip("*")
            if kind in _MESSAGES:
                field.type, field.type_name = field_type.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                field.type = getattr(field_type, f"TYPE_{kind.upper()}")
    # A separate pool: the default one may already hold another package's copy of the same protocol.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _MESSAGES}


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
        datatype, raw = _encode(name, array)
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
    return {tensor.name: _decode(tensor, raw) for tensor, raw in zip(described, contents, strict=True)}


def datatype_of(dtype: str | None) -> str:
    """The protocol's name of a numpy type; '' for one that is unknown or that it does not have."""
    if dtype == "object":
        return "BYTES"
    return next((name for known, name in _DATATYPES.items() if known.name == dtype), "")


def _encode(name: str, array: Array) -> tuple[str, bytes]:
    if array.dtype == object:
        parts = [str(text).encode() for text in array.ravel()]
        return "BYTES", b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    if array.dtype not in _DATATYPES:
        raise PipelineError(f"tensor '{name}': the Open Inference Protocol has no type for {array.dtype}")
    return _DATATYPES[array.dtype], np.ascontiguousarray(array).tobytes()


def _decode(tensor: Any, raw: bytes) -> Array:
    shape = tuple(tensor.shape)
    _require_description(tensor)
    try:
        if tensor.datatype == "BYTES":
            return np.array(_texts(tensor.name, raw), dtype=object).reshape(shape)
        return np.frombuffer(raw, _DTYPES[tensor.datatype]).reshape(shape)
    except UnicodeDecodeError as error:
        raise PipelineError(f"tensor '{tensor.name}': expected strings in UTF-8, got other bytes ({error.reason})") from error
    except ValueError as error:
        raise PipelineError(f"tensor '{tensor.name}': {len(raw)} bytes do not fill {tensor.datatype} {shape}") from error


def _decode_typed(tensor: Any) -> Array:
    _require_description(tensor)
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


def _require_description(tensor: Any) -> None:
    if tensor.datatype != "BYTES" and tensor.datatype not in _DTYPES:
        raise PipelineError(f"tensor '{tensor.name}': unknown datatype '{tensor.datatype}'")
    if any(size < 0 for size in tensor.shape):
        raise PipelineError(f"tensor '{tensor.name}': expected sizes from 0, got {list(tensor.shape)[:8]}")


def _texts(name: str, raw: bytes) -> list[str]:
    texts, at = [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        if at + 4 + size > len(raw):
            raise PipelineError(f"tensor '{name}': a string of {size} bytes runs past the end of its contents")
        texts.append(raw[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return texts
