"""What a hop costs: between processes of one machine, over Ray and over gRPC, with stages that compute nothing.

    python benchmarks/hops.py [--items 200] [--json]

Server and actors are processes of their own on loopback. A hop of these two goes to the caller and from there to the
next stage, so it is a call there and back; one of `processes` goes straight from stage to stage. Beside it stands what
copying the bytes alone takes where they are in no cache.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

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
REPEATS = 3
STARTS_WITHIN_S = 60.0
CACHE_BYTES = 64_000_000
"""More than processors have."""


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
    """The life of a server process: one synthetic stage."""
    from multiedge.backends.synthetic import SyntheticBackend
    from multiedge.serving.server import StageServer

    with StageServer({model: SyntheticBackend.open(path)}) as server:
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


def hop_us(executor: str, nbytes: int, items: int) -> dict[str, float] | str:
    """Microseconds per hop: of one item alone (`latency`, median) and of a full pipeline (`throughput`, median of
    several runs); or why it was not run."""
    try:
        with tempfile.TemporaryDirectory() as directory:
            manifest = null_pipeline(directory, nbytes)
            if executor != "remote":
                return _measure(executor, manifest, nbytes, items, OWN_OPTIONS[executor])
            with null_servers(manifest) as places:
                return _measure(executor, manifest, nbytes, items, {"endpoints": places})
    except MultiedgeError as error:
        return f"not run: {error}"


def _measure(executor: str, manifest: Manifest, nbytes: int, items: int, options: Mapping[str, Any]) -> dict[str, float]:
    fleet = Fleet(tuple(Device(f"d{number}", backend="synthetic") for number in range(NULL_STAGES)))
    feed = {"t0": np.zeros(nbytes, dtype=np.uint8)}
    with open_pipeline(manifest, fleet, executor, warmup_items=20, record_events=False, **options) as pipeline:
        singles, _ = pipeline.map([feed] * items, scenario("singlestream"))
        for result in singles:
            result.require()
        latency_s = statistics.median(result.done_s - result.issued_s for result in singles)
        full_s = statistics.median(drain_s(pipeline.executor, feed, items) for _ in range(REPEATS))
    hops = NULL_STAGES + 1 if executor == "processes" else NULL_STAGES
    return {"latency": latency_s / hops * 1e6, "throughput": full_s / items / hops * 1e6}


def drain_s(running: Executor, feed: Mapping[str, Any], items: int) -> float:
    """Seconds for `items` through a full pipeline; answers are dropped, since keeping them costs the caller fresh memory."""
    begin = time.monotonic()
    for item in range(items):
        while not running.has_room:
            running.poll(0.5)
        running.submit(item, feed)
    while running.unanswered:
        running.poll(0.5)
    return time.monotonic() - begin


def copy_us(nbytes: int) -> float:
    """Microseconds, median, of copying an array to memory that is in no cache."""
    source, places = np.ones(nbytes, dtype=np.uint8), np.ones((CACHE_BYTES // max(nbytes, 4096), nbytes), dtype=np.uint8)
    found = []
    for place in places:
        begin = time.perf_counter()
        place[...] = source
        found.append(time.perf_counter() - begin)
    return statistics.median(found) * 1e6


def measure(items: int) -> dict[str, Any]:
    """By executor and size, and for the bare copy."""
    found: dict[str, Any] = {name: {str(size): hop_us(name, size, items) for size in SIZES} for name in EXECUTORS}
    return {"copy": {str(size): copy_us(size) for size in SIZES}, **found}


def report(found: Mapping[str, Any]) -> None:
    for name in EXECUTORS:
        for size, cost in found[name].items():
            said = cost if isinstance(cost, str) else f"{cost['throughput']:,.0f} us when full, {cost['latency']:,.0f} us alone"
            print(f"hop over {name:<9} {int(size):>7,} B: {said}")
    copies = ", ".join(f"{int(size):,} B {us:.0f} us" for size, us in found["copy"].items())
    print(f"copying alone: {copies}; wanted of a hop between processes: at most {LIMIT_US:.0f} us")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.items)
    if args.json:
        print(json.dumps({"cores": os.cpu_count(), "items": args.items, **found}, indent=1))
    else:
        report(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
