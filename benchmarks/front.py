"""The front end while the fleet behind it fails, with its offload switch, and over branches.

    python benchmarks/front.py [--requests 250] [--toggles 100] [--seed 0] [--json FILE]

Hub and nodes are each in a network namespace. `faults`: two clients send requests at random times to the front end at the hub,
while nodes are killed, stopped, cut off and slowed at random. A client whose connection fails asks again with the same id. In
the end every id is asked for once more: the stored answer must come. `switch`: a client on a slow device uses the front end of
its node; the switch is turned while it sends, then the counters of the device's interfaces are read with the switch off.
`branches`: a row of the plan table sends one branch of a model to another node. `hung`: all nodes of a row stand still.
Answers are compared with the whole model's. Needs root.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import multiedge as me
from benchmarks.front_client import Job, Outcome
from benchmarks.models import path_of
from benchmarks.page import Benchmark
from benchmarks.record import Figure, Measure, Record, Row, add_option
from benchmarks.tables import case, figure, table
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.errors import MultiedgeError, PipelineError
from multiedge.fleet import Device, Fleet, Link
from multiedge.metrics.percentiles import percentile
from multiedge.network.identity import HUB
from multiedge.onnx_io import random_inputs
from multiedge.serving.sandbox import Sandbox

EXO_TIMEOUT_S = 30.0
"""What exo documents as the time after which a request whose node is gone fails."""
MODEL = "squeezenet"
ROWS = "fastest,quickest,local,fallback,branches"
"""Plans that compute what the whole model does, to the tolerance of float32."""
CLI = (sys.executable, "-m", "multiedge.cli")
DISTINCT = 8
PORT = 9000
NODES, RATE_MBIT_PER_S = 4, 1000.0
DEVICE, DEVICE_SHARE = "node-1", 0.25
"""The device with the switch, and its share of a processor's time."""
KINDS = ("kill", "stop", "cut", "slow")
CLIENTS = ("anna", "ben")
FIRST_FAULT_S, GAP_S, LASTS_S = 3.0, 3.0, (1.0, 4.0)
SLOW_BYTES_PER_S = 250_000.0
READY_S = 120.0
PARKED_S = 4.0
"""Until a switch that is off has closed everything, with what the kernel still sends."""
RATE_PER_S = 8.0


# -- fleet and clients --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """A deployed model, and the file with inputs and answers for clients."""

    model: str
    inputs: Path


def prepared(path: Path, name: str, folder: Path) -> Work:
    """Inputs with the whole model's answers."""
    graph, whole = me.read_graph(path), OnnxRuntimeBackend().open(path, Device("whole"))
    feeds = [random_inputs(graph, seed) for seed in range(DISTINCT)]
    (given,), (made,) = graph.inputs, graph.outputs
    arrays = {f"x{n}": feed[given] for n, feed in enumerate(feeds)} | {f"y{n}": whole.run(f)[made] for n, f in enumerate(feeds)}
    whole.close()
    file = folder / f"{name}.npz"
    np.savez(file, input=np.array(given), output=np.array(made), **arrays)
    return Work(name, file)


def deploy(sandbox: Sandbox, path: Path, name: str, *words: str) -> None:
    """Deploys a plan table."""
    where = ("--hub", sandbox.address, "--identity", str(sandbox.identity.folder))
    subprocess.run(
        [*CLI, "deploy", str(path), "--name", name, "--table", "--rows", ROWS, *words, *where], check=True, stdout=sys.stderr
    )


def serve(sandbox: Sandbox, member: str, host: str, *words: str) -> str:
    """Starts a hub or node again with a front end; the address once it serves."""
    sandbox.kill(member)
    known = sandbox.members[member]
    known.command = (*known.command, "--serve-http", f"{host}:{PORT}", *words)
    sandbox.start(member)
    sandbox.wait_alive()
    return f"{host}:{PORT}"


def clients(sandbox: Sandbox, jobs: Sequence[Job], at: str | None = None) -> list[Outcome]:
    """Runs jobs at the same time, each in a process, in the namespace of a member or in that of the caller."""
    prefix = sandbox.network.command(at) if at else ()
    command = [*prefix, sys.executable, str(Path(__file__).with_name("front_client.py"))]
    outcomes: list[Outcome] = []
    with ExitStack() as stack:
        running = []
        for job in jobs:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            running.append(stack.enter_context(process))
            assert process.stdin is not None
            json.dump(asdict(job), process.stdin)
            process.stdin.close()
        for process in running:
            assert process.stdout is not None
            text = process.stdout.read()
            if process.wait():
                raise PipelineError(f"a client ended with {process.returncode}")
            outcomes += [Outcome(**each) for each in json.loads(text)]
    return outcomes


def await_answers(sandbox: Sandbox, job: Job, at: str | None = None) -> None:
    """Returns once a request is answered."""
    (outcome,) = clients(sandbox, [replace(job, name="first", requests=1, patience_s=READY_S)], at)
    if not outcome.is_right:
        raise PipelineError(f"the front end did not answer: {outcome.error or 'a wrong answer'}")


@contextmanager
def fleet(nodes: int) -> Iterator[tuple[Sandbox, Path]]:
    devices = tuple(Device(f"node-{n}", bandwidth_bytes_per_s=RATE_MBIT_PER_S * 1e6 / 8) for n in range(1, nodes + 1))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="front-")))
        yield stack.enter_context(Sandbox(Fleet(devices, name="front"), folder)), folder


# -- faults -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What happens to a node, from when to when (CLOCK_MONOTONIC)."""

    kind: str
    node: str
    begin_s: float
    end_s: float


class Harm:
    """Faults at random, one at a time, until `stop`; then everything is mended."""

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        self._sandbox, self._random = sandbox, random.Random(seed)
        self._stopped = threading.Event()
        self.faults: list[Fault] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Harm:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        wait_s = FIRST_FAULT_S
        while not self._stopped.wait(wait_s):
            # Each kind in turn, so that a short run has all of them; the node and the times are random.
            kind = KINDS[len(self.faults) % len(KINDS)]
            node, lasts_s = self._random.choice(self._sandbox.fleet.names), self._random.uniform(*LASTS_S)
            begin_s = time.monotonic()
            self._begin(kind, node)
            self._stopped.wait(lasts_s)
            self._end(kind, node)
            self.faults.append(Fault(kind, node, begin_s, time.monotonic()))
            wait_s = self._random.expovariate(1 / GAP_S)

    def _begin(self, kind: str, node: str) -> None:
        if kind == "kill":
            self._sandbox.kill(node)
        elif kind == "stop":
            self._sandbox.stop(node)
        elif kind == "cut":
            for end in self._others(node):
                self._sandbox.network.drop(node, end)
                self._sandbox.network.drop(end, node)
        else:
            self._set_links(node, SLOW_BYTES_PER_S)

    def _end(self, kind: str, node: str) -> None:
        if kind == "kill":
            self._sandbox.start(node)
        elif kind == "stop":
            self._sandbox.resume(node)
        elif kind == "cut":
            for end in self._others(node):
                self._sandbox.network.deliver(node, end)
                self._sandbox.network.deliver(end, node)
        else:
            self._set_links(node, RATE_MBIT_PER_S * 1e6 / 8)

    def _others(self, node: str) -> list[str]:
        return [end for end in (*self._sandbox.fleet.names, HUB) if end != node]

    def _set_links(self, node: str, bytes_per_s: float) -> None:
        for end in self._others(node):
            for source, target in ((node, end), (end, node)):
                self._sandbox.network.change(source, target, Link(bytes_per_s))


def faults_row(requests: int, seed: int) -> Row:
    """Two clients while nodes fail."""
    with fleet(NODES) as (sandbox, folder):
        path = path_of(MODEL)
        work = prepared(path, MODEL, folder)
        deploy(sandbox, path, MODEL)
        address = serve(sandbox, HUB, sandbox.network.hosts[HUB])
        job = Job(address, work.model, str(work.inputs), identity=str(sandbox.identity.folder), rate_per_s=RATE_PER_S)
        await_answers(sandbox, job)
        jobs = [replace(job, name=name, requests=requests, seed=seed + n) for n, name in enumerate(CLIENTS)]
        with Harm(sandbox, seed) as harm:
            outcomes = clients(sandbox, jobs)
        again = clients(sandbox, [replace(each, rate_per_s=200.0) for each in jobs])
    hit = [each.done_s - each.issued_s for each in outcomes if any(_meets(each, fault) for fault in harm.faults)]
    free = [each.done_s - each.issued_s for each in outcomes if not any(_meets(each, fault) for fault in harm.faults)]
    figures = {
        **counts(outcomes),
        **stored(again),
        "faults": Figure(len(harm.faults)),
        "hit": Figure(len(hit)),
        **({"hit_p99_s": Figure(percentile(hit, 0.99)), "hit_p50_s": Figure(percentile(hit, 0.5))} if hit else {}),
        **({"free_p50_s": Figure(percentile(free, 0.5)), "free_p99_s": Figure(percentile(free, 0.99))} if free else {}),
    }
    details = {"faults": [asdict(each) for each in harm.faults], "rows": _shares(outcomes)}
    return Row({"case": "faults", "requests": len(outcomes)}, figures, details=details)


def counts(outcomes: Sequence[Outcome]) -> dict[str, Figure]:
    """What must be zero, and how often was tried."""
    return {
        "lost": Figure(sum(bool(each.error) for each in outcomes)),
        "twice": Figure(len(outcomes) - len({each.id for each in outcomes})),
        "wrong": Figure(sum(not each.is_right and not each.error for each in outcomes)),
        "attempts": Figure(max(each.attempts for each in outcomes)),
        "tries": Figure(max(each.tries for each in outcomes)),
    }


def stored(again: Sequence[Outcome]) -> dict[str, Figure]:
    """What came when all ids were asked for again."""
    return {
        "computed_again": Figure(sum(not each.is_stored for each in again)),
        "differing": Figure(sum(not each.is_right for each in again)),
    }


def _meets(outcome: Outcome, fault: Fault) -> bool:
    """Whether a request waited while the fault lasted."""
    return outcome.issued_s < fault.end_s and outcome.done_s > fault.begin_s


def _shares(outcomes: Sequence[Outcome]) -> dict[str, int]:
    rows = [each.row for each in outcomes]
    return {row: rows.count(row) for row in sorted(set(rows))}


# -- a row that hangs ---------------------------------------------------------------------------------------------------


def hung_rows(seed: int) -> list[Row]:
    """A request while a node stands still, each in turn; and requests while the front end itself is killed and starts again."""
    with fleet(3) as (sandbox, folder):
        path = path_of(MODEL)
        work = prepared(path, MODEL, folder)
        deploy(sandbox, path, MODEL)
        address = serve(sandbox, HUB, sandbox.network.hosts[HUB])
        job = Job(address, work.model, str(work.inputs), identity=str(sandbox.identity.folder), seed=seed)
        await_answers(sandbox, job)
        before = clients(sandbox, [replace(job, name="before", requests=30)])
        latencies = []
        for node in sandbox.fleet.names:
            sandbox.stop(node)
            latencies += clients(sandbox, [replace(job, name=f"while-{node}", requests=1)])
            sandbox.resume(node)
            time.sleep(3.0)
        restarted = replace(job, name="restarted", requests=60)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(clients, sandbox, [restarted])
            time.sleep(FIRST_FAULT_S)
            # Here and not in another thread: a member of the sandbox ends with the thread that started it.
            sandbox.kill(HUB)
            sandbox.start(HUB)
            over = asked.result()
        again = clients(sandbox, [replace(restarted, rate_per_s=200.0)])
    seconds = [each.done_s - each.issued_s for each in latencies]
    figures = {
        **counts([*before, *latencies]),
        "faults": Figure(len(latencies)),
        "hit": Figure(len(latencies)),
        "free_p50_s": Figure(percentile([each.done_s - each.issued_s for each in before], 0.5)),
        "hit_p50_s": Figure(percentile(seconds, 0.5)),
        "hit_p99_s": Figure(max(seconds)),
    }
    waits = [each.done_s - each.issued_s for each in over]
    restart = {
        **counts(over),
        **stored(again),
        "faults": Figure(1),
        "hit": Figure(sum(each.tries > 1 for each in over)),
        "hit_p50_s": Figure(percentile(waits, 0.5)),
        "hit_p99_s": Figure(percentile(waits, 0.99)),
    }
    return [
        Row({"case": "nodes hang in turn", "requests": len(before) + len(latencies)}, figures),
        Row({"case": "front end restarted", "requests": len(over)}, restart),
    ]


# -- the switch ---------------------------------------------------------------------------------------------------------


def switch_rows(toggles: int, seed: int) -> list[Row]:
    """A client on a slow device, whose switch is turned while it sends."""
    with fleet(3) as (sandbox, folder):
        path = path_of(MODEL)
        work = prepared(path, MODEL, folder)
        devices = folder / "devices.yaml"
        lines = [f"- {{name: {name}, speed: {DEVICE_SHARE if name == DEVICE else 1.0}}}" for name in sandbox.fleet.names]
        devices.write_text("\n".join(["devices:", *lines, f"source: {DEVICE}", ""]))
        member = sandbox.members[DEVICE]
        member.command = (*member.command, "--cpu-share", str(DEVICE_SHARE))
        address = serve(sandbox, DEVICE, "127.0.0.1", "--offload", "request", "--identity", str(sandbox.identity.folder))
        deploy(sandbox, path, MODEL, "--devices", str(devices), "--source", DEVICE)
        job = Job(address, work.model, str(work.inputs), rate_per_s=RATE_PER_S, seed=seed)
        on, off = replace(job, parameters={"offload": True}), replace(job, parameters={"offload": False})
        await_answers(sandbox, off, DEVICE)
        local = clients(sandbox, [replace(off, name="off", requests=30)], DEVICE)
        await_answers(sandbox, replace(on, parameters={"offload": True, "otherwise": "nearest"}), DEVICE)
        time.sleep(PARKED_S)
        clients(sandbox, [replace(on, name="warm", requests=10)], DEVICE)
        remote = clients(sandbox, [replace(on, name="on", requests=30)], DEVICE)
        turned = clients(sandbox, [replace(job, name="turned", requests=2 * (toggles + 1), toggle_each=2)], DEVICE)
        clients(sandbox, [replace(off, name="settle", requests=1)], DEVICE)
        time.sleep(PARKED_S)
        before = sandbox.network.sent_bytes()
        quiet = clients(sandbox, [replace(off, name="quiet", requests=30)], DEVICE)
        after = sandbox.network.sent_bytes()
        back = clients(sandbox, [replace(on, name="back", requests=40)], DEVICE)
    left = sum(nbytes - before[pair] for pair, nbytes in after.items() if pair[0] == DEVICE)
    rows = [_switch_row("off", local), _switch_row("on", remote), _switch_row(f"turned {toggles} times", turned)]
    quiet_row = _switch_row("off, counters read", quiet)
    return [*rows, replace(quiet_row, figures={**quiet_row.figures, "left_bytes": Figure(left)}), _switch_row("on again", back)]


def _switch_row(name: str, outcomes: Sequence[Outcome]) -> Row:
    seconds = [each.done_s - each.issued_s for each in outcomes]
    figures = {**counts(outcomes), "latency_s": Figure.of(seconds), "latency_p99_s": Figure(percentile(seconds, 0.99))}
    return Row({"switch": name, "requests": len(outcomes)}, figures, details={"rows": _shares(outcomes)})


# -- the record ---------------------------------------------------------------------------------------------------------


def measure(requests: int, toggles: int, seed: int, parts: Sequence[str]) -> list[Row]:
    """All cases; one that cannot run says why."""
    cases: Mapping[str, Any] = {
        "faults": lambda: [faults_row(requests, seed)],
        "hung": lambda: hung_rows(seed),
        "switch": lambda: switch_rows(toggles, seed),
    }
    rows: list[Row] = []
    for name in parts:
        print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)
        try:
            rows += cases[name]()
        except MultiedgeError as error:
            rows.append(Row({"case": name}, failure=str(error)))
    return rows


def section(record: Record) -> str:
    rows = [row for row in record.rows if not row.failure]
    failing, switched = [row for row in rows if "case" in row.case], [row for row in rows if "switch" in row.case]
    must = [figure(name, name, ".0f") for name in ("lost", "twice", "wrong")]
    texts = []
    if failing:
        columns = [
            case("case"),
            case("requests"),
            *must,
            figure("faults", "faults", ".0f"),
            figure("hit", "hit", ".0f"),
            figure("free_p50_s", "p50, s", ".2f"),
            figure("hit_p50_s", "hit p50, s", ".2f"),
            figure("hit_p99_s", "hit p99, s", ".2f"),
        ]
        texts.append(
            f"`faults`: two clients at {RATE_PER_S:g} requests per second each, while {NODES} nodes are killed, stopped, cut"
            " off and slowed at random. `hit` are requests that waited while a fault lasted."
            f" exo documents {EXO_TIMEOUT_S:.0f} s until such a request fails.\n\n{_stored(failing)}"
        )
        texts.append(table(columns, failing))
    if switched:
        columns = [
            case("switch"),
            case("requests"),
            *must,
            figure("latency_s", "p50, ms", ".1f", 1e3),
            figure("latency_p99_s", "p99, ms", ".1f", 1e3),
            figure("left_bytes", "bytes that left", ".0f"),
        ]
        texts.append(
            f"A client on a device with {DEVICE_SHARE:.0%} of a processor; two other nodes have all of theirs. Bytes are those"
            " of the device's interfaces, with all headers."
        )
        texts.append(table(columns, switched))
    return "\n\n".join(texts)


def _stored(rows: Sequence[Row]) -> str:
    again, differing = (sum(row.median(name) or 0 for row in rows) for name in ("computed_again", "differing"))
    return f"Asked again with the same ids, {again:.0f} were computed again and {differing:.0f} answers differed."


BENCHMARK = Benchmark(
    "front",
    "The front end: faults under load, and the offload switch",
    {
        "lost": Measure("1", "requests without an answer"),
        "twice": Measure("1", "ids with two answers"),
        "wrong": Measure("1", "answers that differ from the whole model's"),
        "attempts": Measure("1", "most attempts on rows of one request"),
        "tries": Measure("1", "most times that a client sent one request"),
        "computed_again": Measure("1", "ids that were not answered from the store when they were asked for again"),
        "differing": Measure("1", "answers that differ when they were asked for again"),
        "faults": Measure("1", "faults that happened"),
        "hit": Measure("1", "requests that waited while a fault lasted"),
        "free_p50_s": Measure("s", "median latency of requests outside of faults"),
        "free_p99_s": Measure("s", "p99 latency of requests outside of faults"),
        "hit_p50_s": Measure("s", "median latency of requests in faults"),
        "hit_p99_s": Measure("s", "p99 latency of requests in faults"),
        "latency_s": Measure("s", "median latency as the client sees it"),
        "latency_p99_s": Measure("s", "p99 latency as the client sees it"),
        "left_bytes": Measure("B", "sent by the device on all of its interfaces while the switch was off and requests came"),
    },
    section,
)
PARTS = ("faults", "hung", "switch")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=250, help="of each of the two clients (default: %(default)s)")
    parser.add_argument("--toggles", type=int, default=100, help="of the switch (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of requests and faults (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which ones (default: all)")
    add_option(parser)
    args = parser.parse_args()
    settings = {"requests": args.requests, "toggles": args.toggles, "seed": args.seed}
    return BENCHMARK.finish(settings, lambda: measure(args.requests, args.toggles, args.seed, args.parts), args.json)


if __name__ == "__main__":
    sys.exit(main())
