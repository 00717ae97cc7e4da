"""The server of stages, over loopback: each method of the protocol, what it refuses, and how it ends."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from multiedge.errors import ConfigError, ModelError, PipelineError
from multiedge.graph import Tensor
from multiedge.serving.server import StageServer
from multiedge.serving.signature import Signature
from tests.builders.flow import FakeSession

grpc = pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")

from multiedge.transports.open_inference import SERVICE, infer_request, messages, unpack  # noqa: E402


def double(tensors):
    if float(tensors["x"][0]) == 7:
        raise ModelError("seven is refused,\nsays the model")
    if float(tensors["x"][0]) == 8:
        raise ZeroDivisionError("eight breaks it")
    return {"y": tensors["x"] * 2, "z": tensors["x"] * 3}


@pytest.fixture
def session():
    return FakeSession(double, inputs=("x",), outputs=("y", "z"))


@pytest.fixture
def server(session):
    with StageServer({"stage_1": session}) as running:
        yield running


@pytest.fixture
def call(server):
    with grpc.insecure_channel(server.address) as channel:

        def answer(method, request):
            kinds = messages()
            send, receive = kinds[f"{method}Request"].SerializeToString, kinds[f"{method}Response"].FromString
            return channel.unary_unary(f"/{SERVICE}/{method}", send, receive)(request, timeout=10)

        yield answer


def infer(value, *outputs, model="stage_1", item=5):
    return infer_request(model, item, {"x": np.full(3, value, dtype=np.float32)}, outputs)


def test_it_is_live_and_ready(call):
    assert call("ServerLive", messages()["ServerLiveRequest"]()).live
    assert call("ServerReady", messages()["ServerReadyRequest"]()).ready


def test_the_version_of_a_model_is_its_identity(session):
    with (
        StageServer({"stage_1": session}, {"stage_1": "multiedge-0"}) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        kinds = messages()
        ask = channel.unary_unary(
            f"/{SERVICE}/ModelMetadata",
            kinds["ModelMetadataRequest"].SerializeToString,
            kinds["ModelMetadataResponse"].FromString,
        )
        assert list(ask(kinds["ModelMetadataRequest"](name="stage_1"), timeout=10).versions) == ["multiedge-0"]


@pytest.mark.parametrize(("name", "ready"), [("stage_1", True), ("stage_2", False)])
def test_a_model_is_ready_if_it_is_served(call, name, ready):
    assert call("ModelReady", messages()["ModelReadyRequest"](name=name)).ready is ready


def test_metadata_names_inputs_and_outputs(call):
    found = call("ModelMetadata", messages()["ModelMetadataRequest"](name="stage_1"))
    assert [tensor.name for tensor in found.inputs] == ["x"]
    assert [tensor.name for tensor in found.outputs] == ["y", "z"]


def test_an_item_is_answered_under_its_number_with_the_outputs_that_were_requested(call):
    response = call("ModelInfer", infer(2, "z"))
    assert (response.model_name, response.id) == ("stage_1", "5")
    made = unpack(response.outputs, response.raw_output_contents)
    assert list(made) == ["z"]
    np.testing.assert_array_equal(made["z"], np.full(3, 6, dtype=np.float32))


def test_without_a_choice_every_output_is_sent(call):
    response = call("ModelInfer", infer(2))
    assert list(unpack(response.outputs, response.raw_output_contents)) == ["y", "z"]


@pytest.mark.parametrize(
    ("method", "request_", "code", "details"),
    [
        ("ModelInfer", infer(7), "INVALID_ARGUMENT", "seven is refused, says the model"),
        ("ModelInfer", infer(8), "INTERNAL", "eight breaks it"),
        ("ModelInfer", infer(1, model="stage_9"), "NOT_FOUND", "no model 'stage_9' here; there are stage_1"),
        ("ModelMetadata", messages()["ModelMetadataRequest"](name="x"), "NOT_FOUND", "no model 'x' here; there are stage_1"),
    ],
)
def test_what_cannot_be_answered_has_a_code_and_one_line(call, method, request_, code, details):
    with pytest.raises(grpc.RpcError) as caught:
        call(method, request_)
    assert (caught.value.code().name, caught.value.details()) == (code, details)


def test_a_failed_item_leaves_the_server_as_it_was(call):
    with pytest.raises(grpc.RpcError):
        call("ModelInfer", infer(8))
    assert call("ModelInfer", infer(1)).id == "5"


def test_it_listens_on_loopback_unless_another_address_is_given(server):
    assert server.address == f"127.0.0.1:{server.port}"
    assert server.port > 0


def test_a_taken_port_is_one_line(server, session):
    with pytest.raises(PipelineError, match=rf"cannot listen on {server.address}: .*; is the port taken\?"):
        StageServer({"stage_1": session}, port=server.port)


def test_closing_closes_the_sessions(session):
    with StageServer({"stage_1": session}):
        assert not session.closed
    assert session.closed


TYPED = Signature(
    {"x": Tensor("x", "float32", ("n", 3))}, {"y": Tensor("y", "float32", ("n", 3)), "z": Tensor("z", "object", None)}
)


def call_of(session, method, request, **options):
    """The answer of a server of one stage to one request."""
    kinds = messages()
    send, receive = kinds[f"{method}Request"].SerializeToString, kinds[f"{method}Response"].FromString
    server = StageServer({"m": session}, signatures={"m": TYPED}, **options)
    with server, grpc.insecure_channel(server.address) as channel:
        return channel.unary_unary(f"/{SERVICE}/{method}", send, receive)(request, timeout=10)


def test_metadata_state_types_and_shapes(session):
    answer = call_of(session, "ModelMetadata", messages()["ModelMetadataRequest"](name="m"))
    assert [(each.name, each.datatype, list(each.shape)) for each in (*answer.inputs, *answer.outputs)] == [
        ("x", "FP32", [-1, 3]),
        ("y", "FP32", [-1, 3]),
        ("z", "BYTES", []),
    ]


@pytest.mark.parametrize(
    ("tensors", "outputs", "details"),
    [
        ({"x": np.zeros((2, 3))}, (), "input 'x': expected float32 ['n', 3], got float64 [2, 3]"),
        ({"x": np.zeros((2, 4), np.float32)}, (), "input 'x': expected float32 ['n', 3], got float32 [2, 4]"),
        ({"x": np.zeros(3, np.float32)}, (), "input 'x': expected float32 ['n', 3], got float32 [3]"),
        ({}, (), "input 'x' is missing; known: none"),
        ({"x": np.zeros((1, 3), np.float32), "w": np.zeros(1)}, (), "unknown input 'w'; known: x"),
        ({"x": np.zeros((1, 3), np.float32)}, ("yy",), "unknown output 'yy'; did you mean 'y'?"),
    ],
)
def test_what_does_not_fit_the_stage_is_an_invalid_argument(session, tensors, outputs, details):
    with pytest.raises(grpc.RpcError) as caught:
        call_of(session, "ModelInfer", infer_request("m", 1, tensors, outputs))
    assert (caught.value.code().name, caught.value.details()) == ("INVALID_ARGUMENT", details)


def test_a_request_beyond_the_limit_is_refused_before_it_is_read(session):
    large = infer_request("m", 1, {"x": np.zeros((1000, 3), np.float32)}, ())
    with pytest.raises(grpc.RpcError) as caught:
        call_of(session, "ModelInfer", large, max_message_bytes=10_000)
    assert caught.value.code().name == "RESOURCE_EXHAUSTED"
    assert "larger than max" in caught.value.details()


@pytest.mark.parametrize("options", [{"port": 70000}, {"port": -1}, {"max_message_bytes": 0}, {"max_message_bytes": 2**31}])
def test_a_port_or_limit_out_of_range_is_refused(session, options):
    with pytest.raises(ConfigError, match=r"(port|max_message_bytes): expected \d+ to \d+, got"):
        StageServer({"stage_1": session}, **options)


def test_requests_that_were_abandoned_block_neither_questions_nor_other_stages_nor_the_end():
    begun, release = threading.Semaphore(0), threading.Event()

    def endless(tensors):
        begun.release()
        release.wait(30)
        return {"y": tensors["x"]}

    kinds = messages()
    sessions = {"stage_1": FakeSession(endless), "stage_2": FakeSession(lambda tensors: {"y": tensors["x"]})}
    server = StageServer(sessions, threads=4).start()
    with grpc.insecure_channel(server.address) as way:

        def method(name):
            send, receive = kinds[f"{name}Request"].SerializeToString, kinds[f"{name}Response"].FromString
            return way.unary_unary(f"/{SERVICE}/{name}", send, receive)

        left = [method("ModelInfer").future(infer(1, "y"), timeout=30) for _ in range(8)]
        for _ in range(4):
            assert begun.acquire(timeout=10)
        for request in left:
            request.cancel()
        assert method("ServerLive")(kinds["ServerLiveRequest"](), timeout=2).live
        assert method("ModelInfer")(infer(1, "y", model="stage_2"), timeout=2).id == "5"
        until = time.monotonic() + 5
        while method("ModelReady")(kinds["ModelReadyRequest"](name="stage_1"), timeout=2).ready:
            assert time.monotonic() < until
        assert method("ModelReady")(kinds["ModelReadyRequest"](name="stage_2"), timeout=2).ready
    begin = time.monotonic()
    server.close()
    assert time.monotonic() - begin < 3
    assert server.is_computing
    release.set()
