"""Load on servers: this project's over HTTP and gRPC, OpenAI's protocol, and what is said of those that refuse."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="needs the extra [fleet]")
pytest.importorskip("grpc", reason="needs the extra [remote]")

from multiedge import cli
from multiedge.errors import ConfigError, NetworkError
from multiedge.graph import Tensor
from multiedge.load.completions import Completions
from multiedge.load.open_inference import OpenInferenceGrpc, OpenInferenceHttp, sample_arrays
from multiedge.load.patterns import Constant
from multiedge.load.place import parse_place
from multiedge.load.run import LoadOptions, load_result, run_load
from multiedge.network.identity import Identity
from multiedge.report.results import load_results
from multiedge.serving.inference.contract import Busy, InferReply, InferRequest, ServedModel
from multiedge.serving.inference.repository import ModelRepository
from multiedge.serving.inference.server import InferenceServer, ServerOptions
from multiedge.serving.signature import Signature
from tests.builders.inference import LOOPBACK, serving
from tests.builders.load_servers import timed_server

FEW = LoadOptions(requests=20)
EVEN = Constant(100.0)


class Scores(ServedModel):
    """Gives its input back as scores; refuses one whose first value is above 90."""

    name = "scores"
    signature = Signature({"x": Tensor("x", "float32", ("n", 3))}, {"y": Tensor("y", "float32", ("n", 3))})

    def infer(self, request: InferRequest) -> InferReply:
        if request.inputs["x"][0, 0] > 90:
            raise Busy("full")
        return InferReply({"y": request.inputs["x"]})


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    folder = tmp_path / "samples"
    folder.mkdir()
    for number, label in enumerate((0, 1, 2, 2)):
        np.savez(folder / f"{number}.npz", x=np.eye(3, dtype=np.float32)[[label]])
    return folder


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_model_of_this_project_answers_a_load_and_its_labels_are_compared(scheme: str, samples: Path) -> None:
    target_of = {"http": OpenInferenceHttp, "grpc": OpenInferenceGrpc}[scheme]
    with serving(Scores()) as server:
        place = parse_place(f"{scheme}://{server.http_address if scheme == 'http' else server.grpc_address}/scores")
        target = target_of(place, inputs=(str(samples),))
        run = run_load(target, EVEN, FEW)
        exact = run_load(target, EVEN, LoadOptions(mode="accuracy"))
    items = run.measurements.items
    assert [item.item for item in items] == list(range(20))
    assert not any(item.error for item in items)
    assert all(item.due_s <= item.issued_s < item.done_s for item in items)
    result = load_result("scores", exact, labels=(0, 1, 2, 0))
    assert result.results["accuracy_top1"].value == 0.75
    assert result.results["completed"].value == 4


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_of_a_fleet_is_reached_over_tls(scheme: str, tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="needs the extra [fleet]")
    from multiedge.serving.hub.authority import Authority

    Authority.create(tmp_path / "hub").issue(tmp_path / "a", "node:a")
    models = ModelRepository()
    models.put(Scores())
    with InferenceServer(models, ServerOptions(LOOPBACK, LOOPBACK, Identity(tmp_path / "a"))) as server:
        address = server.http_address if scheme == "http" else server.grpc_address
        place = parse_place(f"{scheme}://{address}/scores", str(tmp_path / "hub/client"))
        target = {"http": OpenInferenceHttp, "grpc": OpenInferenceGrpc}[scheme](place)
        run = run_load(target, Constant(1000.0), FEW)  # so fast that connections are opened during the run
    models.close()
    assert not any(item.error for item in run.sent.items), run.sent.items
    assert len(run.sent.items) == 20


def test_a_server_that_describes_no_inputs_needs_samples(samples: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not describe the inputs of its model; give samples with --inputs FILE.npz"):
        sample_arrays({}, (), None, 0)
    arrays = sample_arrays({}, (str(samples),), None, 0)
    assert [each["x"].argmax() for each in arrays] == [0, 1, 2, 2]


def test_what_a_server_refuses_is_counted_with_its_reason() -> None:
    with serving(Scores()) as server:
        target = OpenInferenceHttp(parse_place(f"{server.http_address}/scores"), samples=2)
        good = target.requests[0]
        bad = good[:-12] + np.array([99, 0, 0], np.float32).tobytes()
        target.requests = [good, bad]
        result = load_result("scores", run_load(target, EVEN, LoadOptions(requests=20, warmup=1)))
    assert 0 < result.results["failed"].value < 20
    assert result.results["failed"].note == "status 429: full"
    assert result.verdict == "INVALID"


def test_a_model_that_is_not_there_is_the_servers_own_words() -> None:
    with serving(Scores()) as server:
        with pytest.raises(NetworkError, match=r"status 404: .*scors"):
            OpenInferenceHttp(parse_place(f"{server.http_address}/scors"))
        with pytest.raises(ConfigError, match="which model"):
            OpenInferenceHttp(parse_place(str(server.http_address)))


def test_several_senders_share_a_schedule_and_all_of_it_is_sent() -> None:
    with timed_server() as server:
        target = OpenInferenceHttp(parse_place(server.url))
        run = run_load(target, Constant(300.0), LoadOptions(requests=150, senders=2))
    assert run.senders == 2
    assert [item.due_s for item in run.sent.items] == pytest.approx([number / 300 for number in range(150)])
    assert run.sent.is_whole
    assert not any(item.error for item in run.sent.items)


@contextmanager
def text_server() -> Iterator[str]:
    """URL of a server of OpenAI's protocol that sends five tokens; a prompt 'break' ends its stream with an error."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(json.dumps({"data": [{"id": "tiny"}]}).encode())

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = asked.get("prompt") or asked["messages"][0]["content"]
            usage = {"choices": [], "usage": {"completion_tokens": 5}}
            if not asked.get("stream"):
                return self._send(json.dumps(usage).encode())
            last = {"error": {"message": "out of memory"}} if said == "break" else usage
            events = [{"choices": [{"text": "a"}]}, last]
            body = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events) + b"data: [DONE]\n\n"
            return self._send(body, "text/event-stream")

        def _send(self, body: bytes, kind: str = "application/json") -> None:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("path", "stream"), [("", False), ("/chat/completions", True)])
def test_tokens_of_a_language_model_are_counted(path: str, stream: bool) -> None:
    with text_server() as url:
        run = run_load(Completions(parse_place(url + path), prompts=("hello",), stream=stream), EVEN, FEW)
    result = load_result("tiny", run)
    assert result.results["completed"].value == 20
    assert result.results["tokens_per_s"].value == pytest.approx(100 / run.measurements.stop_s)
    assert ("first_token_p50_s" in result.results) is stream
    if stream:
        assert 0 < result.results["first_token_p50_s"].value <= result.results["latency_max_s"].value
        assert result.results["first_token_p99_s"].samples_needed == 662


def test_a_stream_that_ends_with_an_error_has_failed() -> None:
    with text_server() as url:
        run = run_load(Completions(parse_place(url), prompts=("break",), stream=True), EVEN, LoadOptions(requests=2))
    assert {item.error for item in run.measurements.items} == {"the stream ended with an error: out of memory"}


def test_the_command_prints_and_writes_what_the_report_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "load.json"
    with timed_server() as server:
        words = ["load", server.url, "--rate", "100", "--requests", "30", "--seed", "3", "-o", str(results)]
        assert cli.main(words) == 0
        shown = capsys.readouterr().out
        assert cli.main([*words[:-2], "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert "poisson arrivals, open loop" in shown
    assert "INVALID: " in shown
    assert "p99 needs 662 samples, got 30" in shown
    assert said["completed"] == 30
    assert {"lag_p99_s", "dispersion", "arrivals_p", "offered_per_s"} <= set(said["metrics"])
    saved = load_results(results)
    assert saved.results["completed"].value == 30
    page = tmp_path / "page.html"
    assert cli.main(["report", str(results), "-o", str(page)]) == 0
    assert "lag_p99" in page.read_text()


@pytest.mark.slow
def test_a_ramp_ends_at_the_most_where_a_server_keeps_it(capsys: pytest.CaptureFixture[str]) -> None:
    with timed_server() as server:
        words = ["load", server.url, "--rate", "800", "--ramp-to", "800", "--latency-bound", "2", "--seconds", "1"]
        status = cli.main([*words, "--pattern", "constant", "--json"])
    knee = json.loads(capsys.readouterr().out)
    (step,) = knee["steps"]
    assert (step["rate_per_s"], step["items"]) == (800.0, 1000)
    assert (status, knee["kept_per_s"]) == ((0, 800.0) if step["is_kept"] else (1, None))
