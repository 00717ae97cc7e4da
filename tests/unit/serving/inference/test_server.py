"""A server over gRPC and HTTP: deadlines, limits, damaged requests, models that change, and its end."""

from __future__ import annotations

import json
import random
import ssl
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress

import numpy as np
import pytest

from multiedge.errors import ConfigError, PipelineError
from multiedge.network.identity import Identity
from multiedge.serving.inference.grpc_service import MOST_STREAMS
from multiedge.serving.inference.repository import ModelRepository
from multiedge.serving.inference.server import InferenceServer, ServerOptions
from tests.builders.inference import LOOPBACK, Doubler, Waiting, serving, until

grpc = pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")
pytest.importorskip("aiohttp", reason="the extra `fleet` (aiohttp) is not installed")

from multiedge.transports.open_inference import SERVICE, infer_request, messages, unpack  # noqa: E402

X = {"x": np.ones((1, 3), np.float32), "s": np.array(["a"], dtype=object)}
BODY = {
    "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]},
        {"name": "s", "datatype": "BYTES", "shape": [1], "data": ["a"]},
    ]
}


def post(server, path, body=b"", **headers):
    """Status, headers and body of an answer over HTTP."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{server.http_address}{path}", data, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def ask(server, method, request, timeout=5.0):
    """The answer over gRPC."""
    kinds = messages()
    with grpc.insecure_channel(server.grpc_address) as channel:
        send, receive = kinds[f"{method}Request"].SerializeToString, kinds[f"{method}Response"].FromString
        return channel.unary_unary(f"/{SERVICE}/{method}", send, receive)(request, timeout=timeout)


def failure(server, request, timeout=5.0):
    with pytest.raises(grpc.RpcError) as caught:
        ask(server, "ModelInfer", request, timeout)
    return caught.value.code().name, caught.value.details()


def with_timeout(request, timeout_us):
    request.parameters.add(key="timeout").value.int64_param = timeout_us
    return request


@pytest.fixture(scope="module")
def server():
    with serving(Doubler(), loaders={"m": Doubler}) as running:
        yield running


@pytest.fixture
def waiting():
    model = Waiting(most_waiting=2)
    with serving(model) as running:
        yield running, model
        model.release.set()


def test_the_time_of_a_request_holds_while_it_is_computed_and_while_it_waits(waiting):
    server, model = waiting
    begin = time.monotonic()
    status, _, body = post(server, "/v2/models/waiting/infer", {"inputs": [], "parameters": {"timeout": 100_000}})
    assert (status, json.loads(body)) == (504, {"error": "the time of the request was over before it was computed"})
    request = with_timeout(infer_request("waiting", 1, {}, ()), 100_000)
    code, details = failure(server, request)
    assert (code, "the time of the request was over before" in details) == ("DEADLINE_EXCEEDED", True)
    assert failure(server, infer_request("waiting", 1, {}, ()), timeout=0.1)[0] == "DEADLINE_EXCEEDED"
    assert time.monotonic() - begin < 2
    assert model.begun.acquire(timeout=1)
    assert not model.begun.acquire(blocking=False), "a request was computed whose time was over before it had a slot"


def test_a_request_beyond_those_that_may_wait_is_refused_at_once(waiting):
    server, model = waiting
    threads = [threading.Thread(target=post, args=(server, "/v2/models/waiting/infer", {"inputs": []})) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert model.begun.acquire(timeout=5)
    with server.service.repository.using("waiting") as loaded:
        until(lambda: loaded.slots.waiting == 2)
    status, headers, body = post(server, "/v2/models/waiting/infer", {"inputs": []})
    assert (status, headers["Retry-After"]) == (429, "1")
    assert json.loads(body) == {"error": "2 requests of 'waiting' wait; send it later"}
    assert failure(server, infer_request("waiting", 1, {}, ()))[0] == "RESOURCE_EXHAUSTED"
    model.release.set()
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize("value", [-1, "soon", 1.5, True])
def test_a_time_that_is_none_is_refused(server, value):
    status, _, body = post(server, "/v2/models/m/infer", BODY | {"parameters": {"timeout": value}})
    assert status == 400
    assert json.loads(body)["error"].startswith("parameter 'timeout': expected a whole number of microseconds, got")


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "line"),
    [
        ("/v2/models/m/infer", b"{", {}, 400, "request: not valid JSON: expecting property name"),
        ("/v2/models/m/infer", b"[" * 200_000, {}, 400, "request: not valid JSON: nested too deeply"),
        (
            "/v2/models/m/infer",
            b"\x1f\x8bnot",
            {"Content-Encoding": "gzip"},
            400,
            "400, message: Can not decode",
        ),
        ("/v2/models/m/infer", b"{}", {"Inference-Header-Content-Length": "3"}, 400, "Inference-Header-Content-Length:"),
        ("/v2/models/m/infer", b"{}", {"Inference-Header-Content-Length": "0"}, 501, "Inference-Header-Content-Length:"),
        ("/v2/models/m/infer", {"inputs": BODY["inputs"][:1]}, {}, 400, "input 's' is missing; known: x"),
        ("/v2/models/m/infer", {"inputs": BODY["inputs"] * 2}, {}, 400, "expected each input once, got a list of 4"),
        ("/v2/models/m/infer", {"inputs": [{"name": "x"}]}, {}, 400, "input 'x': expected contents, got none"),
        ("/v2/models/m/infer", BODY | {"outputs": [{"name": "z"}]}, {}, 400, "unknown output 'z'; known: t, y"),
        ("/v2/models/m/infer", {"inputs": [{"name": "x", "parameters": {"kept": "a:1/k"}}]}, {}, 400, "input 'x': this server"),
        ("/v2/models/m/versions/9/infer", BODY, {}, 404, "model 'm' has no version '9'; there are 1"),
        ("/v2/models/m", b"", {}, 405, "POST /v2/models/m: Method Not Allowed"),
        ("/v2/nothing", b"", {}, 404, "POST /v2/nothing: Not Found"),
        ("/v2/models/m/generate", b"{}", {}, 501, "generation from text is not supported; use infer with tensors"),
        ("/v2/repository/models/m/load", b'{"parameters": 3}', {}, 400, "request: parameters: expected a mapping, got 3"),
        ("/v2/repository/index", b'{"ready": "yes"}', {}, 400, "request: ready: expected true or false, got 'yes'"),
        ("/v2/systemsharedmemory/region/r/register", b'{"key": "/r"}', {}, 400, "request: byte_size: missing; expected"),
        ("/v2/systemsharedmemory/region/r/register", b'{"key": "/../r", "byte_size": 1}', {}, 400, "region 'r': expected the"),
    ],
)
def test_a_damaged_request_over_http_is_one_line_with_its_status(server, path, body, headers, status, line):
    code, answered, content = post(server, path, body, **headers)
    assert (code, answered["Content-Type"].split(";")[0]) == (status, "application/json")
    error = json.loads(content)["error"]
    assert error.startswith(line)
    assert "\n" not in error


def test_a_request_beyond_the_limit_is_refused():
    repository = ModelRepository()
    repository.put(Doubler())
    options = ServerOptions(LOOPBACK, LOOPBACK, max_message_bytes=2000)
    with InferenceServer(repository, options) as server:
        assert post(server, "/v2/models/m/infer", bytes(3000))[0] == 413
        large = infer_request("m", 1, {"x": np.zeros((1000, 3), np.float32)}, ())
        assert failure(server, large)[0] == "RESOURCE_EXHAUSTED"
    repository.close()


def test_a_method_that_the_protocol_does_not_have_is_unimplemented(server):
    with grpc.insecure_channel(server.grpc_address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/{SERVICE}/Nothing")(b"", timeout=5)
    assert caught.value.code().name == "UNIMPLEMENTED"


def test_streams_beyond_the_limit_are_refused_until_others_have_been_cancelled(server):
    kinds = messages()
    send, receive = kinds["ModelInferRequest"].SerializeToString, kinds["ModelStreamInferResponse"].FromString
    ended = threading.Event()

    def requests():
        yield infer_request("m", 1, X, ["y"])
        ended.wait(20)

    def begin():
        """A stream that has answered its first request, and ''; None and the reason if it was refused."""
        stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", send, receive)(requests())
        try:
            next(stream)
            return stream, ""
        except grpc.RpcError as error:
            return None, f"{error.code().name}: {error.details()}"

    with grpc.insecure_channel(server.grpc_address) as channel:
        streams = [begin() for _ in range(MOST_STREAMS)]
        assert begin() == (None, "RESOURCE_EXHAUSTED: 64 streams are open; open it later")
        for stream, reason in streams:
            assert reason == ""
            stream.cancel()
        until(lambda: begin()[0] is not None)
        ended.set()


def test_a_server_has_one_repository_without_a_name(server):
    with pytest.raises(grpc.RpcError) as caught:
        ask(server, "RepositoryIndex", messages()["RepositoryIndexRequest"](repository_name="other"))
    assert caught.value.details() == "no repository 'other'; leave the name out"
    assert post(server, "/v2/repository/index", {"repository_name": "other"})[0] == 404


def test_a_model_sees_parameters_of_its_own_and_none_of_the_protocols():
    model = Doubler()
    with serving(model) as server:
        asked = {"max_latency_ms": 5, "timeout": 10_000_000, "binary_data_output": True}
        assert post(server, "/v2/models/m/infer", BODY | {"id": "9", "parameters": asked})[0] == 200
    (request,) = model.seen
    assert (request.parameters, request.id, request.outputs) == ({"max_latency_ms": 5}, "9", ())
    assert 5 < request.time_left_s < 10


def test_fifty_loads_and_unloads_under_requests_over_both_protocols_lose_none():
    """Each request is answered right, or told that the model is not there now."""
    answered, refused, others = [], [], []
    done = threading.Event()

    def note(is_right, status):
        (answered if is_right else refused if status in (503, "UNAVAILABLE") else others).append(status)

    def over_http(server):
        while not done.is_set():
            status, _, body = post(server, "/v2/models/m/infer", BODY)
            note(status == 200 and json.loads(body)["outputs"][0]["data"] == [2, 4, 6], status)

    def over_grpc(server):
        kinds = messages()
        with grpc.insecure_channel(server.grpc_address) as channel:
            send, receive = kinds["ModelInferRequest"].SerializeToString, kinds["ModelInferResponse"].FromString
            infer = channel.unary_unary(f"/{SERVICE}/ModelInfer", send, receive)
            while not done.is_set():
                try:
                    answer = infer(infer_request("m", 1, X, ["y"]), timeout=5)
                    note(bool((unpack(answer.outputs, answer.raw_output_contents)["y"] == 2).all()), "OK")
                except grpc.RpcError as error:
                    note(False, error.code().name)

    with serving(Doubler(), loaders={"m": Doubler}) as server:
        threads = [threading.Thread(target=each, args=(server,)) for each in (over_http, over_grpc)]
        for thread in threads:
            thread.start()
        generator = random.Random(18)
        for _ in range(50):
            post(server, f"/v2/repository/models/m/{generator.choice(['load', 'unload', 'load'])}")
            time.sleep(generator.uniform(0, 0.005))
        post(server, "/v2/repository/models/m/load")
        done.set()
        for thread in threads:
            thread.join(10)
    assert len(answered) > 10
    assert others == []


@pytest.mark.parametrize("options", [ServerOptions(("0.0.0.0", 0)), ServerOptions(http=("10.1.2.3", 0))])
def test_beyond_this_machine_it_listens_with_tls_alone(options):
    with pytest.raises(ConfigError, match=r"is not this machine alone, so TLS is needed; .* give --identity FOLDER"):
        InferenceServer(ModelRepository(), options)


@pytest.mark.parametrize(("path", "body"), [("live", {"live": True}), ("ready", {"ready": True})])
def test_health_has_the_body_of_the_specification(server, path, body):
    with urllib.request.urlopen(f"http://{server.http_address}/v2/health/{path}", timeout=5) as answer:
        assert json.load(answer) == body


def test_with_an_identity_both_use_tls_and_clients_need_a_certificate_of_its_ca(tmp_path):
    pytest.importorskip("cryptography", reason="the extra `fleet` (cryptography) is not installed")
    from multiedge.serving.hub.authority import Authority, dns_name

    authority = Authority.create(tmp_path / "hub")
    authority.issue(tmp_path / "a", "node:a")
    names = [(tmp_path / "hub/client" / name) for name in ("ca.pem", "key.pem", "cert.pem")]
    options = ServerOptions(LOOPBACK, LOOPBACK, Identity(tmp_path / "a"))
    known, stranger = (ssl.create_default_context(cafile=names[0]) for _ in range(2))
    known.load_cert_chain(names[2], names[1])
    known.check_hostname = stranger.check_hostname = False
    with InferenceServer(ModelRepository(), options) as server:
        with urllib.request.urlopen(f"https://{server.http_address}/v2", context=known, timeout=5) as answer:
            assert json.load(answer)["name"] == "multiedge"
        with pytest.raises((ssl.SSLError, ConnectionError, urllib.error.URLError)):
            urllib.request.urlopen(f"https://{server.http_address}/v2", context=stranger, timeout=5)
        target = (("grpc.ssl_target_name_override", dns_name("node:a")),)
        own = grpc.ssl_channel_credentials(*(name.read_bytes() for name in names))
        with grpc.secure_channel(server.grpc_address, own, target) as channel:
            assert is_live(channel)
        with grpc.secure_channel(server.grpc_address, grpc.ssl_channel_credentials(names[0].read_bytes()), target) as channel:
            assert not is_live(channel)


def is_live(channel):
    """Whether a server answers over the channel."""
    try:
        read = messages()["ServerLiveResponse"].FromString
        return channel.unary_unary(f"/{SERVICE}/ServerLive", response_deserializer=read)(b"", timeout=5).live
    except grpc.RpcError:
        return False


def test_a_server_that_listens_nowhere_is_refused():
    with pytest.raises(ConfigError, match="expected an address for gRPC, for HTTP or for both"):
        InferenceServer(ModelRepository(), ServerOptions())


def test_a_taken_port_is_one_line_and_leaves_nothing_open(server):
    taken = int(server.http_address.rpartition(":")[2])
    for options in (ServerOptions(("127.0.0.1", taken)), ServerOptions(LOOPBACK, ("127.0.0.1", taken))):
        with pytest.raises(PipelineError, match=rf"cannot listen on {server.http_address}: .*; is the port taken\?"):
            InferenceServer(ModelRepository(), options)


def test_it_ends_in_time_while_a_request_is_computed():
    model = Waiting()
    with serving(model) as server:
        thread = threading.Thread(target=lambda: _ignore(post, server, "/v2/models/waiting/infer", {"inputs": []}))
        thread.start()
        assert model.begun.acquire(timeout=5)
        begin = time.monotonic()
        server.close()
        assert time.monotonic() - begin < 3
        assert server.service.repository.is_computing
        model.release.set()
        thread.join(10)


def _ignore(function, *args):
    with suppress(OSError):
        function(*args)
