"""What a hop costs over Ray and over gRPC, beside the processes of one machine: stages that compute nothing.

    python benchmarks/hops.py [--items 100] [--json]

Server and actors are processes of their own on loopback. A hop of these two goes to the caller and from there to the
next stage, so it is a call there and back; one of `processes` goes straight from stage to stage.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.pipeline import NULL_STAGES, attempt, null_pipeline
from multiedge.executors import open_pipeline
from multiedge.executors.contract import Emulation, RunOptions
from multiedge.executors.scenarios import scenario
from multiedge.fleet import Device, Fleet
from multiedge.plan import Manifest

SIZES = (16, 600_000)
STARTS_WITHIN_S = 60.0


def _serve(path: str, model: str, address: Any) -> None:
    """The life of a server process: one synthetic stage."""
    from multiedge.backends.synthetic import SyntheticBackend
    from multiedge.executors.server import StageServer

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


def hop_us(executor: str, nbytes: int, items: int) -> dict[str, float]:
    """Microseconds per stage: of one item alone (`latency`, median) and of a full pipeline (`throughput`)."""
    with tempfile.TemporaryDirectory() as directory:
        manifest = null_pipeline(directory, nbytes)
        if executor != "remote":
            return _measure(executor, manifest, nbytes, items, {})
        with null_servers(manifest) as places:
            return _measure(executor, manifest, nbytes, items, {"endpoints": places})


def _measure(executor: str, manifest: Manifest, nbytes: int, items: int, session: dict[str, Any]) -> dict[str, float]:
    options = RunOptions(warmup_items=20, record_events=False, emulation=Emulation.none(), session=session)
    fleet = Fleet(tuple(Device(f"d{number}", backend="synthetic") for number in range(NULL_STAGES)))
    feed = {"t0": np.zeros(nbytes, dtype=np.uint8)}
    with open_pipeline(manifest, fleet, executor, options=options) as pipeline:
        singles, _ = pipeline.map([feed] * items, scenario("singlestream"))
        results, full = pipeline.map([feed] * items)
    for result in (*singles, *results):
        result.require()
    hops = NULL_STAGES + 1 if executor == "processes" else NULL_STAGES
    latency = statistics.median(result.done_s - result.issued_s for result in singles)
    return {"latency": latency / hops * 1e6, "throughput": full.wall_s / items / hops * 1e6}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count(), "items": args.items}
    for name in ("processes", "remote", "ray"):
        found[name] = {str(size): attempt(lambda n=name, s=size: hop_us(n, s, args.items)) for size in SIZES}
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    for name in ("processes", "remote", "ray"):
        for size, cost in found[name].items():
            said = cost if isinstance(cost, str) else f"{cost['latency']:,.0f} us alone, {cost['throughput']:,.0f} us when full"
            print(f"{name:>9}, {int(size):>7,} B a hop: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
