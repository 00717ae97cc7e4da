"""Everything that Triton's clients can ask, with each of the four clients: answered, or refused as UNIMPLEMENTED, at once."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest

from multiedge.serving.inference.operations import OPERATIONS
from tests.builders.inference import Counter, Doubler, serving

pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc,http] is not installed")
pytest.importorskip("tritonclient.http", reason="tritonclient[grpc,http] is not installed")

import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

AT_ONCE_S = 2.0
"""Ample for a machine under load; a client that hangs would wait for its own timeout of a minute."""
MODULES = {
    "grpc": tritonclient.grpc,
    "grpc.aio": tritonclient.grpc.aio,
    "http": tritonclient.http,
    "http.aio": tritonclient.http.aio,
}
LOCAL = {"close", "register_plugin", "unregister_plugin", "plugin"}
"""What a client does by itself."""
OTHER_WAYS = {"async_infer", "start_stream", "stop_stream", "stream_infer", "generate_request_body", "parse_response_body"}
"""Further ways to send `infer` or a stream."""
X = np.array([[1, 2, 3]], np.float32)
S = np.array(["abc"], dtype=object)


class Client:
    """One of Triton's clients, whose methods are called in the same way."""

    def __init__(self, kind: str, server) -> None:
        self.kind, self.module = kind, MODULES[kind]
        self.is_http = kind.startswith("http")
        self._address = server.http_address if self.is_http else server.grpc_address

    def __call__(self, method: str, *args, **options):
        """What the method returns, after asserting that it took no time."""
        begin = time.monotonic()
        try:
            return asyncio.run(self._later(method, args, options)) if "aio" in self.kind else self._now(method, args, options)
        finally:
            assert time.monotonic() - begin < AT_ONCE_S

    def _now(self, method, args, options):
        with self.module.InferenceServerClient(self._address) as client:
            return getattr(client, method)(*args, **options)

    async def _later(self, method, args, options):
        async with self.module.InferenceServerClient(self._address) as client:
            return await getattr(client, method)(*args, **options)

    def inputs(self):
        made = [self.module.InferInput("x", X.shape, "FP32"), self.module.InferInput("s", S.shape, "BYTES")]
        made[0].set_data_from_numpy(X)
        made[1].set_data_from_numpy(S)
        return made

    def data(self, answer):
        """A message of gRPC as what HTTP answers."""
        from google.protobuf.json_format import MessageToDict

        if self.is_http:
            return answer
        return MessageToDict(answer, preserving_proto_field_name=True)


@pytest.fixture(scope="module")
def server():
    with serving(Doubler(), Counter(), loaders={"m": Doubler}) as running:
        yield running


@pytest.fixture(params=MODULES)
def client(request, server):
    return Client(request.param, server)


@pytest.fixture
def shared():
    memory = SharedMemory(create=True, size=64)
    yield memory
    memory.close()
    memory.unlink()


def test_it_is_live_ready_and_has_the_model(client):
    assert client("is_server_live")
    assert client("is_server_ready")
    assert client("is_model_ready", "m")
    assert client("is_model_ready", "m", "1")
    assert not client("is_model_ready", "m", "2")
    assert not client("is_model_ready", "other")


def test_metadata_state_server_platform_types_and_shapes(client):
    about = client.data(client("get_server_metadata"))
    assert (about["name"], "system_shared_memory" in about["extensions"]) == ("multiedge", True)
    model = client.data(client("get_model_metadata", "m"))
    assert (model["name"], model["versions"], model["platform"]) == ("m", ["1"], "onnxruntime_onnx")
    shapes = [(each["name"], each["datatype"], [int(n) for n in each["shape"]]) for each in model["inputs"] + model["outputs"]]
    assert shapes == [("x", "FP32", [-1, 3]), ("s", "BYTES", [-1]), ("y", "FP32", [-1, 3]), ("t", "BYTES", [-1])]


def test_the_configuration_states_types_dimensions_and_instances(client):
    config = client.data(client("get_model_config", "m"))
    config = config if client.is_http else config["config"]
    assert (config["name"], config["platform"], config["backend"]) == ("m", "onnxruntime_onnx", "onnxruntime")
    tensors = [(each["name"], each["data_type"], [int(n) for n in each["dims"]]) for each in config["input"] + config["output"]]
    assert tensors == [
        ("x", "TYPE_FP32", [-1, 3]),
        ("s", "TYPE_STRING", [-1]),
        ("y", "TYPE_FP32", [-1, 3]),
        ("t", "TYPE_STRING", [-1]),
    ]
    assert [(each["count"], each["kind"]) for each in config["instance_group"]] == [(4, "KIND_MODEL")]


def test_an_inference_answers_outputs_by_name_with_the_id_of_the_request(client):
    wanted = [client.module.InferRequestedOutput("y")]
    result = client("infer", "m", client.inputs(), outputs=wanted, request_id="17", model_version="1", timeout=5_000_000)
    np.testing.assert_array_equal(result.as_numpy("y"), X * 2)
    assert result.as_numpy("t") is None
    response = client.data(result.get_response())
    assert (response["id"], response["model_name"], response["model_version"]) == ("17", "m", "1")
    assert "row" in str(response["parameters"])


def test_without_names_all_outputs_are_answered(client):
    result = client("infer", "m", client.inputs())
    np.testing.assert_array_equal(result.as_numpy("y"), X * 2)
    assert [text.decode() for text in result.as_numpy("t")] == ["ABC"]


@pytest.mark.parametrize("kind", ["http", "http.aio"])
def test_contents_may_be_json_and_compressed(server, kind):
    client = Client(kind, server)
    inputs = client.inputs()
    inputs[0].set_data_from_numpy(X, binary_data=False)
    inputs[1].set_data_from_numpy(S, binary_data=False)
    outputs = [client.module.InferRequestedOutput(name, binary_data=name == "t") for name in ("y", "t")]
    for coding in ("gzip", "deflate"):
        packed = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
        result = client("infer", "m", inputs, outputs=outputs, **packed)
        np.testing.assert_array_equal(result.as_numpy("y"), X * 2)
        assert [text.decode() for text in result.as_numpy("t")] == ["ABC"]


def test_a_request_that_fails_is_one_line_with_its_status(client):
    inputs = client.inputs()
    inputs[0].set_data_from_numpy(X * 7)
    with pytest.raises(InferenceServerException) as caught:
        client("infer", "m", inputs)
    assert caught.value.message() == "seven is refused, says the model"
    assert caught.value.status() in ("StatusCode.INVALID_ARGUMENT", "400")
    with pytest.raises(InferenceServerException, match="no model 'other' here") as caught:
        client("infer", "other", inputs)
    assert caught.value.status() in ("StatusCode.NOT_FOUND", "404")


@pytest.mark.parametrize("option", [{"sequence_id": 3, "sequence_start": True}, {"priority": 1}])
def test_what_would_have_no_effect_is_refused(client, option):
    with pytest.raises(InferenceServerException, match="no model here has sequences or priorities") as caught:
        client("infer", "m", client.inputs(), **option)
    assert caught.value.status() in ("StatusCode.UNIMPLEMENTED", "501")


def test_statistics_count_what_was_answered_and_what_failed(client):
    def counts():
        answer = client.data(client("get_inference_statistics", "m"))
        (stats,) = answer["model_stats"]
        return [int(stats["inference_stats"].get(name, {}).get("count", 0)) for name in ("success", "fail")]

    succeeded, failed = counts()
    client("infer", "m", client.inputs())
    with pytest.raises(InferenceServerException):
        client("infer", "m", client.inputs()[:1])
    assert counts() == [succeeded + 1, failed + 1]
    assert len(client.data(client("get_inference_statistics"))["model_stats"]) == 2


def test_the_repository_loads_and_unloads(client):
    def index():
        answer = client.data(client("get_model_repository_index"))
        return {each["name"]: each["state"] for each in (answer if client.is_http else answer["models"])}

    assert index() == {"m": "READY", "counter": "READY"}
    client("unload_model", "m")
    assert index()["m"] == "UNAVAILABLE"
    assert not client("is_model_ready", "m")
    with pytest.raises(InferenceServerException, match="model 'm' is not loaded") as caught:
        client("infer", "m", client.inputs())
    assert caught.value.status() in ("StatusCode.UNAVAILABLE", "503")
    client("load_model", "m")
    assert client("is_model_ready", "m")
    with pytest.raises(InferenceServerException, match="a model is loaded as the server has it") as caught:
        client("load_model", "m", config="{}")
    assert caught.value.status() in ("StatusCode.UNIMPLEMENTED", "501")
    with pytest.raises(InferenceServerException, match="model 'counter' cannot be loaded again"):
        client("unload_model", "counter")


def test_inputs_and_outputs_may_be_in_shared_memory(client, shared):
    np.ndarray(X.shape, X.dtype, shared.buf)[:] = X
    name = f"region {client.kind}"
    client("register_system_shared_memory", name, f"/{shared.name.lstrip('/')}", 48, offset=0)
    status = client.data(client("get_system_shared_memory_status", name))
    region = status[0] if client.is_http else status["regions"][name]
    assert (region["name"], int(region["byte_size"])) == (name, 48)
    inputs = client.inputs()
    inputs[0].set_shared_memory(name, X.nbytes)
    outputs = [client.module.InferRequestedOutput(each) for each in ("y", "t")]
    outputs[0].set_shared_memory(name, X.nbytes, offset=24)
    result = client("infer", "m", inputs, outputs=outputs)
    assert [text.decode() for text in result.as_numpy("t")] == ["ABC"]
    np.testing.assert_array_equal(np.ndarray(X.shape, X.dtype, shared.buf, offset=24), X * 2)
    client("unregister_system_shared_memory", name)
    with pytest.raises(InferenceServerException, match="no region"):
        client("get_system_shared_memory_status", name)
    client("unregister_system_shared_memory")


def test_a_stream_answers_in_order_and_goes_on_after_an_error(server):
    answers = []
    client = Client("grpc", server)
    with client.module.InferenceServerClient(server.grpc_address) as running:
        running.start_stream(lambda result, error: answers.append((result, error)))
        for number in range(6):
            inputs = client.inputs()
            inputs[0].set_data_from_numpy(X * (7 if number == 3 else number))
            running.async_stream_infer("m", inputs, request_id=str(number))
        running.stop_stream()
    assert [error.message() if error else result.get_response().id for result, error in answers] == [
        *("0", "1", "2"),
        "seven is refused, says the model",
        *("4", "5"),
    ]
    assert answers[0][0].get_response().parameters["triton_final_response"].bool_param


@pytest.mark.parametrize(("wants_empty", "extra"), [(False, []), (True, [None])])
def test_a_model_may_have_several_replies_to_one_request_of_a_stream(server, wants_empty, extra):
    answers = []
    given = tritonclient.grpc.InferInput("n", [1], "INT64")
    given.set_data_from_numpy(np.array([3]))
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        client.start_stream(lambda result, error: answers.append((result, error)))
        client.async_stream_infer("counter", [given], enable_empty_final_response=wants_empty)
        client.stop_stream()
    assert [error for _, error in answers if error] == []
    replies = [result.as_numpy("i") for result, _ in answers]
    assert [reply if reply is None else int(reply[0]) for reply in replies] == [0, 1, 2, *extra]


def test_a_stream_of_the_asynchronous_client_is_answered_too(server):
    client = Client("grpc.aio", server)

    async def replies():
        async with client.module.InferenceServerClient(server.grpc_address) as running:

            async def requests():
                for number in range(3):
                    yield {"model_name": "m", "inputs": client.inputs(), "request_id": str(number)}

            return [result.get_response().id async for result, error in running.stream_infer(requests()) if not error]

    assert asyncio.run(asyncio.wait_for(replies(), AT_ONCE_S)) == ["0", "1", "2"]


REFUSED: dict[str, tuple[tuple[object, ...], dict[str, object]]] = {
    "get_cuda_shared_memory_status": ((), {}),
    "register_cuda_shared_memory": (("r", b"aGFuZGxl", 0, 16), {}),
    "unregister_cuda_shared_memory": (("r",), {}),
    "update_trace_settings": ((), {"settings": {"trace_level": "OFF"}}),
    "get_trace_settings": (("m",), {}),
    "update_log_settings": (({"log_info": True},), {}),
    "get_log_settings": ((), {}),
}
"""Arguments of the methods that are refused."""


@pytest.mark.parametrize("method", REFUSED)
def test_everything_else_is_unimplemented_at_once(client, method):
    args, options = REFUSED[method]
    reason = next(operation.refusal for operation in OPERATIONS if operation.method == method)
    with pytest.raises(InferenceServerException) as caught:
        client(method, *args, **options)
    assert (caught.value.message(), caught.value.status() in ("StatusCode.UNIMPLEMENTED", "501")) == (reason, True)


@pytest.mark.timing
@pytest.mark.parametrize("kind", MODULES)
def test_the_table_has_every_method_of_the_clients(kind):
    methods: dict[str, Callable[..., object]] = dict(inspect.getmembers(MODULES[kind].InferenceServerClient, callable))
    public = {name for name in methods if not name.startswith("_")}
    assert public - LOCAL - OTHER_WAYS <= {operation.method for operation in OPERATIONS}
    assert {operation.method for operation in OPERATIONS if operation.refusal and operation.method} == set(REFUSED)
