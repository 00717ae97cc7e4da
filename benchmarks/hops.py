"""What a hop costs: between processes of one machine, over Ray and over gRPC, with stages that compute nothing.

    python benchmarks/hops.py [--items 200] [--json FILE]

Server and actors are processes of their own on loopback. With these two the caller is told when a stage is done, and calls the
next one, which gets the array from the stage before; `processes` need no caller between stages. Two rows tell how much of that
is not the library's: a bare ring of shared memory between two processes, without any message, and the time to copy the bytes
alone, to memory that is in no cache. `processes`, ring and copy are measured in turns. The processor time of all processes
together tells how short a hop can be on a machine with as many cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.page import Benchmark
from benchmarks.record import Case, Figure, Measure, Record, Row, add_option
from benchmarks.tables import MISSING, markdown
from multiedge.errors import MultiedgeError
from multiedge.executors import open_pipeline
from multiedge.executors.flow.contract import Executor
from multiedge.executors.flow.pipeline import Pipeline
from multiedge.executors.flow.scenarios import scenario
from multiedge.executors.workers.options import Emulation
from multiedge.fleet import Device, Fleet
from multiedge.plan import CALLER, Manifest, Part, Transfer

NULL_STAGES = 4
SIZES = (16, 600_000)
AIMS_US = {16: 25, 600_000: 40}
"""At most, in a full pipeline."""
PROCESSES, RING, COPY = "processes", "bare ring", "copy alone"
OTHERS = ("remote", "ray")
DEPTH = 20
"""Items under way. A stage that computes nothing is done before the next process runs, so two for each stage do not fill the
pipeline."""
OWN_OPTIONS: dict[str, Any] = {"emulation": Emulation.none(), "depth": DEPTH}
STOP = b"s"
REPEATS = 3
ROUNDS = 7
RING_SLOTS = DEPTH
"""As many as items are under way in the pipeline."""
STARTS_WITHIN_S = 60.0
CACHE_BYTES = 64_000_000
"""More than any processor's cache."""


def null_pipeline(directory: str, nbytes: int) -> Manifest:
    """Stages that compute nothing; each sends an array of `nbytes` that is its own, so every hop moves it."""
    parts, moves = [], [Transfer(CALLER, 0, ("t0",), nbytes)]
    for number in range(NULL_STAGES):
        made = f"t{number + 1}"
        description = {"inputs": [f"t{number}"], "outputs": {made: {"shape": [nbytes], "dtype": "uint8"}}}
        Path(directory, f"null_{number}.json").write_text(json.dumps(description), encoding="utf-8")
        parts.append(Part(number, f"null_{number}.json", f"d{number}", (f"t{number}",), (made,), {}))
        moves.append(Transfer(number, number + 1 if number + 1 < NULL_STAGES else CALLER, (made,), nbytes))
    return Manifest("null", "", ("t0",), (f"t{NULL_STAGES}",), tuple(parts), tuple(moves), "none", directory)


def _serve(path: str, model: str, address: Any) -> None:
    """What a server process runs: one synthetic stage."""
    from multiedge.backends.synthetic import SyntheticBackend
    from multiedge.serving.server import StageServer

    with StageServer({model: SyntheticBackend().open(Path(path))}) as server:
        address.send(server.address)
        server.wait()


@contextmanager
def null_servers(manifest: Manifest) -> Iterator[dict[str, str]]:
    """The address of a server process for each stage's device."""
    from multiedge.transports.open_inference import grpc_module

    grpc_module()
    spawn = multiprocessing.get_context("spawn")
    processes, places = [], {}
    try:
        for part in manifest.parts:
            ours, theirs = spawn.Pipe(duplex=False)
            path = str(Path(manifest.directory) / part.file)
            process = spawn.Process(target=_serve, args=(path, f"stage_{part.stage + 1}", theirs), daemon=True)
            process.start()
            processes.append(process)
            if not ours.poll(STARTS_WITHIN_S):
                raise SystemExit(f"the server of {part.file} did not start within {STARTS_WITHIN_S:g} s")
            places[part.device] = ours.recv()
        yield places
    finally:
        for process in processes:
            process.kill()
            process.join(10)


def hop(executor: str, nbytes: int, items: int) -> Row:
    """The cost of a hop, or why it was not measured."""
    case: Case = {"executor": executor, "nbytes": nbytes}
    try:
        with tempfile.TemporaryDirectory() as directory:
            manifest = null_pipeline(directory, nbytes)
            if executor != "remote":
                return Row(case, _measure(executor, manifest, nbytes, items, {}))
            with null_servers(manifest) as places:
                return Row(case, _measure(executor, manifest, nbytes, items, {"endpoints": places}))
    except MultiedgeError as error:
        return Row(case, failure=str(error))


def _measure(executor: str, manifest: Manifest, nbytes: int, items: int, options: Mapping[str, Any]) -> dict[str, Figure]:
    with _opened(executor, manifest, options) as pipeline:
        rounds = [_round(pipeline, nbytes, items, NULL_STAGES) for _ in range(REPEATS)]
    return _figures(rounds)


@contextmanager
def _opened(executor: str, manifest: Manifest, options: Mapping[str, Any]) -> Iterator[Pipeline]:
    fleet = Fleet(tuple(Device(f"d{number}", backend="synthetic") for number in range(NULL_STAGES)))
    with open_pipeline(manifest, fleet, executor, warmup_items=20, record_events=False, **options) as pipeline:
        yield pipeline


Samples = tuple[list[float], float]
"""Of one round: seconds of each hop of an item that is alone, and seconds per hop in a full pipeline."""


def _round(pipeline: Pipeline, nbytes: int, items: int, hops: int) -> Samples:
    feed = {"t0": np.zeros(nbytes, dtype=np.uint8)}
    singles, _ = pipeline.map([feed] * (items // 2), scenario("singlestream"))
    for result in singles:
        result.require()
    alone_s = [(result.done_s - result.issued_s) / hops for result in singles]
    return alone_s, drain_s(pipeline.executor, feed, items) / items / hops


def _figures(rounds: Sequence[Samples]) -> dict[str, Figure]:
    return {
        "alone_s": Figure.of(seconds for alone_s, _ in rounds for seconds in alone_s),
        "full_s": Figure.of(full_s for _, full_s in rounds),
    }


def drain_s(running: Executor, feed: Mapping[str, Any], items: int) -> float:
    """Seconds for `items` through a full pipeline; answers are dropped, because to keep them costs the caller new memory."""
    begin = time.monotonic()
    for item in range(items):
        while not running.has_room:
            running.poll(0.5)
        running.submit(item, feed)
    while running.unanswered:
        running.poll(0.5)
    return time.monotonic() - begin


def cpu_per_item_s(running: Executor, nbytes: int, items: int) -> float:
    """Processor time of an item in a full pipeline, of this process and all that it has started."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]

    def spent_s() -> float:
        return float(sum(times.user + times.system for times in (process.cpu_times() for process in processes)))

    before_s = spent_s()
    drain_s(running, {"t0": np.zeros(nbytes, dtype=np.uint8)}, items)
    return (spent_s() - before_s) / items


def _return_slots(name: str, arrivals: Connection, freed: Connection) -> None:
    """What the receiving process of a bare ring runs: a byte back for every byte that arrives, each of which is a slot."""
    memory = SharedMemory(name)
    freed.send_bytes(b"ready")
    while data := os.read(arrivals.fileno(), 4096):
        os.write(freed.fileno(), data)
        if STOP in data:
            break
    memory.close()


class Ring:
    """Slots of shared memory that this process writes in turn, and a process that returns each of them when it is notified."""

    def __init__(self, nbytes: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        theirs, self._arrivals = spawn.Pipe(duplex=False)
        self._freed, back = spawn.Pipe(duplex=False)
        self._memory = SharedMemory(create=True, size=RING_SLOTS * nbytes)
        self._slots = [np.ndarray(nbytes, np.uint8, self._memory.buf, number * nbytes) for number in range(RING_SLOTS)]
        self._source = np.zeros(nbytes, dtype=np.uint8)
        self._process = spawn.Process(target=_return_slots, args=(self._memory.name, theirs, back), daemon=True)
        self._process.start()
        if not self._freed.poll(STARTS_WITHIN_S):
            raise SystemExit(f"the process of the bare ring did not start within {STARTS_WITHIN_S:g} s")
        self._freed.recv_bytes()

    def drain_s(self, items: int, slots: int = RING_SLOTS) -> float:
        """Seconds for `items`, with up to so many under way."""
        free, begin = slots, time.monotonic()
        for item in range(items):
            while not free:
                free += len(os.read(self._freed.fileno(), 4096))
            self._slots[item % slots][...] = self._source
            os.write(self._arrivals.fileno(), b"x")
            free -= 1
        while free < slots:
            free += len(os.read(self._freed.fileno(), 4096))
        return time.monotonic() - begin

    def close(self) -> None:
        os.write(self._arrivals.fileno(), STOP)
        self._process.join(10)
        self._slots.clear()
        self._memory.close()
        self._memory.unlink()


def copies_s(nbytes: int, places: npt.NDArray[np.uint8]) -> list[float]:
    """Seconds of each copy of an array to memory that is in no cache."""
    source, seconds = np.ones(nbytes, dtype=np.uint8), []
    for place in places:
        begin = time.perf_counter()
        place[...] = source
        seconds.append(time.perf_counter() - begin)
    return seconds


def in_turns(nbytes: int, items: int) -> list[Row]:
    """A hop between processes, the bare ring and the copy, each of them once in every round."""
    places = np.ones((CACHE_BYTES // max(nbytes, 4096), nbytes), dtype=np.uint8)
    hops, ring_rounds, copies = [], [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        _opened(PROCESSES, null_pipeline(folder, nbytes), OWN_OPTIONS) as pipeline,
        closing(Ring(nbytes)) as ring,
    ):
        ring.drain_s(items)
        drain_s(pipeline.executor, {"t0": np.zeros(nbytes, dtype=np.uint8)}, items)
        for _ in range(ROUNDS):
            hops.append(_round(pipeline, nbytes, items, NULL_STAGES + 1))
            ring_rounds.append(([ring.drain_s(items, slots=1) / items], ring.drain_s(items) / items))
            copies += copies_s(nbytes, places)
        cpu_s = cpu_per_item_s(pipeline.executor, nbytes, ROUNDS * items) / (NULL_STAGES + 1)
    return [
        Row({"executor": PROCESSES, "nbytes": nbytes}, {**_figures(hops), "cpu_s": Figure(cpu_s)}),
        Row({"executor": RING, "nbytes": nbytes}, _figures(ring_rounds)),
        Row({"executor": COPY, "nbytes": nbytes}, {"alone_s": Figure.of(copies)}),
    ]


def measure(items: int) -> list[Row]:
    """By executor and size, and for the bare ring and the copy."""
    turns = [row for size in SIZES for row in in_turns(size, items)]
    others = [hop(name, size, items) for name in OTHERS for size in SIZES]
    places = {name: place for place, name in enumerate((PROCESSES, *OTHERS, RING, COPY))}
    return sorted([*turns, *others], key=lambda row: places[str(row.case["executor"])])


def section(record: Record) -> str:
    """What the record says, and its table."""
    sizes = list(dict.fromkeys(int(row.case["nbytes"]) for row in record.rows))
    heads = ["microseconds per hop", *(f"{size:,} B, {load}" for size in sizes for load in ("full", "alone"))]
    names = dict.fromkeys(str(row.case["executor"]) for row in record.rows)
    costs = " and ".join(
        f"{size:,} bytes {_us(record.row(executor=PROCESSES, nbytes=size), 'full_s')} (the aim: {aim})"
        for size, aim in AIMS_US.items()
    )
    return (
        f'A hop between processes costs in a full pipeline, in microseconds: {costs}. "alone" is one item at a time,'
        f" and the bare ring has no messages and two processes in place of five.\n\n"
        f"{markdown(heads, [_line(record, name, sizes) for name in names])}{_least(record, sizes)}"
    )


def _least(record: Record, sizes: Sequence[int]) -> str:
    """What a hop takes at least with the processors of the record's machine, in a sentence; '' where that was not measured."""
    cpu_s = [record.row(executor=PROCESSES, nbytes=size).median("cpu_s") for size in sizes]
    known = [seconds for seconds in cpu_s if seconds is not None]
    if len(known) < len(sizes):
        return ""
    spent = " and ".join(f"{seconds * 1e6:,.0f}" for seconds in known)
    cores = min(int(record.origin.machine["cores"]), NULL_STAGES + 1)
    least = " and ".join(f"{seconds * 1e6 / cores:,.0f}" for seconds in known)
    return f"\n\nThe five processes spend {spent} of processor time on it, so {cores} cores allow {least} at best."


def _line(record: Record, executor: str, sizes: Sequence[int]) -> list[str]:
    rows = [record.row(executor=executor, nbytes=size) for size in sizes]
    return [executor, *(_us(row, measure) for row in rows for measure in ("full_s", "alone_s"))]


def _us(row: Row, measure: str) -> str:
    median = row.median(measure)
    return MISSING if median is None else f"{median * 1e6:,.0f}"


BENCHMARK = Benchmark(
    "hops",
    "What a hop costs: processes, gRPC and Ray",
    {
        "alone_s": Measure("s", "per hop, one item at a time; of the ring, until its slot returns; of the copy, its time"),
        "full_s": Measure("s", "per hop and item, in a full pipeline"),
        "cpu_s": Measure("s", "processor time per hop and item in a full pipeline, of all processes together"),
    },
    section,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=200)
    add_option(parser)
    args = parser.parse_args()
    return BENCHMARK.finish({"items": args.items, "depth": DEPTH}, lambda: measure(args.items), args.json)


if __name__ == "__main__":
    sys.exit(main())
