"""What the pipeline costs on top of its stages, and how near it comes to the limit. See docs/pipeline.md.

    python benchmarks/pipeline.py [--model vit_b16|deit_tiny] [--items 40] [--rounds 3] [--json]

Three things in one run: a model in two balanced single-threaded stages against its slowest stage alone on a core of
its own (the limit) and against one session with two threads; the harness's own cost per hop with stages that compute
nothing; and the same over other executors where they are installed. A and B are measured in turn, medians are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.errors import MultiedgeError
from multiedge.executors import EXECUTORS, open_pipeline
from multiedge.executors.contract import Emulation, RunOptions
from multiedge.executors.scenarios import scenario
from multiedge.fleet import Device, Fleet
from multiedge.plan import CALLER, Manifest, Part, Stage, Transfer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

NULL_STAGES = 4
NULL_ITEMS = 400
HOP_LIMIT_US = 100.0
RATIO_LIMIT = 0.98
OTHERS = ("ray", "remote")


def balanced_parts(model: Path, directory: str, threads_fleet: Fleet, tries: int = 3) -> Manifest:
    """The model in two stages of equal measured time: the cut is moved until the clock says so."""
    import multiedge as me
    from multiedge.onnx_io import random_inputs

    graph = me.read_graph(model)
    profile = me.profile_model(graph, threads_fleet)
    feed = random_inputs(graph)
    one, two = threads_fleet.names
    share, best = 0.5, None
    for attempt in range(tries):
        plan = me.plan_by_hand(profile, threads_fleet, _stages(profile.seconds[one], share, one, two))
        manifest = me.write_parts(graph, plan, Path(directory) / f"cut{attempt}")
        alone = stage_seconds(manifest, feed)
        if best is None or max(alone) < best[0]:
            best = (max(alone), manifest)
        share += 0.5 * (alone[1] - alone[0]) / sum(alone)
    return best[1]


def _stages(seconds: Any, share: float, one: str, two: str) -> list[Stage]:
    after = int(np.searchsorted(np.cumsum(seconds), share * float(np.sum(seconds)))) + 1
    return [Stage.span(one, 0, after), Stage.span(two, after, len(seconds))]


def stage_seconds(manifest: Manifest, feed: Mapping[str, Any], repeats: int = 10) -> list[float]:
    """Median seconds of each stage alone, with one thread, in a worker of its own on a core of its own."""
    from multiedge.backends.onnxruntime import OnnxRuntimeBackend

    held, found = dict(feed), []
    for part in manifest.parts:
        session = OnnxRuntimeBackend.open(Path(manifest.directory) / part.file, threads=1)
        made = session.run(held)
        found.append(stage_alone_s(manifest, part, {name: held[name] for name in session.inputs}, repeats))
        held.update(made)
        session.close()
    return found


def stage_alone_s(manifest: Manifest, part: Part, feed: Mapping[str, Any], items: int) -> float:
    """Seconds per item of one stage with nothing beside it: a pipeline of this stage only, same settings."""
    alone = Manifest(
        manifest.model,
        manifest.model_hash,
        tuple(feed),
        part.outputs,
        (part,),
        (Transfer(CALLER, 0, tuple(feed), 0), Transfer(0, CALLER, part.outputs, 0)),
        manifest.weights,
        manifest.directory,
    )
    with open_pipeline(alone, Fleet((Device(part.device),)), options=RunOptions(depth=3)) as pipeline:
        _, measured = pipeline.map([feed] * items)
    return statistics.median(event.seconds for event in measured.events if event.kind == "compute")


def pipeline_fps(manifest: Manifest, fleet: Fleet, feed: Mapping[str, Any], items: int, executor: str = "processes") -> float:
    """Items per second between the first and the last answer: the pipeline is full for all of it."""
    with open_pipeline(manifest, fleet, executor, options=RunOptions(warmup_items=4)) as pipeline:
        results, _ = pipeline.map([feed] * items)
    done = [result.done_s for result in results]
    return (len(done) - 1) / (done[-1] - done[0])


def session_fps(model: Path, feed: Mapping[str, Any], threads: int, items: int) -> float:
    """Items per second of one session on the whole model."""
    from multiedge.backends.onnxruntime import OnnxRuntimeBackend

    session = OnnxRuntimeBackend.open(model, threads=threads)
    session.run(feed)
    start = time.monotonic()
    for _ in range(items):
        session.run(feed)
    return items / (time.monotonic() - start)


def measure_model(model: Path, items: int, rounds: int) -> dict[str, Any]:
    """Ratios of the two-stage pipeline to its limit and to two threads, medians over rounds in turn."""
    from multiedge import read_graph
    from multiedge.onnx_io import random_inputs

    fleet = Fleet((Device("a"), Device("b")))
    feed = random_inputs(read_graph(model))
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        manifest = balanced_parts(model, directory, fleet)
        for _ in range(rounds):
            alone = stage_seconds(manifest, feed)
            fps = pipeline_fps(manifest, fleet, feed, items)
            two_threads = session_fps(model, feed, 2, max(6, items // 4))
            rows.append({"stage_s": alone, "fps": fps, "to_limit": fps * max(alone), "to_two_threads": fps / two_threads})
    return {
        "model": model.stem,
        "rounds": rows,
        **{name: statistics.median(row[name] for row in rows) for name in ("fps", "to_limit", "to_two_threads")},
    }


def null_pipeline(directory: str, nbytes: int, stages: int = NULL_STAGES) -> Manifest:
    """Stages that compute nothing; each sends an array of `nbytes` that is its own, so every hop moves it."""
    parts, moves = [], [Transfer(CALLER, 0, ("t0",), nbytes)]
    for number in range(stages):
        made = f"t{number + 1}"
        description = {"inputs": [f"t{number}"], "outputs": {made: {"shape": [nbytes], "dtype": "uint8"}}}
        Path(directory, f"null_{number}.json").write_text(json.dumps(description), encoding="utf-8")
        parts.append(Part(number, f"null_{number}.json", f"d{number}", (f"t{number}",), (made,), {}))
        moves.append(Transfer(number, number + 1 if number + 1 < stages else CALLER, (made,), nbytes))
    return Manifest("null", "", ("t0",), (f"t{stages}",), tuple(parts), tuple(moves), "none", directory)


def hop_us(nbytes: int, executor: str = "processes", items: int = NULL_ITEMS) -> dict[str, float]:
    """Microseconds per hop: of one item alone (`latency`) and of a full pipeline (`throughput`)."""
    options = RunOptions(warmup_items=20, record_events=False, emulation=Emulation.none())
    feed = {"t0": np.zeros(nbytes, dtype=np.uint8)}
    fleet = Fleet(tuple(Device(f"d{number}", backend="synthetic") for number in range(NULL_STAGES)))
    with (
        tempfile.TemporaryDirectory() as directory,
        open_pipeline(null_pipeline(directory, nbytes), fleet, executor, options=options) as pipeline,
    ):
        _, single = pipeline.map([feed] * items, scenario("singlestream"))
        _, full = pipeline.map([feed] * items)
    hops = NULL_STAGES + 1
    latency = statistics.median(item.done_s - item.issued_s for item in single.items)
    return {"latency": latency / hops * 1e6, "throughput": full.wall_s / items / hops * 1e6}


def attempt(work: Callable[[], Any]) -> Any:
    """What `work` returns, or 'not run: why'."""
    try:
        return work()
    except MultiedgeError as error:
        return f"not run: {error}"


def measure_hops() -> dict[str, Any]:
    rows: dict[str, Any] = {"processes": {str(size): hop_us(size) for size in (16, 600_000)}}
    for name in OTHERS:
        known = name in EXECUTORS.names()
        rows[name] = (
            attempt(lambda name=name: {str(s): hop_us(s, name, 50) for s in (16, 600_000)})
            if known
            else "not run: no such executor"
        )
    return rows


def report(found: Mapping[str, Any]) -> None:
    for size, cost in found["hops"]["processes"].items():
        print(
            f"hop of {int(size):>7,} B: {cost['throughput']:.0f} us in a full pipeline, {cost['latency']:.0f} us alone"
            f" (at most {HOP_LIMIT_US:.0f})"
        )
    for name in OTHERS:
        print(f"hop over {name}: {found['hops'][name]}")
    if model := found.get("model"):
        print(
            f"{model['model']} in 2 stages: {model['fps']:.2f} items/s;"
            f" {100 * model['to_limit']:.1f} % of 1 / slowest stage alone (at least {100 * RATIO_LIMIT:.0f} %);"
            f" {model['to_two_threads']:.2f} x one session with 2 threads"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_b16", help="a function of tests/models.py, an ONNX file, or 'none'")
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count(), "hops": measure_hops()}
    if args.model != "none":
        found["model"] = measure_model(_model(args.model), args.items, args.rounds)
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        report(found)
    return 0


def _model(name: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    from tests import models

    return Path(getattr(models, name)())


if __name__ == "__main__":
    sys.exit(main())
