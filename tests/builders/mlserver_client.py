"""Asks a server everything that MLServer's stubs and records can, and prints what came back as JSON.

A program of its own: MLServer's messages and Triton's have the same names, which one process cannot hold.

    python -m tests.builders.mlserver_client GRPC_ADDRESS HTTP_ADDRESS
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
import warnings
from contextlib import suppress
from typing import Any

warnings.simplefilter("ignore")

import grpc  # noqa: E402
import numpy as np  # noqa: E402
from mlserver.codecs import NumpyCodec, StringCodec  # noqa: E402
from mlserver.grpc import dataplane_pb2, model_repository_pb2  # noqa: E402
from mlserver.grpc.converters import ModelInferRequestConverter, ModelInferResponseConverter  # noqa: E402
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub  # noqa: E402
from mlserver.grpc.model_repository_pb2_grpc import ModelRepositoryServiceStub  # noqa: E402
from mlserver.types import InferenceRequest, InferenceResponse, RepositoryIndexResponse  # noqa: E402

X = np.array([[1, 2, 3]], np.float32)


def inference() -> InferenceRequest:
    """A request of MLServer for the model of `tests.builders.inference.Doubler`."""
    given = [NumpyCodec.encode_input("x", X), StringCodec.encode_input("s", ["abc"])]
    given[1].shape = [1]
    return InferenceRequest(id="17", inputs=given)


def described(answer: InferenceResponse) -> list[Any]:
    """What a test compares of an answer."""
    return [answer.id, answer.model_name, NumpyCodec.decode_output(answer.outputs[0]).tolist()]


def over_grpc(channel: grpc.Channel) -> dict[str, Any]:
    """The answers to its stub of the protocol."""
    stub, kinds = GRPCInferenceServiceStub(channel), dataplane_pb2
    made = {
        "ServerLive": stub.ServerLive(kinds.ServerLiveRequest()).live,
        "ServerReady": stub.ServerReady(kinds.ServerReadyRequest()).ready,
        "ServerMetadata": stub.ServerMetadata(kinds.ServerMetadataRequest()).name,
        "ModelReady": stub.ModelReady(kinds.ModelReadyRequest(name="m")).ready,
        "ModelMetadata": [each.name for each in stub.ModelMetadata(kinds.ModelMetadataRequest(name="m")).inputs],
    }
    for use_raw in (True, False):
        request = ModelInferRequestConverter.from_types(inference(), model_name="m", model_version="", use_raw=use_raw)
        answer = ModelInferResponseConverter.to_types(stub.ModelInfer(request))
        made[f"ModelInfer {'raw' if use_raw else 'typed'}"] = described(answer)
    begin = time.monotonic()
    with suppress(grpc.RpcError):  # its stub reads another message
        list(stub.ModelStreamInfer(iter([dataplane_pb2.ModelInferRequest(model_name="m")])))
    return made | {"ModelStreamInfer ends": time.monotonic() - begin < 2}


def repository(channel: grpc.Channel) -> list[Any]:
    """The states of the model before, between and after unloading and loading, by each of its two stubs of the repository."""
    states = []
    for stub, kinds in (
        (GRPCInferenceServiceStub(channel), dataplane_pb2),
        (ModelRepositoryServiceStub(channel), model_repository_pb2),
    ):
        ready = kinds.RepositoryIndexRequest(ready=True)
        states.append([each.state for each in stub.RepositoryIndex(ready).models])
        stub.RepositoryModelUnload(kinds.RepositoryModelUnloadRequest(model_name="m"))
        states.append([each.state for each in stub.RepositoryIndex(ready).models])
        stub.RepositoryModelLoad(kinds.RepositoryModelLoadRequest(model_name="m"))
    return states


def over_http(address: str) -> dict[str, Any]:
    """The answers to its records."""

    def ask(path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"http://{address}{path}", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            content: bytes = answer.read()
            return content

    answer = ask("/v2/models/m/infer", inference().model_dump_json(exclude_none=True).encode())
    return {
        "infer": described(InferenceResponse.model_validate_json(answer)),
        "metadata": json.loads(ask("/v2/models/m"))["platform"],
        "index": RepositoryIndexResponse.model_validate_json(ask("/v2/repository/index", b"{}")).root[0].name,
    }


if __name__ == "__main__":
    with grpc.insecure_channel(sys.argv[1]) as opened:
        print(json.dumps({"grpc": over_grpc(opened), "repository": repository(opened), "http": over_http(sys.argv[2])}))
