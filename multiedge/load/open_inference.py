"""Targets that speak the Open Inference Protocol v2, over HTTP and gRPC: this project's servers, Triton, MLServer, ..."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.errors import ConfigError, MultiedgeError, NetworkError
from multiedge.formats.documents import parse_json
from multiedge.formats.fields import Field
from multiedge.graph import Graph, Tensor
from multiedge.load.contract import Channel, Reading
from multiedge.load.grpc_wire import open_channel
from multiedge.load.place import ASK_S, KIND, Place, split_answer, text_of
from multiedge.transports.open_inference import (
    BINARY_SIZE,
    HEADER,
    SERVICE,
    Array,
    datatype_of,
    decode_raw,
    dtype_of,
    encode_raw,
    grpc_module,
    infer_request,
    messages,
    unpack,
)

MODELS = "/v2/models/"
BINARY_EXTENSION = "binary_tensor_data"
DISTINCT = 16
"""Random samples that are made unless a number is given."""


class OpenInferenceHttp:
    """A model over HTTP. Contents are binary if the server has that extension, otherwise JSON.

    Args:
        place: The server; the path may name the model, as /v2/models/NAME or /NAME.
        model: Name of the model.
        inputs: .npz files with an array for each input, and folders of them.
        samples: Without `inputs`, how many samples of random numbers are made.
        seed: Of random numbers.
    """

    is_text = False

    def __init__(
        self, place: Place, model: str = "", inputs: Sequence[str] = (), samples: int | None = None, seed: int = 0
    ) -> None:
        self.name = _model_of(place, model)
        described = place.ask(f"{MODELS}{self.name}")
        tensors = _tensors(described["inputs"].items())
        extensions = place.ask("/v2")["extensions"]
        self._is_binary = extensions.given and BINARY_EXTENSION in extensions.list_of(Field.text)
        self.channel = place.channel()
        path = f"{MODELS}{self.name}/infer"
        self.requests = [self._request(place, path, each) for each in sample_arrays(tensors, inputs, samples, seed)]

    def _request(self, place: Place, path: str, tensors: Mapping[str, Array]) -> bytes:
        if not self._is_binary:
            described = [_described(name, array) | {"data": array.ravel().tolist()} for name, array in tensors.items()]
            return place.post(path, json.dumps({"inputs": described}).encode())
        raw = [encode_raw(name, array)[1] for name, array in tensors.items()]
        described = [
            _described(name, array) | {"parameters": {BINARY_SIZE: len(content)}}
            for (name, array), content in zip(tensors.items(), raw, strict=True)
        ]
        head = json.dumps({"parameters": {"binary_data_output": True}, "inputs": described}).encode()
        fields = ("Content-Type", "application/octet-stream"), (HEADER, str(len(head)))
        return place.post(path, b"".join([head, *raw]), *fields)

    def read(self, answer: bytes) -> Reading:
        fields, body = split_answer(answer)
        try:
            size = int(fields.get(HEADER.lower(), len(body)))
            return Reading(outputs=_outputs(parse_json(body[:size], "answer", KIND), body[size:]))
        except (MultiedgeError, ValueError, TypeError, OverflowError) as error:  # of numpy: values that do not fit
            return Reading(text_of(error))


class OpenInferenceGrpc:
    """A model over gRPC. Arguments are those of OpenInferenceHttp."""

    is_text = False

    def __init__(
        self, place: Place, model: str = "", inputs: Sequence[str] = (), samples: int | None = None, seed: int = 0
    ) -> None:
        if not place.is_grpc:
            raise ConfigError(f"{place.address}: target 'open-inference-grpc' needs a URL that begins with grpc:// or grpcs://")
        self.name = _model_of(place, model)
        self.channel = place.channel(f"/{SERVICE}/ModelInfer")
        tensors = _metadata(self.channel, self.name)
        arrays = sample_arrays(tensors, inputs, samples, seed)
        self.requests = [infer_request(self.name, number, each, ()).SerializeToString() for number, each in enumerate(arrays)]

    def read(self, answer: bytes) -> Reading:
        try:
            response = messages()["ModelInferResponse"].FromString(answer)
            return Reading(outputs=unpack(response.outputs, response.raw_output_contents))
        except MultiedgeError as error:
            return Reading(text_of(error))


def sample_arrays(
    tensors: Mapping[str, Tensor], inputs: Sequence[str], samples: int | None, seed: int
) -> list[Mapping[str, Array]]:
    """The samples of files, or random ones.

    Args:
        tensors: The inputs as the server describes them; empty where it does not.
        inputs: .npz files, and folders of them.
        samples: Without `inputs`, how many are made.
        seed: Of those that are made.

    Returns:
        An array for each input, for each sample.

    Raises:
        ConfigError: If a file does not fit the model, or nothing is known of its inputs.
    """
    from multiedge.onnx_io.inputs import random_inputs
    from multiedge.onnx_io.items import npz_files
    from multiedge.onnx_io.npz import array_names, read_npz

    if inputs:
        if samples is not None:
            raise ConfigError("samples: has no effect with inputs, which are the samples; leave one of them out")
        paths = [path for place in inputs for path in npz_files(Path(place))]
        return [read_npz(path, tensors or {name: Tensor(name) for name in array_names(path)}) for path in paths]
    if not tensors:
        raise ConfigError("the server does not describe the inputs of its model; give samples with --inputs FILE.npz")
    count = DISTINCT if samples is None else samples
    if count < 1:
        raise ConfigError(f"samples: expected 1 or more, got {count}")
    graph = Graph("model", (), tuple(tensors), (), tensors)
    return [random_inputs(graph, seed + number) for number in range(count)]


def _model_of(place: Place, model: str) -> str:
    """The model that is named by the path of a URL, or beside it."""
    parts = [part for part in place.path.removeprefix("/v2/models").split("/") if part and part not in ("v2", "infer")]
    if model and parts and parts != [model]:
        raise ConfigError(f"the URL names the model '{'/'.join(parts)}', and --model '{model}'; leave one of them out")
    if len(parts) > 1 or not (model or parts):
        raise ConfigError(f"{place.address}: which model? Give its name, as /v2/models/NAME in the URL or by --model NAME")
    return model or parts[0]


def _tensors(fields: Iterable[Field]) -> dict[str, Tensor]:
    """Inputs as the metadata of a model describes them: a size of -1 is open."""
    tensors = {}
    for field in fields:
        name = field["name"].name()
        shape = tuple(size if size >= 0 else None for size in field["shape"].list_of(Field.integer))
        tensors[name] = Tensor(name, dtype_of(field["datatype"].text()).name, shape)
    return tensors


def _metadata(channel: Channel, model: str) -> dict[str, Tensor]:
    kinds, opened = messages(), open_channel(channel)
    try:
        method = f"/{SERVICE}/ModelMetadata"
        send, receive = kinds["ModelMetadataRequest"].SerializeToString, kinds["ModelMetadataResponse"].FromString
        found = opened.unary_unary(method, send, receive)(kinds["ModelMetadataRequest"](name=model), timeout=ASK_S)
    except grpc_module().RpcError as error:
        raise NetworkError(f"{channel.host}:{channel.port}/{model}: {error.code().name}: {error.details()}") from None
    finally:
        opened.close()
    return {
        each.name: Tensor(each.name, dtype_of(each.datatype).name, tuple(size if size >= 0 else None for size in each.shape))
        for each in found.inputs
    }


def _described(name: str, array: Array) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": datatype_of(array.dtype.name)}


def _outputs(answer: Field, rest: bytes) -> dict[str, Array]:
    """The outputs in an answer: in its JSON, or behind it."""
    outputs: dict[str, Array] = {}
    at = 0
    for field in answer["outputs"].items():
        name, datatype = field["name"].name(), field["datatype"].text()
        shape = field["shape"].list_of(Field.count)
        size = field["parameters"][BINARY_SIZE].count() if BINARY_SIZE in field["parameters"] else None
        if size is None:
            if not field["data"].given:
                raise field["data"].expected("the values of the output")
            outputs[name] = np.array(field["data"].value, dtype_of(datatype)).reshape(shape)
        else:
            outputs[name] = decode_raw(name, datatype, shape, rest[at : at + size])
            at += size
    return outputs
