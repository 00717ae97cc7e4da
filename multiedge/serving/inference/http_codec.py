"""Requests and replies of the protocol over HTTP: JSON, with binary contents after it where a request has or wants them.

A body is JSON alone, or, with the header HEADER, JSON of that many bytes and then the raw contents of its tensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from multiedge.errors import describe, one_line
from multiedge.formats.documents import parse_json
from multiedge.formats.fields import Field, Kind
from multiedge.serving.inference.contract import Array, Invalid, ModelConfig, Parameter, RequestError, ServedModel, Unsupported
from multiedge.serving.inference.descriptions import DATA_TYPES, backend_of, data_type_of, durations_of, sizes_of
from multiedge.serving.inference.repository import IndexEntry
from multiedge.serving.inference.shared_memory import Region
from multiedge.serving.inference.statistics import Statistics
from multiedge.serving.inference.wire import (
    BINARY_OUTPUTS,
    GivenTensor,
    MadeOutput,
    Parameters,
    WantedOutput,
    WireReply,
    WireRequest,
)
from multiedge.transports.open_inference import (
    BINARY_SIZE,
    DATATYPES,
    HEADER,
    datatype_of,
    decode_raw,
    dtype_of,
    encode_raw,
)

BINARY = "binary_data"
REQUEST = Kind("request", Invalid)


@dataclass(frozen=True)
class Body:
    """The body of a reply; `json_bytes` is None for JSON alone, otherwise how much of it is JSON."""

    content: bytes
    json_bytes: int | None = None


def decode_request(model: str, version: str, body: bytes, size: int | None) -> WireRequest:
    """The request in a body of which `size` bytes are JSON (None: all). Raises Invalid; PipelineError for wrong contents."""
    head, rest = body[:size], memoryview(b"" if size is None else body)[size or 0 :]
    request = parse_json(head, "request", REQUEST).open_record(("id", "parameters", "inputs", "outputs"))
    inputs, at = [], 0
    for field in request["inputs"].items():
        tensor, nbytes = _input(field, rest[at:])
        inputs.append(tensor)
        at += nbytes
    if at < len(rest):
        raise Invalid(f"request: expected {at} bytes after the JSON, got {len(rest)}")
    outputs = request["outputs"].items() if request["outputs"].given else []
    return WireRequest(
        model,
        version,
        request["id"].optional(Field.text, ""),
        tuple(inputs),
        tuple(WantedOutput(field["name"].name(), _parameters(field["parameters"])) for field in outputs),
        _parameters(request["parameters"]),
    )


def json_size(body: bytes, header: str | None) -> int | None:
    """How many bytes of a body are JSON, by the value of HEADER; None for all. Raises Invalid or Unsupported."""
    if header is None:
        return None
    size = int(header) if header.isascii() and header.isdecimal() and len(header) < 20 else -1
    if not 0 <= size <= len(body):
        raise Invalid(f"{HEADER}: expected at most the {len(body)} bytes of the body, got {describe(header)}")
    if size == 0:
        raise Unsupported(f"{HEADER}: a body without JSON is not supported; describe the inputs in JSON")
    return size


def _input(field: Field, rest: memoryview) -> tuple[GivenTensor, int]:
    """The input, and how many bytes after the JSON are its contents."""
    field = field.open_record(("name", "datatype", "shape", "parameters", "data"))
    name, parameters = field["name"].name(), _parameters(field["parameters"])
    datatype = field["datatype"].choice(DATATYPES) if field["datatype"].given else ""
    shape = field["shape"].list_of(Field.count) if field["shape"].given else ()
    size = parameters.get(BINARY_SIZE)
    if size is None:
        array = _array(field, name, datatype, shape) if field["data"].given else None
        return GivenTensor(name, datatype, shape, array, parameters), 0
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
        raise field.error(f"{BINARY_SIZE}: expected at most the {len(rest)} bytes that are left, got {describe(size)}")
    if field["data"].given:
        raise field.error(f"expected either data or {BINARY_SIZE}, got both")
    return GivenTensor(name, datatype, shape, decode_raw(name, datatype, shape, rest[:size]), parameters), size


def _array(field: Field, name: str, datatype: str, shape: tuple[int, ...]) -> Array:
    """The array in JSON data, flat or nested as its shape."""
    data, dtype = field["data"], dtype_of(datatype)
    if not isinstance(data.value, list):
        raise data.expected("a list of values")
    try:
        values = _values(data.value, dtype)
    except ValueError:
        raise data.expected("lists of the same length at each level") from None
    if values.size and values.dtype.kind not in _KINDS[dtype.kind]:
        raise data.error(f"expected values of {datatype}, got others")
    # Nested lists do not state the sizes within an empty one.
    if values.shape not in (shape, (math.prod(shape),)) and not values.size == math.prod(shape) == 0:
        raise data.error(f"expected values for shape {list(shape)[:8]}, flat or nested, got shape {list(values.shape)[:8]}")
    if datatype == "BYTES" and not all(isinstance(text, str) for text in values.ravel()):
        raise data.error("expected texts, got others")
    with np.errstate(over="ignore"):
        array = values.astype(dtype)
    if not _are_held(values, array):
        raise data.error(f"expected values that {datatype} can hold")
    return array.reshape(shape)


def _values(given: list[Any], dtype: np.dtype[Any]) -> Array:
    """The values in the type that numpy gives them; ValueError for lists that are not regular."""
    values = np.array(given, dtype=object if dtype.kind == "O" else None)
    if dtype == np.uint64 and values.dtype.kind == "f":  # numpy has no integer for numbers below and above 2**63 together
        exact = np.array(given, dtype=object)
        if all(type(number) is int and 0 <= number < 2**64 for number in exact.flat):
            return exact.astype(np.uint64)
    return values


def _are_held(values: Array, array: Array) -> bool:
    """Whether a conversion to another type has kept whole numbers as they are, and finite numbers finite."""
    if array.dtype.kind == "f":
        return values.dtype.kind != "f" or np.array_equal(np.isfinite(array), np.isfinite(values))
    return array.dtype.kind not in "iu" or np.array_equal(array, values)


_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf", "O": "O"}
"""By the kind of a datatype, the kinds that numpy gives to values of JSON which it can hold."""


def _parameters(field: Field) -> dict[str, Parameter]:
    """A mapping of parameters, {} where it is missing; one that is null is left out."""
    if not field.given:
        return {}
    return {name: _parameter(each) for name, each in field.mapping().items() if each.given}


def _parameter(field: Field) -> Parameter:
    if isinstance(field.value, bool):
        return field.value
    if isinstance(field.value, int):
        return field.integer()
    if isinstance(field.value, float):
        return field.number()
    return field.text()


def encode_reply(reply: WireReply, request: WireRequest) -> Body:
    """The body of a reply, with the outputs in binary that the request wants so."""
    wanted = {output.name: output.parameters for output in request.outputs}
    default = request.parameters.get(BINARY_OUTPUTS) is True
    described, contents = [], []
    for output in reply.outputs:
        is_binary = output.is_here and wanted.get(output.name, {}).get(BINARY, default) is True
        content = encode_raw(output.name, output.array)[1] if is_binary else None
        described.append(_output(output, content))
        if content is not None:
            contents.append(content)
    answer: dict[str, Any] = {"model_name": reply.model, "model_version": reply.version, "id": reply.id}
    answer = {key: value for key, value in answer.items() if value} | {"outputs": described}
    if reply.parameters:
        answer["parameters"] = dict(reply.parameters)
    head = json.dumps(answer, separators=(",", ":")).encode()
    return Body(b"".join([head, *contents]), len(head)) if contents else Body(head)


def _output(output: MadeOutput, content: bytes | None) -> dict[str, Any]:
    array = output.array
    described: dict[str, Any] = {
        "name": output.name,
        "datatype": datatype_of(array.dtype.name),
        "shape": list(array.shape),
    }
    parameters: Parameters = output.parameters
    if content is not None:
        parameters = {**parameters, BINARY_SIZE: len(content)}
    elif output.is_here:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise RequestError(f"output '{output.name}' has values that JSON cannot state; request binary data")
        described["data"] = array.ravel().tolist()
    return described | ({"parameters": dict(parameters)} if parameters else {})


def encode(value: Any) -> bytes:
    """A value as JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def error(reason: BaseException | str) -> bytes:
    """The body of a refusal."""
    text = reason if isinstance(reason, str) else one_line(reason) or type(reason).__name__
    return encode({"error": text})


def describe_metadata(model: ServedModel) -> dict[str, Any]:
    """The metadata of a model."""
    return {
        "name": model.name,
        "versions": list(model.versions),
        "platform": model.platform,
        "inputs": [
            {"name": name, "datatype": datatype_of(tensor.dtype), "shape": sizes_of(tensor)}
            for name, tensor in model.signature.inputs.items()
        ],
        "outputs": [
            {"name": name, "datatype": datatype_of(tensor.dtype), "shape": sizes_of(tensor)}
            for name, tensor in model.signature.outputs.items()
        ],
    }


def describe_config(config: ModelConfig) -> dict[str, Any]:
    """The configuration of a model."""
    tensors = (config.signature.inputs, config.signature.outputs)
    given, made = (
        [
            {"name": name, "data_type": f"TYPE_{DATA_TYPES[data_type_of(tensor)]}", "dims": sizes_of(tensor)}
            for name, tensor in each.items()
        ]
        for each in tensors
    )
    return {
        "name": config.name,
        "platform": config.platform,
        "backend": backend_of(config.platform),
        "max_batch_size": 0,
        "input": given,
        "output": made,
        "instance_group": [{"count": config.instances, "kind": "KIND_MODEL"}],
        "model_transaction_policy": {"decoupled": config.streams},
        "parameters": {key: {"string_value": text} for key, text in config.parameters.items()},
    }


def describe_index(entries: Iterable[IndexEntry]) -> list[dict[str, Any]]:
    """The models of the repository."""
    return [
        {"name": entry.name, "version": entry.version, "state": entry.state.value, "reason": entry.reason} for entry in entries
    ]


def describe_statistics(all_models: Iterable[tuple[ServedModel, Statistics]]) -> dict[str, Any]:
    """What the requests of models took."""
    return {
        "model_stats": [
            {
                "name": model.name,
                "version": next(iter(model.versions), ""),
                "last_inference": statistics.last_inference_ms,
                "inference_count": statistics.success.count,
                "execution_count": statistics.success.count,
                "inference_stats": {
                    name: {"count": duration.count, "ns": duration.ns} for name, duration in durations_of(statistics).items()
                },
            }
            for model, statistics in all_models
        ]
    }


def describe_regions(regions: Iterable[Region]) -> list[dict[str, Any]]:
    """Registered regions of shared memory."""
    return [
        {"name": region.name, "key": region.key, "offset": region.offset, "byte_size": region.byte_size} for region in regions
    ]
