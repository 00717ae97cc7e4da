"""What a hop costs: between processes of one machine, over Ray and over gRPC, with stages that compute nothing.

    python benchmarks/hops.py [--items 200] [--json FILE]

Server and actors are processes of their own on loopback. A hop of these two goes to the caller and from there to the
next stage, so it is a call there and back; one of `processes` goes straight from stage to stage. The last row is the time to
copy the bytes alone, to memory that is in no cache.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.page import Benchmark
from benchmarks.record import Case, Figure, Measure, Record, Row, add_option
from benchmarks.tables import MISSING, markdown
from multiedge.errors import MultiedgeError
from multiedge.executors import open_pipeline
from multiedge.executors.flow.contract import Executor
from multiedge.executors.flow.scenarios import scenario
from multiedge.executors.workers.options import Emulation
from multiedge.fleet import Device, Fleet
from multiedge.plan import CALLER, Manifest, Part, Transfer

NULL_STAGES = 4
SIZES = (16, 600_000)
LIMIT_US = 100.0
EXECUTORS = ("processes", "remote", "ray")
OWN_OPTIONS: dict[str, dict[str, Any]] = {"processes": {"emulation": Emulation.none()}, "ray": {}}
COPY = "copy alone"
REPEATS = 3
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
                return Row(case, _measure(executor, manifest, nbytes, items, OWN_OPTIONS[executor]))
            with null_servers(manifest) as places:
                return Row(case, _measure(executor, manifest, nbytes, items, {"endpoints": places}))
    except MultiedgeError as error:
        return Row(case, failure=str(error))


def _measure(executor: str, manifest: Manifest, nbytes: int, items: int, options: Mapping[str, Any]) -> dict[str, Figure]:
    fleet = Fleet(tuple(Device(f"d{number}", backend="synthetic") for number in range(NULL_STAGES)))
    feed = {"t0": np.zeros(nbytes, dtype=np.uint8)}
    hops = NULL_STAGES + 1 if executor == "processes" else NULL_STAGES
    with open_pipeline(manifest, fleet, executor, warmup_items=20, record_events=False, **options) as pipeline:
        singles, _ = pipeline.map([feed] * items, scenario("singlestream"))
        for result in singles:
            result.require()
        full_s = [drain_s(pipeline.executor, feed, items) for _ in range(REPEATS)]
    return {
        "alone_s": Figure.of((result.done_s - result.issued_s) / hops for result in singles),
        "full_s": Figure.of(seconds / items / hops for seconds in full_s),
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


def copy(nbytes: int) -> Row:
    """The time to copy an array to memory that is in no cache."""
    source, places = np.ones(nbytes, dtype=np.uint8), np.ones((CACHE_BYTES // max(nbytes, 4096), nbytes), dtype=np.uint8)
    seconds = []
    for place in places:
        begin = time.perf_counter()
        place[...] = source
        seconds.append(time.perf_counter() - begin)
    return Row({"executor": COPY, "nbytes": nbytes}, {"alone_s": Figure.of(seconds)})


def measure(items: int) -> list[Row]:
    """By executor and size, and for the copy alone."""
    return [*(hop(name, size, items) for name in EXECUTORS for size in SIZES), *map(copy, SIZES)]


def section(record: Record) -> str:
    """What the record says, and its table."""
    small = record.row(executor="processes", nbytes=SIZES[0])
    sizes = list(dict.fromkeys(int(row.case["nbytes"]) for row in record.rows))
    heads = ["microseconds per hop", *(f"{size:,} B, {load}" for size in sizes for load in ("full", "alone"))]
    names = dict.fromkeys(str(row.case["executor"]) for row in record.rows)
    return (
        f"Between processes, a hop of {SIZES[0]} bytes costs {_us(small, 'full_s')} microseconds in a full pipeline (the aim:"
        f' at most {LIMIT_US:.0f}). "alone" is one item at a time.\n\n'
        f"{markdown(heads, [_line(record, name, sizes) for name in names])}"
    )


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
        "alone_s": Measure("s", "per hop, one item under way at a time; of the copy: its time"),
        "full_s": Measure("s", "per hop and item, in a full pipeline"),
    },
    section,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=200)
    add_option(parser)
    args = parser.parse_args()
    return BENCHMARK.finish({"items": args.items}, lambda: measure(args.items), args.json)


if __name__ == "__main__":
    sys.exit(main())
