"""A stage behind servers, with the servers faked: which endpoint is used, what is tried again, and what is recorded."""

from __future__ import annotations

import time

import numpy as np
import pytest

from multiedge.errors import ConfigError, PipelineError, StageError
from multiedge.executors import remote
from multiedge.executors.flow.stage_clock import StageClock, StageDeadlines
from multiedge.executors.remote import Endpoint, RemoteExecutor, RemoteOptions, RemoteStage, checked_endpoints
from multiedge.executors.workers import servers
from tests.builders.flow import chain_manifest, vector
from tests.builders.pipelines import synthetic_fleet

grpc = pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")

from multiedge.transports.open_inference import messages, pack  # noqa: E402

MANIFEST, FLEET = chain_manifest("d0", "d1"), synthetic_fleet(3)
IDENTITY = MANIFEST.identity(0)


class Failure(grpc.RpcError):
    def __init__(self, code: str) -> None:
        self._code = code

    def code(self):
        return grpc.StatusCode[self._code]

    def details(self):
        return "two\n lines"


class Server:
    """Answers by `script`: an error code, or None for the input plus 1. Counts the requests. It does not describe its model,
    whose version is that of `versions` whose turn it is."""

    def __init__(self, *script, versions=()):
        self.script, self.requests, self.versions = list(script), [], list(versions)

    def __call__(self, method, request, timeout_s):
        if method in ("ModelMetadata", "ServerMetadata"):
            raise Failure("UNIMPLEMENTED")
        self.requests.append((method, request.model_name if method == "ModelInfer" else request.name))
        code = self.script.pop(0) if self.script else None
        if code:
            raise Failure(code)
        if method == "ModelReady":
            return messages()["ModelReadyResponse"](ready=True)
        version = self.versions.pop(0) if self.versions else ""
        response = messages()["ModelInferResponse"](id=request.id, model_version=version)
        values = np.frombuffer(request.raw_input_contents[0], np.float32)
        pack(response.outputs, response.raw_output_contents, {"t1": values + 1})
        return response


class Channel:
    closed = False

    def close(self):
        self.closed = True


@pytest.fixture
def stage_of(monkeypatch):
    """A stage with a server per endpoint, its recorded faults, and pauses that take no time to speak of."""
    monkeypatch.setattr(servers, "SHORTEST_PAUSE_S", 0.001)
    monkeypatch.setattr(servers, "LONGEST_PAUSE_S", 0.002)
    monkeypatch.setattr(remote, "SHORTEST_PAUSE_S", 0.001)

    def make(*fakes, patience_s=2.0):
        endpoints = []
        for number, server in enumerate(fakes):
            endpoint = Endpoint(f"host{number}:1", "stage_1", IDENTITY, Channel())
            endpoint.call = server
            endpoints.append(endpoint)
        monkeypatch.setattr(Endpoint, "of", classmethod(lambda cls, place, stage, identity: endpoints[int(place)]))
        faults = []
        places = [str(number) for number in range(len(fakes))]
        clock = StageClock(StageDeadlines(), {})
        part = MANIFEST.parts[0]
        return RemoteStage(part, "d0", IDENTITY, places, clock, patience_s, faults.append, servers.Released()), faults

    return make


def run(stage, tries=None):
    """The value of the output; each time that the item is sent again is one more in `tries`."""
    return float(stage.run({"t0": vector(1)}, ("t1",), lambda: tries.append(1) if tries is not None else None)["t1"][0])


def test_versions_of_servers_of_other_makers_are_not_compared(stage_of):
    stage, faults = stage_of(Server(versions=["1", "2"]))
    assert [run(stage), run(stage)] == [2.0, 2.0]
    assert faults == []


@pytest.mark.parametrize("wrong", ["multiedge-of-another-plan", ""])
def test_an_answer_of_another_stage_is_a_fault_and_the_next_endpoint_answers(stage_of, wrong):
    stage, faults = stage_of(Server(versions=[IDENTITY, wrong]), Server(versions=[IDENTITY]))
    assert [run(stage), run(stage)] == [2.0, 2.0]
    got = wrong or "no identity"
    assert [fault.detail for fault in faults] == [
        f"host0:1/stage_1: expected the stage of this plan, {IDENTITY}, got {got};"
        " serve the folder of this plan there; answered by host1:1"
    ]


def test_the_first_endpoint_is_used_while_it_works(stage_of):
    first, second = Server(), Server()
    stage, faults = stage_of(first, second)
    assert [run(stage, tries := []), run(stage, tries)] == [2.0, 2.0]
    assert tries == []
    assert (len(first.requests), len(second.requests)) == (2, 0)
    assert faults == []


@pytest.mark.parametrize("code", remote.TRANSIENT)
def test_a_server_that_is_down_or_busy_is_tried_again_and_the_fault_recorded(stage_of, code):
    stage, faults = stage_of(Server(code, code))
    assert run(stage, tries := []) == 2.0
    assert len(tries) == 2
    (fault,) = faults
    assert (fault.kind, fault.device) == ("server", "d0")
    assert fault.recovered_s > fault.detected_s
    assert fault.detail == f"host0:1/stage_1: {code}: two lines; answered by host0:1"


def test_the_next_endpoint_takes_over_and_the_first_is_tried_later(stage_of):
    first, second = Server("UNAVAILABLE"), Server()
    stage, faults = stage_of(first, second)
    assert run(stage) == 2.0
    assert len(second.requests) == 1
    assert faults[0].detail.endswith("; answered by host1:1")
    stage.endpoints[0].free_from_s = 0.0
    run(stage)
    assert len(first.requests) == 2


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "INTERNAL", "UNIMPLEMENTED"])
def test_an_item_that_the_stage_refuses_fails_at_the_first_try(stage_of, code):
    stage, faults = stage_of(Server(code))
    with pytest.raises(StageError, match=f"host0:1/stage_1: {code}: two lines"):
        run(stage, tries := [])
    assert tries == []
    assert faults == []
    assert run(stage) == 2.0


def test_without_an_answer_for_patience_s_the_item_fails_and_the_fault_stays_open(stage_of):
    stage, faults = stage_of(Server(*["UNAVAILABLE"] * 1000), patience_s=0.05)
    with pytest.raises(StageError, match=r"no answer from host0:1/stage_1 for 0\.05 s"):
        run(stage)
    assert [fault.recovered_s for fault in faults] == [None]


@pytest.mark.timing
def test_items_fail_immediately_while_the_servers_are_known_to_be_away(stage_of):
    server = Server(*["UNAVAILABLE"] * 1000)
    stage, faults = stage_of(server, patience_s=0.3)
    with pytest.raises(StageError, match="no answer"):
        run(stage)
    begin, before = time.monotonic(), len(server.requests)
    stage.endpoints[0].free_from_s = begin + 60.0
    for _ in range(38):
        with pytest.raises(StageError, match=r"host0:1/stage_1: UNAVAILABLE: two lines; items are not sent"):
            run(stage)
    assert time.monotonic() - begin < 0.3
    assert len(server.requests) == before
    assert len(faults) == 1


def test_a_server_that_is_back_is_found_by_a_probe_and_answers(stage_of):
    server = Server(*["UNAVAILABLE"] * 1000)
    stage, faults = stage_of(server, patience_s=0.05)
    for _ in range(2):
        with pytest.raises(StageError, match="no answer"):
            run(stage)
    server.script.clear()
    time.sleep(0.01)
    assert run(stage) == 2.0
    assert [fault.kind for fault in faults] == ["server", "return"]


@pytest.mark.timing
def test_probes_of_a_server_that_does_not_answer_take_a_bounded_share_of_the_time(stage_of, monkeypatch):
    stage, _ = stage_of(Server(*["UNAVAILABLE"] * 1000), patience_s=0.05)
    with pytest.raises(StageError, match="no answer"):
        run(stage)
    stage.endpoints[0].free_from_s = 0.0
    monkeypatch.setattr(stage, "_problem", lambda endpoint: time.sleep(0.05) or "hangs")
    with pytest.raises(StageError, match="no answer"):
        run(stage)
    assert stage.endpoints[0].free_from_s - time.monotonic() > 0.15


def test_pauses_grow_with_failures_in_a_row_and_end_with_success():
    endpoint = Endpoint("h:1", "stage_1", IDENTITY, Channel())
    pauses = []
    for _ in range(8):
        endpoint.pause(100.0, 0.0)
        pauses.append(endpoint.free_from_s - 100.0)
    assert pauses == sorted(pauses)
    assert pauses[0] == pytest.approx(servers.SHORTEST_PAUSE_S)
    assert pauses[-1] == pytest.approx(servers.LONGEST_PAUSE_S)
    endpoint.worked()
    assert (endpoint.failures, endpoint.free_from_s) == (0, 0.0)
    endpoint.pause(100.0, 7.0)
    assert endpoint.free_from_s == 107.0


def test_an_answer_to_another_request_or_without_an_output_fails_the_item(stage_of):
    def wrong_number(method, request, timeout_s):
        return messages()["ModelInferResponse"](id="77")

    def no_output(method, request, timeout_s):
        return messages()["ModelInferResponse"](id=request.id)

    with pytest.raises(StageError, match="host0:1: answered request 77 in place of 1"):
        run(stage_of(wrong_number)[0])
    with pytest.raises(StageError, match="host0:1/stage_1: output 't1' is missing"):
        run(stage_of(no_output)[0])


def test_a_closed_stage_says_so_and_closes_its_channels(stage_of):
    stage, _ = stage_of(Server())
    stage.close()
    with pytest.raises(StageError, match="the pipeline is closed"):
        run(stage)
    assert all(endpoint.channel.closed for endpoint in stage.endpoints)


def test_the_start_waits_for_one_server_that_has_the_model(stage_of):
    late = Server("UNAVAILABLE", "UNAVAILABLE")
    stage, _ = stage_of(Server(*["UNAVAILABLE"] * 1000), late)
    stage.wait_ready(2.0)
    assert late.requests == [("ModelReady", "stage_1")] * 3


def test_a_start_without_servers_names_each_of_them(stage_of):
    stage, _ = stage_of(Server(*["UNAVAILABLE"] * 1000), Server(*["NOT_FOUND"] * 1000))
    with pytest.raises(PipelineError) as caught:
        stage.wait_ready(0.01)
    assert str(caught.value) == (
        "host0:1/stage_1: UNAVAILABLE: two lines; host1:1/stage_1: NOT_FOUND: two lines (waited 0.01 s)"
    )


def test_endpoints_are_keyed_by_device_or_stage():
    given = {"d0": "a:1", 1: ["b:2/m", "[::1]:3"], "d2": ()}
    assert checked_endpoints(given, MANIFEST, FLEET) == {"d0": ("a:1",), "1": ("b:2/m", "[::1]:3"), "d2": ()}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"d7": "h:1"}, "endpoints: 'd7' is no device and no stage"),
        ({2: "h:1"}, "endpoints: '2' is no device and no stage"),
        ({"d0": "host"}, "endpoints: d0: expected host:port or host:port/model, got 'host'"),
        ({"d0": ":1"}, "endpoints: d0: expected host:port or host:port/model, got ':1'"),
        ({"d0": ["h:1", "h:http"]}, "endpoints: d0: expected host:port or host:port/model, got 'h:http'"),
    ],
)
def test_wrong_endpoints_are_named(given, line):
    with pytest.raises(ConfigError, match=line):
        checked_endpoints(given, MANIFEST, FLEET)


@pytest.mark.parametrize(
    ("endpoints", "fallbacks", "places"),
    [
        ({"d0": "a:1", "d1": "b:1"}, {}, ("a:1",)),
        ({"0": "s:1", "d0": "a:1"}, {}, ("s:1",)),
        ({"d0": ["a:1", "a:2"], "d1": "b:1"}, {0: ("d1", "d2")}, ("a:1", "a:2", "b:1")),
        ({"d1": "b:1"}, {0: ("d1",)}, ("b:1",)),
        ({"d0": "a:1", "d1": "a:1"}, {0: ("d1",)}, ("a:1",)),
    ],
)
def test_a_stage_has_its_own_endpoints_then_those_of_its_fallbacks(endpoints, fallbacks, places):
    executor = RemoteExecutor(MANIFEST, FLEET, RemoteOptions(endpoints=endpoints, fallbacks=fallbacks))
    assert executor._places(0, "d0") == places


def test_a_stage_without_an_endpoint_is_told_how_to_get_one():
    executor = RemoteExecutor(MANIFEST, FLEET, RemoteOptions(endpoints={"d1": "b:1"}))
    with pytest.raises(PipelineError) as caught:
        executor.start()
    assert str(caught.value) == (
        "stage 0 on 'd0' could not start: it has no endpoint; give one, --endpoint 'd0=host:port', in Python"
        " endpoints={'d0': 'host:port'}"
    )


def test_patience_is_the_limit_of_a_first_item_unless_it_is_given():
    options = RemoteOptions(endpoints={"d0": "a:1"}, deadlines=StageDeadlines(first_s=7.0))
    assert RemoteExecutor(MANIFEST, FLEET, options)._patience_s == 7.0
    given = RemoteOptions(endpoints={"d0": "a:1"}, patience_s=0.0)
    assert RemoteExecutor(MANIFEST, FLEET, given)._patience_s == 0.0
