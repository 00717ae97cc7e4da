"""Pipelines over nodes, each a process of its own on loopback: whatever happens to them, no item is lost or answered twice."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.errors import PipelineError
from multiedge.executors import Pipeline, open_pipeline
from multiedge.executors.fleet import FleetExecutor, node_deadlines
from multiedge.executors.flow.contract import Result
from multiedge.executors.workers.node_messages import SILENT_S
from multiedge.fleet import CALLER_NAME, Device, Encoding, Fleet, Link
from multiedge.onnx_io import read_graph, write_parts
from multiedge.plan import CALLER, Manifest, Stage
from multiedge.run import plan_by_hand, profile_model
from multiedge.serving.hub.authority import Authority
from multiedge.trace import DeviceEvent, Trace
from tests.builders.nodes import ROOT, RunningNode, end_node, running_nodes, start_node
from tests.builders.onnx_models import layers, saved
from tests.builders.pipelines import small_plan, vectors

SLOW = pytest.mark.slow
PATIENT = replace(node_deadlines(), heartbeat_s=20.0, link_s=20.0)
ITEMS = 1000
SOON_S = 10.0
Nodes = Mapping[str, RunningNode]


@dataclass(frozen=True)
class Bench:
    """A plan, and nodes that hold it."""

    folder: Path
    manifest: Manifest
    fleet: Fleet
    nodes: Nodes

    def open(self, **options: Any) -> Pipeline:
        """Without `deadlines`, these are for a busy machine: only what is surely lost counts as lost."""
        options = {"deadlines": PATIENT, "silence_s": PATIENT.heartbeat_s, **options}
        return open_pipeline(self.manifest, self.fleet, "fleet", nodes=addresses(self.nodes), **options)

    def require_right(self, results: Sequence[Result], inputs: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Each item was answered once, in order, and to the bit as the whole model answers it."""
        whole = OnnxRuntimeBackend().open(self.folder / "small.onnx")
        assert [result.item for result in results] == list(range(len(inputs)))
        for result, tensors in zip(results, inputs, strict=True):
            np.testing.assert_array_equal(result.require()["y"], whole.run(tensors)["y"])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Three stages on four nodes, which outlive the workers that tests end."""
    folder = tmp_path_factory.mktemp("fleet")
    manifest, fleet = small_plan(folder)
    with running_nodes(fleet.names, [Path(manifest.directory)]) as nodes:
        yield Bench(folder, manifest, fleet, nodes)
        assert not [worker for node in nodes.values() for worker in node.workers], "workers were left behind"


def kill_worker(node: RunningNode) -> None:
    for worker in node.workers:
        worker.kill()


def stop_worker(node: RunningNode) -> None:
    for worker in node.workers:
        worker.suspend()


def kill_node(node: RunningNode) -> None:
    node.signal(signal.SIGKILL)


def stop_node(node: RunningNode) -> None:
    node.signal(signal.SIGSTOP)


def stop_both(node: RunningNode) -> None:
    stop_worker(node)
    stop_node(node)


def addresses(nodes: Nodes) -> dict[str, str]:
    return {name: node.address for name, node in nodes.items()}


def harming(
    executor: FleetExecutor, nodes: Nodes, harm: Callable[[RunningNode], None], seed: int
) -> Iterator[dict[str, np.ndarray]]:
    """Inputs, while one of the nodes in use is harmed after a third of them."""
    for number, tensors in enumerate(vectors(ITEMS)):
        if number == ITEMS // 3:
            used = [name for name in executor.routes.devices if name in executor.pool.workers]
            harm(nodes[random.Random(seed).choice(used)])
        yield tensors


def survive(bench: Bench, harm: Callable[[RunningNode], None]) -> str:
    """Runs items while a node is harmed, and says how long that took."""
    with bench.open(deadlines=node_deadlines(), silence_s=0.7) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, FleetExecutor)
        results, measured = pipeline.map(harming(executor, bench.nodes, harm, seed=0))
    bench.require_right(results, vectors(ITEMS))
    faults = [fault for fault in measured.faults if fault.kind != "return"]
    if not faults:  # the worker of an agent that stands still goes on, and may be done before that is noticed
        assert harm is stop_node
        return f"{harm.__name__}: all items were answered before it was noticed"
    fault = faults[0]
    assert fault.recovered_s is not None
    took_s = fault.recovered_s - fault.detected_s
    gap_s = max(np.diff([result.done_s for result in results]))
    return f"{harm.__name__}: {fault.kind}, recovered in {took_s:.3f} s, longest gap {gap_s:.3f} s"


@pytest.mark.parametrize("harm", [kill_worker, pytest.param(stop_worker, marks=SLOW)])
def test_items_survive_whatever_happens_to_a_worker(
    bench: Bench, harm: Callable[[RunningNode], None], capsys: pytest.CaptureFixture[str]
) -> None:
    line = survive(bench, harm)
    with capsys.disabled():
        print(f"\n{line}")


@pytest.mark.parametrize("harm", [kill_node, pytest.param(stop_node, marks=SLOW), pytest.param(stop_both, marks=SLOW)])
def test_items_survive_whatever_happens_to_a_node(
    bench: Bench, harm: Callable[[RunningNode], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with running_nodes(bench.fleet.names, [Path(bench.manifest.directory)]) as nodes:
        line = survive(replace(bench, nodes=nodes), harm)
    with capsys.disabled():
        print(f"\n{line}")


@pytest.mark.slow
def test_a_node_that_begins_anew_takes_part_again(bench: Bench) -> None:
    folders = [Path(bench.manifest.directory)]
    with running_nodes(["d1"], folders) as own:
        nodes = {**bench.nodes, **own}
        with replace(bench, nodes=nodes).open() as pipeline:
            pipeline.map(vectors(20))
            lost = own["d1"]
            end_node(lost)
            own["d1"] = start_node("d1", folders, None, lost.port)
            until = time.monotonic() + SOON_S
            while time.monotonic() < until:
                results, measured = pipeline.map(vectors(100))
                assert not any(result.error for result in results)
                if any(event.kind == "compute" and event.device == "d1" for event in measured.events):
                    return
    raise AssertionError("d1 never computed again")


def sent_bytes(port: int) -> int:
    """Bytes that were sent over the open connections to a port, as the kernel counts them."""
    lines = subprocess.run(["ss", "-tinH", f"dport = :{port}"], capture_output=True, text=True, check=True).stdout
    return sum(map(int, re.findall(r"bytes_sent:(\d+)", lines)))


@pytest.mark.skipif(shutil.which("ss") is None, reason="needs `ss` of iproute2")
def test_every_link_carries_its_tensors_and_the_callers_inputs_and_results_alone(bench: Bench) -> None:
    items, overhead_bytes, manifest = 400, 800, bench.manifest
    with bench.open(record_events=False, warmup_items=0) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, FleetExecutor)
        results, _ = pipeline.map(vectors(items))
        sent = {name: sent_bytes(peer.port) for name, peer in executor.addresses.items()}
    assert not any(result.error for result in results)
    places = {CALLER: CALLER_NAME, **{part.stage: part.device for part in manifest.parts}}
    for name, nbytes in sent.items():
        due = [items * (move.nbytes or 0) for move in manifest.transfers if places[move.target] == name]
        assert sum(due) <= nbytes <= sum(due) + items * len(due) * overhead_bytes, name


@pytest.mark.skipif(shutil.which("ss") is None, reason="needs `ss` of iproute2")
def test_a_float16_link_carries_half_the_bytes(tmp_path: Path) -> None:
    width, items, overhead_bytes = 2048, 100, 800
    link = Link(1e9, 0.0, encoding=Encoding.FLOAT16)
    fleet = Fleet((Device("d0", flops_per_s=1e9), Device("d1", flops_per_s=1e9)), {("d0", "d1"): link})
    graph = read_graph(saved(layers(2, width, activation="Tanh", name="wide"), tmp_path / "wide.onnx"))
    middle = len(graph.nodes) // 2
    stages = [Stage.span("d0", 0, middle), Stage.span("d1", middle, len(graph.nodes))]
    manifest = write_parts(graph, plan_by_hand(profile_model(graph, fleet), fleet, stages), tmp_path / "parts")
    inputs = [{"x": np.random.default_rng(n).normal(size=(1, width)).astype(np.float32)} for n in range(items)]
    with (
        running_nodes(fleet.names, [tmp_path / "parts"]) as nodes,
        Bench(tmp_path, manifest, fleet, nodes).open(warmup_items=0) as pipeline,
    ):
        executor = pipeline.executor
        assert isinstance(executor, FleetExecutor)
        results, measured = pipeline.map(inputs)
        between = sent_bytes(executor.addresses["d1"].port)
    due = items * width * 2
    assert due <= between <= due + items * overhead_bytes
    assert {event.nbytes for event in measured.events if (event.kind, event.peer) == ("transfer", "d1")} == {width * 2}
    whole = OnnxRuntimeBackend().open(tmp_path / "wide.onnx")
    for result, tensors in zip(results, inputs, strict=True):
        y = result.require()["y"]
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, whole.run(tensors)["y"], atol=2e-3)


@pytest.mark.timing
def test_clocks_of_machines_may_differ(bench: Bench) -> None:
    """Each node is in a time namespace of its own, hours apart: times in results are on the caller's clock."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("time namespaces need root and `unshare`")
    apart = {name: ("unshare", "--time", "--monotonic", str(10_000 * n)) for n, name in enumerate(bench.fleet.names, 1)}
    with (
        running_nodes(bench.fleet.names, [Path(bench.manifest.directory)], prefixes=apart) as nodes,
        replace(bench, nodes=nodes).open() as pipeline,
    ):
        pipeline.map(vectors(20))
        results, measured = pipeline.map(vectors(200))
    assert not measured.faults
    within = [(event.start_s, event.stop_s) for event in measured.events if event.kind != "load"]
    begin_s, end_s = min(result.issued_s for result in results), max(result.done_s for result in results)
    slack_s = 0.02
    assert min(start for start, _ in within) >= -slack_s
    assert max(stop for _, stop in within) <= end_s - begin_s + slack_s
    assert all(start <= stop for start, stop in within)
    by_item = [[event for event in measured.events if event.item == n and event.kind == "compute"] for n in range(200)]
    later = [b.start_s - a.stop_s for events in by_item for a, b in pairwise(events)]
    assert statistics.median(later) > 0


def test_a_caller_that_is_killed_leaves_no_worker_behind(bench: Bench) -> None:
    given = ",".join(f"{name}={address}" for name, address in addresses(bench.nodes).items())
    command = [sys.executable, "-m", "tests.builders.nodes", "run", bench.manifest.directory, given]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "running\n"
        workers = [worker for node in bench.nodes.values() for worker in node.workers]
        assert len(workers) == 3
        caller.kill()
        _, alive = psutil.wait_procs(workers, timeout=SILENT_S)
    assert not alive
    assert all(node.process.poll() is None for node in bench.nodes.values())


def test_traces_and_micro_batches_work_on_nodes(bench: Bench) -> None:
    leave, slow = DeviceEvent(0.1, "d1", "leave"), DeviceEvent(0.3, "d0", "speed", 0.5)
    trace = Trace((leave, slow, DeviceEvent(0.6, "d1", "return")))
    with bench.open(trace=trace, micro_batch=4) as pipeline:
        results, measured = pipeline.map(slowly(vectors(300)))
    bench.require_right(results, vectors(300))
    assert [fault.kind for fault in measured.faults][:1] == ["leave"]


def slowly(items: list[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    for item in items:
        time.sleep(0.004)
        yield item


def test_a_node_of_another_name_is_refused(bench: Bench) -> None:
    nodes = {**bench.nodes, "d0": bench.nodes["d3"]}
    with pytest.raises(PipelineError, match="was refused: this node is 'd3', not 'd0'"):
        replace(bench, nodes=nodes).open()


def test_items_run_over_mutual_tls(bench: Bench, tmp_path: Path) -> None:
    anna = certificates(tmp_path, bench.fleet)
    folders = {name: tmp_path / name for name in bench.fleet.names}
    with (
        running_nodes(bench.fleet.names, [Path(bench.manifest.directory)], folders) as nodes,
        replace(bench, nodes=nodes).open(identity=anna) as pipeline,
    ):
        results, measured = pipeline.map(vectors(50))
    assert measured.settings["tls"] is True
    bench.require_right(results, vectors(50))


def certificates(folder: Path, fleet: Fleet) -> str:
    """Certificates for the nodes, in folders of their names, and for a caller, whose folder is returned."""
    authority = Authority.create(folder / "hub")
    for name in fleet.names:
        authority.issue(folder / name, f"node:{name}")
    return str(authority.issue(folder / "anna", "client:anna").folder)
