"""A fleet of nodes beside the same plan on emulated links and by way of the caller, what faults cost it, and 50 nodes.

    python benchmarks/fleet.py [--items 1000] [--repeats 3] [--quick] [--json FILE]

Hub and four nodes, each in a network namespace with a data folder of its own, have links of 20, 50, 100 Mbit/s and 1 Gbit/s;
the caller is at the fastest. Each model is deployed by one command. Every answer is compared with the whole model's, bit for
bit. `emulated` is the same plan on workers of this machine, with links by the kernel and TLS too; `by the caller` is `multiedge
serve` beside each node, with all tensors by way of the caller. Then faults happen while items run at a steady rate. All devices
share the processors of this machine, which predictions allow for. Needs root.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import multiedge as me
from benchmarks.models import path_of
from benchmarks.page import Benchmark
from benchmarks.record import Case, Figure, Measure, Record, Row, add_option
from benchmarks.tables import case, figure, spread, table
from multiedge.backends.contract import Session
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.errors import MultiedgeError, NetworkError, PipelineError
from multiedge.executors import open_pipeline
from multiedge.executors.flow.contract import Result
from multiedge.executors.flow.pipeline import Pipeline
from multiedge.executors.flow.scenarios import scenario
from multiedge.executors.workers.options import Emulation
from multiedge.fleet import Device, Fleet, Link
from multiedge.formats.devices import read_fleet
from multiedge.measurements import Measurements
from multiedge.metrics.prediction import SharedRun
from multiedge.network.client import HubClient
from multiedge.network.identity import HUB
from multiedge.onnx_io import random_inputs, read_runnable
from multiedge.onnx_io.manifest import read_profile
from multiedge.plan import Manifest
from multiedge.planning.synthetic import synthetic_graph, synthetic_profile
from multiedge.replanning.replanner import Replanner
from multiedge.run import expected_plan, plan_model
from multiedge.serving.hub.authority import identities_of_one_run
from multiedge.serving.sandbox import Sandbox

MODELS = ("vit_b16", "squeezenet")
FAULTS_ON = "squeezenet"
DEVICES = """devices:
- {{name: slow, bandwidth: 20Mbit/s, memory: 220MiB, speed: {speed}}}
- {{name: middle, bandwidth: 50Mbit/s, memory: 220MiB, speed: {speed}}}
- {{name: fast, bandwidth: 100Mbit/s, memory: 220MiB, speed: {speed}}}
- {{name: wired, bandwidth: 1Gbit/s, memory: 220MiB, speed: {speed}}}
source: wired
"""
CLI = (sys.executable, "-m", "multiedge.cli")
DISTINCT = 8
"""Different inputs, whose answers of the whole model are known."""
PORT = 8090
PACE_RUNS = 8
FLEET, EMULATED, BY_CALLER = "fleet", "emulated", "by the caller"
RATE_PER_S, AT_S, LASTS_S = 40.0, 2.0, 3.0
"""Items per second while faults happen; when each fault begins and how long it lasts."""
FAULT_ITEMS = 400
SHARE = 0.4
"""Of a processor that each device takes where all of them are to fit the processors of this machine."""
SLOW_FACTOR = 10.0
NULL_NODES, NODES_PER_PROCESS, NULL_S = 50, 10, 5.0
MOST_S = 60.0
NULL_HUB = "127.0.0.1:8499"


@dataclass(frozen=True)
class Deployed:
    """A model on the fleet: its plan's folder as a manifest, inputs with the answers of the whole model, and the seconds that
    the command took."""

    manifest: Manifest
    inputs: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    seconds: float
    planned_s: float
    whole: Session

    def pace(self) -> float:
        """How fast this machine is now, over when the model was profiled: times of the whole model alone."""
        times = []
        for feed in self.inputs[:PACE_RUNS]:
            begin = time.perf_counter()
            self.whole.run(feed)
            times.append(time.perf_counter() - begin)
        return self.planned_s / statistics.median(times)

    def items(self, count: int) -> list[dict[str, Any]]:
        return [self.inputs[number % len(self.inputs)] for number in range(count)]

    def is_right(self, result: Result, tolerance: float = 0.0) -> bool:
        """Whether an answer equals the whole model's, to the bit unless a tolerance is given: a new plan cuts elsewhere."""
        wanted = self.answers[result.item % len(self.answers)]
        return result.tensors is not None and all(
            np.array_equal(result.tensors[name], wanted[name])
            if not tolerance
            else np.allclose(result.tensors[name], wanted[name], rtol=tolerance, atol=tolerance)
            for name in wanted
        )


def deployed(sandbox: Sandbox, model: str, folder: Path, speed: float = 1.0) -> Deployed:
    """The model, planned for the nodes that are there, brought to them and loaded, by one command."""
    path, begin = path_of(model), time.monotonic()
    devices = folder / "devices.yaml"
    devices.write_text(DEVICES.format(speed=speed))
    parts = folder / model
    words = ["deploy", str(path), "--hub", sandbox.address, "--identity", str(sandbox.identity.folder), "-o", str(parts)]
    subprocess.run([*CLI, *words, "--name", model, "--devices", str(devices)], check=True, stdout=sys.stderr)
    seconds, graph = time.monotonic() - begin, me.read_graph(path)
    whole = OnnxRuntimeBackend().open(path, Device("whole"))
    inputs = [random_inputs(graph, seed) for seed in range(DISTINCT)]
    answers = [whole.run(feed) for feed in inputs]
    manifest = read_runnable(parts)
    profile = read_profile(manifest)
    if profile is None:
        raise PipelineError(f"{parts}: holds no profile")
    planned_s = profile.span_s("wired", 0, len(profile)) * speed
    return Deployed(manifest, inputs, answers, seconds, planned_s, whole)


# -- routes -------------------------------------------------------------------------------------------------------------


@contextmanager
def servers(sandbox: Sandbox, manifest: Manifest) -> Iterator[dict[str, str]]:
    """`multiedge serve` in the namespace of each device of the plan: the endpoints."""
    devices = dict.fromkeys(device for part in manifest.parts for device in part.devices)
    processes = []
    try:
        for device in devices:
            where = ["--device", device, "--host", sandbox.network.hosts[device], "--port", str(PORT)]
            command = [*sandbox.network.command(device), *CLI, "serve", manifest.directory, *where]
            processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        yield {device: f"{sandbox.network.hosts[device]}:{PORT}" for device in devices}
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


@contextmanager
def options_of(route: str, sandbox: Sandbox, manifest: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    """The executor of a route, and its options."""
    if route == FLEET:
        yield "fleet", {"hub": sandbox.address, "identity": str(sandbox.identity.folder)}
    elif route == EMULATED:
        devices = dict.fromkeys(device for part in manifest.parts for device in part.devices)
        with identities_of_one_run(devices) as identities:
            yield "processes", {"emulation": Emulation(namespaces=True), "identities": identities}
    else:
        with servers(sandbox, manifest) as endpoints:
            yield "remote", {"endpoints": endpoints, "direct": False, "connect_s": 60.0}


def route_rows(
    sandbox: Sandbox, model: str, run: Deployed, routes: Sequence[str], speed: float, items: int, repeats: int
) -> list[Row]:
    """Rates and predictions of the routes, which take turns, and what each sent; every answer is compared."""
    fleet, rows = fleet_of_bench(speed), []
    with ExitStack() as stack:
        turns = []
        for route in routes:
            key: Case = {"model": model, "route": route, "share, %": round(100 * speed), "items": items * repeats}
            try:
                executor, options = stack.enter_context(options_of(route, sandbox, run.manifest))
                opened = open_pipeline(run.manifest, fleet, executor, warmup_items=DISTINCT, **options)
                turns.append((key, Turns(stack.enter_context(opened), sandbox, run, fleet)))
            except MultiedgeError as error:
                rows.append(Row(key, failure=str(error)))
        for _ in range(repeats):
            for _, each in turns:
                each.take(items)
    of_fleet = next((each for key, each in turns if key["route"] == FLEET), None)
    return rows + [each.row(key, of_fleet, has_own_links=key["route"] == EMULATED) for key, each in turns]


@dataclass
class Turns:
    """The turns of one route."""

    pipeline: Pipeline
    sandbox: Sandbox
    run: Deployed
    fleet: Fleet
    wrong: int = 0
    rates: list[float] = field(default_factory=list)
    predictions: list[float] = field(default_factory=list)
    at_pace: list[float] = field(default_factory=list)
    sent: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take(self, items: int) -> None:
        pace = self.run.pace()
        before = self.sandbox.network.sent_bytes()
        results, measured = self.pipeline.map(self.run.items(items))
        self.sent.update({pair: nbytes - before[pair] for pair, nbytes in self.sandbox.network.sent_bytes().items()})
        self.wrong += sum(not self.run.is_right(result) for result in results)
        self.rates.append(len(results) / measured.wall_s)
        pace = math.sqrt(pace * self.run.pace())
        self.predictions.append(predicted(measured, self.run.manifest, self.fleet))
        self.at_pace.append(predicted(measured, self.run.manifest, self.fleet, pace))

    def row(self, key: Case, of_fleet: Turns | None, *, has_own_links: bool) -> Row:
        """The figures; bytes only of a route over the links of the sandbox. Rates are compared with those of the fleet turn by
        turn, since this machine's pace changes slowly."""
        figures = {
            "fps": Figure.of(self.rates),
            "predicted": Figure.of(self.predictions),
            "error": Figure.of(wanted / rate - 1.0 for wanted, rate in zip(self.predictions, self.rates, strict=True)),
            "error_at_pace": Figure.of(wanted / rate - 1.0 for wanted, rate in zip(self.at_pace, self.rates, strict=True)),
            "wrong": Figure(self.wrong),
        }
        if of_fleet is not None and of_fleet is not self:
            ratios = (ours / theirs for ours, theirs in zip(of_fleet.rates, self.rates, strict=True))
            figures["fleet_over_it"] = Figure.of(ratios)
        if has_own_links:
            return Row(key, figures)
        items = int(key["items"])
        of_caller = sum(nbytes for pair, nbytes in self.sent.items() if "caller" in pair)
        figures |= {"caller_bytes": Figure(of_caller / items), "network_bytes": Figure(self.sent.total() / items)}
        per_item = {f"{source} -> {target}": round(nbytes / items) for (source, target), nbytes in self.sent.items() if nbytes}
        return Row(key, figures, details={"bytes_per_item": per_item})


def predicted(measured: Measurements, manifest: Manifest, fleet: Fleet, pace: float = 1.0) -> float:
    """Items per second that the plan predicts on this route, with all devices on this machine, which is `pace` times as fast as
    when the model was profiled; NaN if they are not known."""
    cores = {
        "devices": {each.name: {"speed": each.speed, "threads": 1} for each in fleet.devices},
        "processors": psutil.cpu_count(),
    }
    shared = replace(measured, settings={"emulated": cores, **measured.settings})
    plan = expected_plan(manifest, fleet, measured.by_caller, str(measured.settings["transport"]))
    run = SharedRun.of(shared, plan) if plan else None
    if run is None:
        return float("nan")
    return replace(run, works=tuple(work.at_pace(pace) for work in run.works), caller_s=run.caller_s / pace).fps


def fleet_of_bench(speed: float = 1.0) -> Fleet:
    """The declared devices, each with this share of a processor."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(DEVICES.format(speed=speed))
        file.flush()
        return read_fleet(file.name)


# -- faults -------------------------------------------------------------------------------------------------------------

Act = Callable[[Sandbox, str, str], None]


def _nothing(sandbox: Sandbox, node: str, peer: str) -> None:
    pass


def _restart(sandbox: Sandbox, node: str, peer: str) -> None:
    sandbox.start(node)


def _cut(sandbox: Sandbox, node: str, peer: str) -> None:
    for end in (peer, "caller"):
        sandbox.network.drop(node, end)


def _mend(sandbox: Sandbox, node: str, peer: str) -> None:
    for end in (peer, "caller"):
        sandbox.network.deliver(node, end)
        sandbox.network.deliver(end, node)


def _cut_both(sandbox: Sandbox, node: str, peer: str) -> None:
    _cut(sandbox, node, peer)
    for end in (peer, "caller"):
        sandbox.network.drop(end, node)


def _slow(factor: float, sandbox: Sandbox, node: str, peer: str) -> None:
    link = sandbox.fleet.link(node, peer)
    for source, target in ((node, peer), (peer, node)):
        sandbox.network.change(source, target, Link(link.bandwidth_bytes_per_s / factor, link.latency_s))


FAULTS: Mapping[str, tuple[Act, Act]] = {
    "node killed, then rejoins": (lambda box, node, peer: box.kill(node), _restart),
    "node stopped": (lambda box, node, peer: box.stop(node), lambda box, node, peer: box.resume(node)),
    "cut one way": (_cut, _mend),
    "cut both ways": (_cut_both, _mend),
    "link slowed": (partial(_slow, SLOW_FACTOR), partial(_slow, 1.0)),
    "hub killed, then restarts": (lambda box, node, peer: box.kill(HUB), lambda box, node, peer: box.start(HUB)),
}
"""What happens to a node, of which `peer` is the next in the plan, and how it ends."""


def fault_row(name: str, sandbox: Sandbox, run: Deployed, items: int, repeats: int) -> Row:
    """What became of the items while a fault happened, and how long none was answered."""
    pauses, recoveries, lost, twice, wrong, moved = [], [], 0, 0, 0, 0
    fleet = fleet_of_bench()
    try:
        for _ in range(repeats):
            sandbox.wait_alive()
            results, measured, at_s = with_fault(name, sandbox, run, items, fleet)
            numbers = [result.item for result in results]
            lost += items - len(set(numbers)) + sum(result.tensors is None for result in results)
            twice += len(numbers) - len(set(numbers))
            moved += numbers != sorted(numbers)
            wrong += sum(result.tensors is not None and not run.is_right(result, 1e-4) for result in results)
            pauses.append(longest_pause_s(results, at_s))
            recoveries += [
                first.recovered_s - first.detected_s for first in measured.failures[:1] if first.recovered_s is not None
            ]
    except MultiedgeError as error:
        return Row({"fault": name}, failure=str(error))
    figures = {
        "pause_s": Figure.of(pauses),
        **({"recovery_s": Figure.of(recoveries)} if recoveries else {}),
        "lost": Figure(lost),
        "twice": Figure(twice),
        "wrong": Figure(wrong),
        "out_of_order": Figure(moved),
    }
    return Row({"fault": name, "items": items * repeats}, figures)


def with_fault(
    name: str, sandbox: Sandbox, run: Deployed, items: int, fleet: Fleet
) -> tuple[list[Result], Measurements, float]:
    """The results of a run at a steady rate with a fault in its middle, and when the fault began."""
    begin, end = FAULTS[name]
    node, peer = ends_of_a_hop(run.manifest)
    began = threading.Event()
    at: list[float] = []

    def harm() -> None:
        began.wait()
        time.sleep(AT_S)
        at.append(time.monotonic())
        begin(sandbox, node, peer)
        time.sleep(LASTS_S)
        end(sandbox, node, peer)

    with ExitStack() as stack:
        replan = stack.enter_context(Replanner(run.manifest, fleet))
        _, options = stack.enter_context(options_of(FLEET, sandbox, run.manifest))
        pipeline = stack.enter_context(open_pipeline(run.manifest, fleet, "fleet", replan=replan, **options))
        harmer = threading.Thread(target=harm)
        harmer.start()
        stack.callback(harmer.join)
        stack.callback(began.set)
        load = scenario("server", rate_per_s=RATE_PER_S)
        results, measured = pipeline.map(run.items(items), load, progress=lambda count: began.set())
    return results, measured, at[0]


def ends_of_a_hop(manifest: Manifest) -> tuple[str, str]:
    """A device that sends to another in the plan, and that one; the caller's end where there is one device only."""
    devices = [part.device for part in manifest.parts]
    return next(((a, b) for a, b in pairwise(devices) if a != b), (devices[0], devices[0]))


def longest_pause_s(results: Sequence[Result], from_s: float) -> float:
    """The longest time without an answer that begins after a moment, or in which it is."""
    done = sorted(result.done_s for result in results)
    return max((later - earlier for earlier, later in pairwise(done) if later > from_s), default=0.0)


# -- many nodes ---------------------------------------------------------------------------------------------------------


def _agents(numbers: range, address: str, folder: str, ready: Connection) -> None:
    """What a process with some of the null nodes runs, until it is ended."""
    from multiedge.serving.node.agent import Agent, NodeOptions
    from multiedge.serving.node.limits import Limits

    for number in numbers:
        name = f"null-{number:02}"
        limits = Limits.of(1 << 33, 1, 1.0)
        options = NodeOptions(
            name, address, Path(folder, name), None, limits, "127.0.0.1", 0, cache_bytes=1 << 20, probe_bytes=0
        )
        Agent(options).start()
    ready.send(True)
    threading.Event().wait()


def seconds_until(holds: Callable[[], bool], from_s: float) -> float:
    """The time from a moment until something holds; a hub that does not answer is asked again."""
    while time.monotonic() < from_s + MOST_S:
        with suppress(NetworkError):
            if holds():
                return time.monotonic() - from_s
        time.sleep(0.02)
    raise PipelineError(f"{NULL_NODES} nodes were not there within {MOST_S:.0f} s")


def null_hub(folder: Path) -> subprocess.Popen[bytes]:
    """A hub on loopback, which goes on where one in this folder was."""
    command = [*CLI, "hub", "run", "--data", str(folder / "hub"), "--listen", NULL_HUB]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def many_row(folder: Path) -> Row:
    """The registry with many nodes: how long until all are known, for their fleet and a plan, and what the hub takes."""

    spawn = multiprocessing.get_context("spawn")
    hub = null_hub(folder)
    hosts = []
    try:
        for first in range(0, NULL_NODES, NODES_PER_PROCESS):
            numbers, (ours, theirs) = range(first, first + NODES_PER_PROCESS), spawn.Pipe()
            agents = spawn.Process(target=_agents, args=(numbers, NULL_HUB, str(folder), theirs), daemon=True)
            agents.start()
            hosts.append((agents, ours))
        for _, ours in hosts:
            ours.poll(120.0)
        began = time.monotonic()
        with HubClient(NULL_HUB) as client:
            # Each measures its speed first, at the same time as all others.
            seconds_until(lambda: sum(node.flops_per_s is not None for node in client.nodes()) == NULL_NODES, began)
            hub.kill()
            hub.wait()
            hub, began = null_hub(folder), time.monotonic()
            seconds_until(lambda: bool(client.state()), began)
            known_s = seconds_until(lambda: len(client.nodes()) == NULL_NODES, time.monotonic())
            before, start = client.state(), time.monotonic()
            time.sleep(NULL_S)
            after, took = client.state(), time.monotonic() - start
            begin = time.monotonic()
            fleet = client.fleet()
            graph = synthetic_graph(NULL_NODES, seed=1)
            plan = plan_model(synthetic_profile(graph, fleet, seed=2), fleet)
            plan_s = time.monotonic() - begin
        figures = {
            "known_s": Figure(known_s),
            "plan_s": Figure(plan_s),
            "hub_cpu_share": Figure((after.cpu_s - before.cpu_s) / took),
            **({} if after.resident_bytes is None else {"hub_bytes": Figure(after.resident_bytes)}),
        }
        return Row({"nodes": NULL_NODES, "stages": len(plan.stages)}, figures)
    except MultiedgeError as error:
        return Row({"nodes": NULL_NODES}, failure=str(error))
    finally:
        for agents, _ in hosts:
            agents.terminate()
            agents.join(10)
        hub.terminate()
        hub.wait(10)


# -- all of it ----------------------------------------------------------------------------------------------------------


def measure(items: int, repeats: int, models: Sequence[str] = MODELS, faults: Sequence[str] = tuple(FAULTS)) -> list[Row]:
    """Rows of deployments, routes and faults, and of many nodes. Each model runs `items` items over each route."""
    rows = []
    with tempfile.TemporaryDirectory() as name, Sandbox(fleet_of_bench(SHARE), Path(name, "fleet"), say) as sandbox:
        for model in models:
            say(f"{model}: {FLEET} and {EMULATED} in turns, on {SHARE:.0%} of a processor each")
            run = deployed(sandbox, model, Path(name), SHARE)
            rows += route_rows(sandbox, model, run, (FLEET, EMULATED), SHARE, max(1, round(SHARE * items / repeats)), repeats)
    with tempfile.TemporaryDirectory() as name, Sandbox(fleet_of_bench(), Path(name, "fleet"), say) as sandbox:
        runs = {model: deployed(sandbox, model, Path(name)) for model in models}
        for model, run in runs.items():
            stages = ", ".join(part.device for part in run.manifest.parts)
            rows.append(Row({"model": model, "deployed on": stages}, {"deploy_s": Figure(run.seconds)}))
            say(f"{model}: {FLEET}, {EMULATED} and {BY_CALLER} in turns")
            rows += route_rows(sandbox, model, run, (FLEET, EMULATED, BY_CALLER), 1.0, max(1, items // repeats), repeats)
        for fault in faults:
            say(fault)
            rows.append(fault_row(fault, sandbox, runs.get(FAULTS_ON, run), FAULT_ITEMS, repeats))
    with tempfile.TemporaryDirectory() as name:
        say(f"{NULL_NODES} nodes")
        rows.append(many_row(Path(name)))
    return rows


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def section(record: Record) -> str:
    """What the record says, and its tables."""
    rows = [row for row in record.rows if not row.failure]
    routes = [row for row in rows if "route" in row.case]
    faults = [row for row in rows if "fault" in row.case]
    texts = []
    if routes:
        wrong = sum(row.median("wrong") or 0 for row in routes)
        columns = [
            case("model"),
            case("route"),
            case("share, %", "share"),
            spread("fps", "items/s", ".3g"),
            figure("predicted", "predicted", ".2f"),
            figure("error", "error", "+.1f", 100),
            figure("error_at_pace", "paced", "+.1f", 100),
            figure("caller_bytes", "caller kB", ",.0f", 1e-3),
            figure("network_bytes", "all kB", ",.0f", 1e-3),
        ]
        texts.append(
            f"Of all answers {wrong:.0f} differ from the whole model's, bit for bit. `share` is what each device takes of a"
            " processor: with 100 % two cores are full. `error` is that of the prediction, in percent; `paced` is the same at"
            " the pace of this machine, which the whole model alone tells before and after each turn."
        )
        texts.append(f"The aim is 0.95 to 1.05 times the rate on emulated links.{_beside(routes)}")
        texts.append(table(columns, routes))
        texts.append(f"{_deployments(rows)} Bytes are those of an item with all headers, counted at the interfaces.")
    if faults:
        names = ("lost", "twice", "out_of_order", "wrong")
        columns = [
            case("fault"),
            case("items"),
            *(figure(name, name.replace("_", " "), ".0f") for name in names),
            figure("pause_s", "pause, s", ".2f"),
            figure("recovery_s", "recovery, s", ".2f"),
        ]
        texts.append(
            f"Faults while {RATE_PER_S:g} items per second are due. A pause is the longest time without an answer, from the"
            " fault on; recovery is from detection to the next answer."
        )
        texts.append(table(columns, faults))
    texts += [_many(row) for row in rows if "nodes" in row.case]
    return "\n\n".join(texts)


def _deployments(rows: Sequence[Row]) -> str:
    done = [row for row in rows if "deployed on" in row.case]
    return " ".join(
        f"{row.case['model']} was deployed in {row.median('deploy_s'):.1f} s on {row.case['deployed on']}." for row in done
    )


def _beside(routes: Sequence[Row]) -> str:
    """The rate of the fleet over that of the other routes, in a sentence for each."""
    texts = []
    for row in routes:
        ratio = row.figures.get("fleet_over_it")
        if ratio:
            spread = "" if ratio.low is None else f" ({ratio.low:.2f} to {ratio.high:.2f})"
            texts.append(
                f" {row.case['model']} at {row.case['share, %']} %: {ratio.median:.2f}{spread} times the rate of the route"
                f" '{row.case['route']}', turn by turn."
            )
    return "".join(texts)


def _many(row: Row) -> str:
    held, known_s, plan_s = (row.median(name) for name in ("hub_bytes", "known_s", "plan_s"))
    memory = "" if held is None else f" and {held / 2**20:.0f} MiB"
    return (
        f"{row.case['nodes']} nodes: a hub that begins anew knew all after {known_s:.2f} s; their fleet and a plan"
        f" of {row.case['stages']} stages took {plan_s:.2f} s (the aim for both: 2 s). With their heartbeats the hub"
        f" takes {row.median('hub_cpu_share'):.1%} of a processor{memory}."
    )


BENCHMARK = Benchmark(
    "fleet",
    "A fleet of nodes: streams, faults and many nodes",
    {
        "deploy_s": Measure("s", "the command that plans, brings and loads a model"),
        "fps": Measure("1/s", "items per second"),
        "predicted": Measure("1/s", "what the plan predicts on this route, with all devices on the processors of this machine"),
        "error": Measure("1", "predicted over measured items per second, less 1"),
        "error_at_pace": Measure(
            "1", "the same at the pace of this machine, which the whole model alone tells before and after"
        ),
        "fleet_over_it": Measure("1", "items per second of the fleet over those of this route in the same turn"),
        "wrong": Measure("1", "answers that differ from the whole model's"),
        "caller_bytes": Measure("B", "from and to the caller per item, with all headers, by the counters of interfaces"),
        "network_bytes": Measure("B", "on all links per item"),
        "pause_s": Measure("s", "longest time without an answer after the fault began"),
        "recovery_s": Measure("s", "from the detection of a fault to the next answer"),
        "lost": Measure("1", "items without an answer"),
        "twice": Measure("1", "items with two answers"),
        "out_of_order": Measure("1", "runs whose answers were not in the order of the items"),
        "known_s": Measure("s", "until a hub that begins anew knew all nodes"),
        "plan_s": Measure("s", "from asking the hub to the plan"),
        "hub_cpu_share": Measure("1", "processor time of the hub over time"),
        "hub_bytes": Measure("B", "resident memory of the hub"),
    },
    section,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1000, help="of each model over the fleet (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="60 items of each model, once")
    parser.add_argument(
        "--models", nargs="+", default=list(MODELS), help="functions of tests/builders/models.py, or ONNX files"
    )
    parser.add_argument("--faults", nargs="*", choices=[*FAULTS, []], default=list(FAULTS), help="which ones (default: all)")
    add_option(parser)
    args = parser.parse_args()
    items, repeats = (60, 1) if args.quick else (args.items, args.repeats)
    settings = {"items": items, "repeats": repeats}
    return BENCHMARK.finish(settings, lambda: measure(items, repeats, args.models, args.faults), args.json)


if __name__ == "__main__":
    sys.exit(main())
