"""Stages behind Open Inference servers: what comes out equals the whole, also while servers die, hang and come back."""

import socket
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")

import grpc

from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.decoding.drafting import NO_PROPOSALS, Draft
from multiedge.decoding.generation import Turns, token_steps
from multiedge.decoding.opening import open_stages, open_whole
from multiedge.decoding.sampling import Sampling
from multiedge.errors import ConfigError, MissingDependencyError, ModelError, PipelineError
from multiedge.executors import open_pipeline
from multiedge.executors.flow.sequences import Sequences
from multiedge.executors.flow.stage_clock import StageDeadlines
from multiedge.executors.workers.servers import Endpoint
from multiedge.serving.inference.contract import Unsupported
from multiedge.serving.inference.grpc_service import GrpcService
from multiedge.serving.server import StageServer
from multiedge.transports.references import FetchError, chained_request
from tests.builders.pipelines import item, small_plan, synthetic_chain, synthetic_fleet, vectors
from tests.builders.sequences import decoded, even_parts, prompt_of, save_model
from tests.builders.stage_hosts import free_port, serve
from tests.builders.text_models import Wrong

BAD = 7.0


class Adder:
    """The synthetic chain's stage as a session; refuses one value and takes `seconds`."""

    def __init__(self, number, seconds=0.0):
        self.inputs, self.outputs = (f"t{number}",), (f"t{number + 1}",)
        self.seconds, self.runs = seconds, 0

    def run(self, tensors):
        self.runs += 1
        time.sleep(self.seconds)
        if tensors[self.inputs[0]].flat[0] == BAD:
            raise ModelError("seven is refused")
        return {self.outputs[0]: tensors[self.inputs[0]] + 1}

    def close(self):
        pass


@pytest.fixture
def chain(tmp_path):
    return synthetic_chain(tmp_path, stages=2), synthetic_fleet(2)


@pytest.fixture
def server():
    with StageServer({"stage_1": Adder(0), "stage_2": Adder(1)}) as running:
        yield running


def endpoints(*places):
    return {f"d{number}": place for number, place in enumerate(places)}


def values(results):
    return [float(result.require()["t2"][0]) for result in results]


def test_outputs_equal_the_inline_ones_and_what_is_not_measured_says_so(tmp_path):
    manifest, fleet = small_plan(tmp_path)
    items = vectors(30)
    with open_pipeline(manifest, fleet, "inline") as pipeline:
        expected, _ = pipeline.map(items)
    sessions = {f"stage_{p.stage + 1}": OnnxRuntimeBackend().open(tmp_path / "parts" / p.file) for p in manifest.parts}
    with StageServer(sessions) as running:
        places = {"endpoints": dict.fromkeys(fleet.names[:3], running.address)}
        with open_pipeline(manifest, fleet, "remote", **places) as pipeline:
            results, measured = pipeline.map(items)
    assert [result.item for result in results] == list(range(30))
    for result, wanted in zip(results, expected, strict=True):
        assert np.array_equal(result.require()["y"], wanted.require()["y"])
        assert result.tensors["y"].flags.writeable
    assert {(entry.peak_bytes, entry.method[:12]) for entry in measured.memory} == {(None, "not measured")}
    assert sum(event.kind == "compute" for event in measured.events) == 30 * 3
    assert measured.settings["transport"] == "grpc"
    assert "as seen from the caller" in measured.settings["compute_times"]


@pytest.mark.slow
def test_a_decoder_keeps_its_states_at_its_servers_and_replays_them_after_one_was_started_anew(tmp_path):
    manifest, fleet = even_parts(save_model(tmp_path, "optimum"), tmp_path / "parts", 2)
    with open_pipeline(manifest, fleet, "inline", warmup_items=0) as pipeline:
        expected = decoded(Sequences(pipeline.executor).open(), manifest, 12)
    port = free_port()
    with ExitStack() as stack:
        _, (first,) = stack.enter_context(serve(tmp_path / "parts", "--device", "d0"))
        own = stack.enter_context(ExitStack())
        _, (second,) = own.enter_context(serve(tmp_path / "parts", "--device", "d1", "--port", str(port)))
        places = endpoints(first.split()[0], second.split()[0])
        with open_pipeline(manifest, fleet, "remote", warmup_items=0, endpoints=places) as pipeline:
            sequence = Sequences(pipeline.executor).open()
            tokens = decoded(sequence, manifest, 6)
            own.close()
            stack.enter_context(serve(tmp_path / "parts", "--device", "d1", "--port", str(port)))
            tokens += decoded(sequence, manifest, 6, tokens[-1])
            assert sequence.replays >= 1
    assert tokens == expected


@pytest.mark.slow
def test_callers_of_the_same_servers_do_not_see_each_others_states_and_one_may_have_a_draft(tmp_path):
    path = save_model(tmp_path, "optimum")
    manifest, _ = even_parts(path, tmp_path / "parts", 2)
    whole = open_whole(path, sequences=2)
    expected = [int(row[0]) for row in token_steps(whole.open(), Turns(prompt_of(), Sampling(), 20))]
    with serve(tmp_path / "parts") as (_, lines):
        places = endpoints(*(line.split()[0] for line in lines))
        for proposals in (NO_PROPOSALS, Wrong(Draft(whole, 4)), NO_PROPOSALS):
            with closing(open_stages(manifest, executor="remote", endpoints=places)) as model:
                turns = Turns(prompt_of(), Sampling(), 20, proposals.open())
                assert [int(row[0]) for row in token_steps(model.open(), turns)] == expected
    whole.close()


@pytest.mark.timing
def test_stages_work_on_different_items_at_the_same_time(chain):
    with (
        StageServer({"stage_1": Adder(0, 0.05), "stage_2": Adder(1, 0.05)}) as slow,
        open_pipeline(*chain, "remote", endpoints=endpoints(slow.address, slow.address)) as pipeline,
    ):
        results, measured = pipeline.map([item(100 + n) for n in range(20)])
    assert values(results) == [102.0 + n for n in range(20)]
    assert measured.wall_s < 20 * 2 * 0.05 * 0.8


def test_a_refused_item_fails_alone(chain, server):
    with open_pipeline(*chain, "remote", endpoints=endpoints(server.address, server.address)) as pipeline:
        results, measured = pipeline.map([item(n) for n in (5, BAD, 6, 8)], None)
    assert [bool(result.error) for result in results] == [False, True, True, False]
    assert "stage 0 on 'd0' failed" in results[1].error
    assert "stage 1 on 'd1' failed" in results[2].error
    assert "seven is refused" in results[1].error
    assert measured.faults == ()


def test_a_server_that_is_killed_and_comes_back_loses_nothing(tmp_path):
    manifest, fleet = small_plan(tmp_path)
    items = vectors(200)
    with open_pipeline(manifest, fleet, "inline") as pipeline:
        expected, _ = pipeline.map(items)
    port = str(free_port())
    places = {"endpoints": dict.fromkeys(fleet.names[:3], f"127.0.0.1:{port}")}
    progress = threading.Event()
    answered = []

    def tell(count):
        answered.append(count)
        if sum(answered) >= 40:
            progress.set()

    def restart(first):
        assert progress.wait(30)
        first.kill()
        first.wait(timeout=10)
        second.__enter__()

    second = serve(manifest.directory, "--port", port)
    with (
        serve(manifest.directory, "--port", port) as (first, _),
        open_pipeline(manifest, fleet, "remote", **places, depth=5) as pipeline,
    ):
        killer = threading.Thread(target=restart, args=(first,))
        killer.start()
        try:
            results, measured = pipeline.map(items, progress=tell)
        finally:
            killer.join(timeout=60)
            second.__exit__(None, None, None)
    assert [result.item for result in results] == list(range(200))
    assert all(np.array_equal(a.require()["y"], b.require()["y"]) for a, b in zip(results, expected, strict=True))
    assert measured.faults
    assert {fault.kind for fault in measured.faults} == {"server"}
    assert all(fault.recovered_s is not None for fault in measured.faults)
    assert max(result.attempts for result in results) > 1
    print(f"recovered in {max(f.recovered_s - f.detected_s for f in measured.faults):.2f} s")


def test_the_next_endpoint_takes_over_from_one_that_hangs(chain, server):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute_place = f"127.0.0.1:{mute.getsockname()[1]}"
        places = endpoints([mute_place, server.address], server.address)
        deadlines = StageDeadlines(first_s=3.0)
        with open_pipeline(*chain, "remote", endpoints=places, deadlines=deadlines, warmup_items=0) as pipeline:
            results, measured = pipeline.map([item(100 + n) for n in range(10)])
    assert values(results) == [102.0 + n for n in range(10)]
    assert server.address in measured.faults[0].detail


def test_fallback_devices_lend_their_endpoints(chain, server):
    places = {"d0": server.address, "d1": f"127.0.0.1:{free_port()}"}
    with open_pipeline(*chain, "remote", endpoints=places, fallbacks={1: ("d0",)}) as pipeline:
        results, _ = pipeline.map([item(1)])
    assert values(results) == [3.0]


def adders(chain, **changes):
    """A server with the stages of the chain, and their identities as `multiedge serve` gives them."""
    manifest = replace(chain[0], **changes)
    identities = {f"stage_{stage + 1}": manifest.identity(stage) for stage in range(2)}
    return partial(StageServer, {"stage_1": Adder(0), "stage_2": Adder(1)}, identities)


def test_a_server_with_another_model_of_the_same_names_fails_the_start_with_the_reason(chain):
    with (
        adders(chain, model_hash="other")() as other,
        pytest.raises(PipelineError, match=r"/stage_1: expected the stage of this plan, multiedge-\w+, got multiedge-\w+;"),
    ):
        open_pipeline(*chain, "remote", endpoints=endpoints(other.address, other.address), connect_s=0.1)


@pytest.mark.parametrize(
    "changes", [{"model_hash": "other"}, pytest.param(None, marks=pytest.mark.slow)], ids=["another model", "no identity"]
)
def test_a_server_that_comes_back_with_another_model_gives_no_answer(chain, changes):
    running = adders(chain)().start()
    patient = {"endpoints": endpoints(running.address, running.address), "patience_s": 2.0, "warmup_items": 0}
    with open_pipeline(*chain, "remote", **patient) as pipeline:
        before, _ = pipeline.map([item(1)])
        running.close()
        restarted = adders(chain, **changes) if changes else partial(StageServer, {"stage_1": Adder(0), "stage_2": Adder(1)})
        with restarted(port=running.port):
            (wrong,), measured = pipeline.map([item(2)])
        with adders(chain)(port=running.port):
            after, _ = pipeline.map([item(3)])
    assert values([*before, *after]) == [3.0, 5.0]
    assert "expected the stage of this plan" in wrong.error
    assert "expected the stage of this plan" in measured.faults[0].detail


def test_nobody_there_fails_the_start_in_time_and_names_the_place(chain):
    place = f"127.0.0.1:{free_port()}"
    begin = time.monotonic()
    with pytest.raises(PipelineError, match=f"stage 0 on 'd0' could not start: {place}/stage_1: UNAVAILABLE"):
        open_pipeline(*chain, "remote", endpoints=endpoints(place, place), connect_s=0.3)
    assert time.monotonic() - begin < 3.0


def test_a_server_without_the_model_is_named(chain, server):
    with pytest.raises(PipelineError, match="has no model 'absent' that is ready"):
        open_pipeline(*chain, "remote", endpoints=endpoints(f"{server.address}/absent"), connect_s=0.2)


def test_a_server_that_stays_away_fails_items_by_name_and_closes_in_time(chain):
    running = StageServer({"stage_1": Adder(0), "stage_2": Adder(1)}).start()
    options = {"endpoints": endpoints(running.address, running.address), "patience_s": 0.5}
    with open_pipeline(*chain, "remote", **options) as pipeline:
        pipeline.map([item(1)])
        running.close()
        results, measured = pipeline.map([item(2)])
    assert "no answer from" in results[0].error
    assert measured.faults[0].recovered_s is None


def test_close_ends_a_request_that_is_under_way(chain):
    with StageServer({"stage_1": Adder(0, 5.0), "stage_2": Adder(1)}, threads=1) as slow:
        options = {"endpoints": endpoints(slow.address, slow.address)}
        with open_pipeline(*chain, "remote", **options) as pipeline:
            pipeline.executor.submit(0, item(1))
            time.sleep(0.2)
            begin = time.monotonic()
        assert time.monotonic() - begin < 2.0
        assert not [
            thread for thread in threading.enumerate() if thread.name.startswith("stage-") and "server" not in thread.name
        ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": {}}, "executor 'remote' has no option 'endpoint'; did you mean 'endpoints'"),
        ({"endpoints": {"d7": "h:1"}}, "'d7' is no device and no stage"),
        ({"endpoints": {"d0": "localhost"}}, "expected host:port or host:port/model, got 'localhost'"),
        ({"endpoints": ["h:1"]}, r"executor 'remote', option 'endpoints': expected a mapping, got \['h:1'\]"),
    ],
)
def test_wrong_options_are_one_line(chain, options, message):
    with pytest.raises(ConfigError, match=message):
        open_pipeline(*chain, "remote", **options)


def test_options_that_cannot_be_kept_are_refused(chain):
    with pytest.raises(
        ConfigError, match="executor 'remote' has no option 'micro_batch'; executors that have it: fleet, processes"
    ):
        open_pipeline(*chain, "remote", micro_batch=4)


def test_a_missing_package_names_the_extra(chain, monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'multi-edge-bench\[remote\]'"):
        open_pipeline(*chain, "remote", endpoints=endpoints("127.0.0.1:1", "127.0.0.1:1"))


WIDE = 1 << 18
"""Values of a tensor that is large beside what a request has around it."""


@pytest.fixture
def caller_bytes(monkeypatch):
    """A function: the bytes of all messages of the caller in a direction. Stages call from threads of their own."""
    sizes = {"sent": [], "received": []}
    call = Endpoint.call

    def counted(endpoint, method, request, timeout_s):
        response = call(endpoint, method, request, timeout_s)
        sizes["sent"].append(request.ByteSize())
        sizes["received"].append(response.ByteSize())
        return response

    monkeypatch.setattr(Endpoint, "call", counted)
    return lambda direction: sum(sizes[direction])


def wide(value):
    return {"t0": np.full(WIDE, value, np.float32)}


@contextmanager
def chain_of_servers(tmp_path, stages=3):
    """A server for each stage of a chain, its manifest and fleet, and the endpoints of its devices."""
    manifest, fleet = synthetic_chain(tmp_path, stages=stages), synthetic_fleet(stages)
    servers = [StageServer({f"stage_{n + 1}": Adder(n)}).start() for n in range(stages)]
    try:
        yield servers, (manifest, fleet, "remote"), {"endpoints": endpoints(*(server.address for server in servers))}
    finally:
        for server in servers:
            server.close()


def test_the_caller_sends_inputs_and_receives_results_and_nothing_between_stages(tmp_path, caller_bytes):
    with chain_of_servers(tmp_path) as (servers, plan, options):
        with open_pipeline(*plan, **options, warmup_items=0) as pipeline:
            results, measured = pipeline.map([wide(10 + n) for n in range(8)])
            pipeline.map([wide(1)])
        assert [float(result.require()["t3"][0]) for result in results] == [n + 13.0 for n in range(8)]
        assert measured.by_caller == ()
        for direction in ("sent", "received"):
            assert caller_bytes(direction) == pytest.approx(9 * 4 * WIDE, rel=0.01)
        assert [server.kept_bytes for server in servers] == [4 * WIDE, 4 * WIDE, 0]  # those of earlier items were released


@pytest.mark.parametrize("direct", [True, False])
def test_servers_of_other_makers_get_tensors_by_way_of_the_caller(tmp_path, caller_bytes, monkeypatch, direct):
    if direct:

        def refuse(self, request, context):
            raise Unsupported("?")

        monkeypatch.setattr(GrpcService, "_server_metadata", refuse)
    with (
        chain_of_servers(tmp_path) as (_, plan, options),
        open_pipeline(*plan, **options, direct=direct, warmup_items=0) as pipeline,
    ):
        results, measured = pipeline.map([wide(1)] * 4)
    assert [float(result.require()["t3"][0]) for result in results] == [4.0] * 4
    assert measured.by_caller == ((0, 1), (0, 2), (1, 2))
    assert caller_bytes("sent") == pytest.approx(3 * 4 * 4 * WIDE, rel=0.01)


def test_what_a_restarted_server_has_lost_is_made_again(tmp_path):
    with chain_of_servers(tmp_path) as (servers, plan, options):  # noqa: SIM117
        with open_pipeline(*plan, **options, warmup_items=0) as pipeline:
            (before,), _ = pipeline.map([item(1)])
            forget = servers[0]._kept.get
            servers[0]._kept.get = lambda key: forget("lost")
            (after,), measured = pipeline.map([item(2)])
    assert [float(result.require()["t3"][0]) for result in (before, after)] == [4.0, 5.0]
    assert after.attempts > 1
    assert measured.faults == ()


def test_a_server_that_cannot_reach_another_gets_its_tensors_from_the_caller(tmp_path):
    with chain_of_servers(tmp_path) as (servers, plan, options):
        asked = []

        def unreachable(kept, timeout_s):
            asked.append(kept)
            raise FetchError("not from there")

        servers[1]._others.fetch = unreachable
        with open_pipeline(*plan, **options, warmup_items=0) as pipeline:
            results, _ = pipeline.map([item(10 + n) for n in range(20)])
    assert [float(result.require()["t3"][0]) for result in results] == [n + 13.0 for n in range(20)]
    assert len(asked) <= 2  # one for each item that was under way; later ones are sent arrays


def test_a_kept_tensor_is_no_path_and_no_url(tmp_path):
    with chain_of_servers(tmp_path, stages=1) as (servers, *_):
        endpoint = Endpoint.of(servers[0].address, 0, "")
        for text in ("file:///etc/passwd", "host/key", "host:80/../x", "host:80/" + "a b"):
            request = chained_request(1, {}, ["t1"], ())
            request.model_name = "stage_1"
            request.inputs.add(name="t0").parameters.add(key="kept").value.string_param = text
            with pytest.raises(grpc.RpcError) as caught:
                endpoint.call("ModelInfer", request, 5.0)
            assert "expected a kept tensor as host:port/key" in caught.value.details()
        endpoint.channel.close()
