"""MLServer's own messages and stubs against this server: every method is answered, or refused at once."""

from __future__ import annotations

import json
import time
import urllib.request
import warnings
from contextlib import suppress

import numpy as np
import pytest

from tests.builders.inference import Doubler, serving

grpc = pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("mlserver", reason="mlserver is not installed")
    from mlserver.codecs import NumpyCodec, StringCodec
    from mlserver.grpc import dataplane_pb2, model_repository_pb2
    from mlserver.grpc.converters import ModelInferRequestConverter, ModelInferResponseConverter
    from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
    from mlserver.grpc.model_repository_pb2_grpc import ModelRepositoryServiceStub
    from mlserver.types import InferenceRequest, InferenceResponse, RepositoryIndexResponse

AT_ONCE_S = 2.0
pytestmark = pytest.mark.filterwarnings("ignore:The `construct` method is deprecated")
X = np.array([[1, 2, 3]], np.float32)


@pytest.fixture(scope="module")
def server():
    with serving(Doubler(), loaders={"m": Doubler}) as running:
        yield running


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield channel


def inference():
    given = [NumpyCodec.encode_input("x", X), StringCodec.encode_input("s", ["abc"])]
    given[1].shape = [1]
    return InferenceRequest(id="17", inputs=given)


def over_http(server, path, body=None):
    """The answer to GET, or to POST of a record of MLServer."""
    data = None if body is None else body.model_dump_json(exclude_none=True).encode()
    request = urllib.request.Request(f"http://{server.http_address}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=AT_ONCE_S) as answer:
        return answer.read()


def test_its_stub_of_the_protocol_is_answered(channel):
    stub = GRPCInferenceServiceStub(channel)
    kinds = dataplane_pb2
    assert stub.ServerLive(kinds.ServerLiveRequest(), timeout=AT_ONCE_S).live
    assert stub.ServerReady(kinds.ServerReadyRequest(), timeout=AT_ONCE_S).ready
    assert stub.ServerMetadata(kinds.ServerMetadataRequest(), timeout=AT_ONCE_S).name == "multiedge"
    assert stub.ModelReady(kinds.ModelReadyRequest(name="m"), timeout=AT_ONCE_S).ready
    metadata = stub.ModelMetadata(kinds.ModelMetadataRequest(name="m"), timeout=AT_ONCE_S)
    assert [each.name for each in metadata.inputs] == ["x", "s"]


@pytest.mark.parametrize("use_raw", [True, False])
def test_an_inference_of_its_converters_is_answered_raw_or_typed(channel, use_raw):
    request = ModelInferRequestConverter.from_types(inference(), model_name="m", model_version="", use_raw=use_raw)
    answer = ModelInferResponseConverter.to_types(GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=AT_ONCE_S))
    assert (answer.id, answer.model_name, [output.name for output in answer.outputs]) == ("17", "m", ["y", "t"])
    np.testing.assert_array_equal(NumpyCodec.decode_output(answer.outputs[0]), X * 2)


def test_its_stub_of_the_repository_is_answered(channel):
    for stub, kinds in (
        (GRPCInferenceServiceStub(channel), dataplane_pb2),
        (ModelRepositoryServiceStub(channel), model_repository_pb2),
    ):
        index = stub.RepositoryIndex(kinds.RepositoryIndexRequest(), timeout=AT_ONCE_S)
        assert [(each.name, each.state) for each in index.models] == [("m", "READY")]
        stub.RepositoryModelUnload(kinds.RepositoryModelUnloadRequest(model_name="m"), timeout=AT_ONCE_S)
        assert not stub.RepositoryIndex(kinds.RepositoryIndexRequest(ready=True), timeout=AT_ONCE_S).models
        stub.RepositoryModelLoad(kinds.RepositoryModelLoadRequest(model_name="m"), timeout=AT_ONCE_S)


def test_its_stream_whose_replies_are_in_the_form_of_triton_ends_at_once(channel):
    begin = time.monotonic()
    with suppress(grpc.RpcError):  # its stub reads another message
        list(
            GRPCInferenceServiceStub(channel).ModelStreamInfer(
                iter([dataplane_pb2.ModelInferRequest(model_name="m")]), timeout=9
            )
        )
    assert time.monotonic() - begin < AT_ONCE_S


def test_its_records_are_answered_over_http(server):
    answer = InferenceResponse.model_validate_json(over_http(server, "/v2/models/m/infer", inference()))
    np.testing.assert_array_equal(NumpyCodec.decode_output(answer.outputs[0]), X * 2)
    assert StringCodec.decode_output(answer.outputs[1]) == ["ABC"]
    assert json.loads(over_http(server, "/v2/models/m"))["platform"] == "onnxruntime_onnx"
    request = urllib.request.Request(f"http://{server.http_address}/v2/repository/index", b"{}", method="POST")
    with urllib.request.urlopen(request, timeout=AT_ONCE_S) as index:
        assert RepositoryIndexResponse.model_validate_json(index.read()).root[0].name == "m"
