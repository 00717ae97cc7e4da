"""How near a real pipeline comes to its limit and to its plan, and what a hop costs. See docs/pipeline.md.

    python benchmarks/pipeline.py [MODEL ...] [--items 30] [--rounds 3] [--no-hops] [--json]

Each model is planned as `multiedge plan --time-segments` does it, for two equal devices that are one core of this machine each,
and run in two workers with one thread each. In turn are measured: each stage alone on its core, the pipeline, the stages
again, and one session with two threads. A round in which the stages alone changed by more than a tenth says more about
the machine than about the pipeline: it is made again, up to three times. Printed are medians over the steady rounds, or
over all of them where none was.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import multiedge as me
from benchmarks import hops
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.executors import open_pipeline
from multiedge.executors.contract import Emulation, RunOptions
from multiedge.fleet import Device, Fleet
from multiedge.plan import CALLER, Manifest, Part, Plan, Transfer
from partitioners import PARTITIONERS
from profilers.segments import SegmentTimer, refine

MODELS = ("vit_b16", "minilm", "efficientnet_lite0")
FLEET = Fleet((Device("left", speed=1.0), Device("right", speed=1.0)), name="two cores")
OWN_CORES = Emulation(speed=False, links=False, memory=False)
"""The machine as it is, each worker on a core of its own."""
RATIO_LIMIT = 0.98
DRIFT_LIMIT, TRIES = 0.1, 3


def planned(graph: me.Graph, directory: str) -> tuple[Plan, Manifest]:
    """The fastest plan on two devices that each take part, its segments timed, and its parts."""
    profile = me.profile_model(graph, FLEET, "measured")
    _, plan, _ = refine(profile, FLEET, PARTITIONERS.load("throughput")(), SegmentTimer())
    return plan, me.write_parts(graph, plan, directory)


@contextmanager
def only_core(number: int) -> Iterator[None]:
    """Workers that are started meanwhile run on this core, the one that the stage has in the whole pipeline."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def stages_alone_s(manifest: Manifest, feed: Mapping[str, Any], repeats: int) -> list[float]:
    """Median seconds of each stage with nothing beside it: in a pipeline of its own, same settings, same core."""
    held, found = dict(feed), []
    for core, part in enumerate(manifest.parts):
        session = OnnxRuntimeBackend.open(Path(manifest.directory) / part.file, threads=1)
        made = session.run(held)
        feeds = {name: held[name] for name in session.inputs}
        session.close()
        with only_core(core):
            pipeline = open_pipeline(single_stage(manifest, part), FLEET, options=RunOptions(emulation=OWN_CORES))
        with pipeline:
            _, measured = pipeline.map([feeds] * repeats)
        found.append(statistics.median(event.seconds for event in measured.events if event.kind == "compute"))
        held.update(made)
    return found


def single_stage(manifest: Manifest, part: Part) -> Manifest:
    """A plan of this stage only."""
    moves = (Transfer(CALLER, 0, part.inputs, 0), Transfer(0, CALLER, part.outputs, 0))
    return replace(manifest, inputs=part.inputs, outputs=part.outputs, parts=(part,), transfers=moves)


def pipeline_run(manifest: Manifest, feed: Mapping[str, Any], items: int) -> tuple[float, float]:
    """Items per second between the first and the last answer, while the pipeline is full, and the median seconds of the
    slowest stage in this very run."""
    with open_pipeline(manifest, FLEET, options=RunOptions(warmup_items=4, emulation=OWN_CORES)) as pipeline:
        results, measured = pipeline.map([feed] * items)
    done = [result.done_s for result in results]
    stages = [
        statistics.median(event.seconds for event in measured.events if event.kind == "compute" and event.stage == stage)
        for stage in range(len(manifest.parts))
    ]
    return (len(done) - 1) / (done[-1] - done[0]), max(stages)


def session_fps(model: Path, feed: Mapping[str, Any], threads: int, items: int) -> float:
    """Items per second of one session on the whole model."""
    session = OnnxRuntimeBackend.open(model, threads=threads)
    session.run(feed)
    begin = time.monotonic()
    for _ in range(items):
        session.run(feed)
    return items / (time.monotonic() - begin)


def one_round(model: Path, plan: Plan, manifest: Manifest, feed: Mapping[str, Any], items: int) -> dict[str, Any]:
    """The ratios of one round; `drift` is by how much the stages alone changed in it, `planned_drift` since the plan."""
    before = stages_alone_s(manifest, feed, items // 3)
    fps, busiest_s = pipeline_run(manifest, feed, items)
    after = stages_alone_s(manifest, feed, items // 3)
    alone_s = statistics.mean((max(before), max(after)))
    return {
        "fps": fps,
        "alone_s": alone_s,
        "to_limit": fps * alone_s,
        "to_busiest": fps * busiest_s,
        "to_two_threads": fps / session_fps(model, feed, 2, items // 3),
        "predicted_fps": 1 / plan.estimate.bottleneck_s,
        "drift": max(before) / max(after) - 1,
        "planned_drift": alone_s / plan.estimate.bottleneck_s - 1,
    }


def measure_model(model: Path, items: int, rounds: int) -> dict[str, Any]:
    """Medians over rounds, each with a plan of its own, so that it was predicted as the machine is now."""
    graph = me.read_graph(model)
    feed = me.random_inputs(graph)
    kept = []
    for _ in range(rounds):
        tried = []
        while len(tried) < TRIES and not any(is_steady(row) for row in tried):
            with tempfile.TemporaryDirectory() as directory:
                plan, manifest = planned(graph, directory)
                tried.append(one_round(model, plan, manifest, feed, items))
        kept.append(min(tried, key=unsteadiness))
    names = [name for name in kept[0] if "drift" not in name]
    counted = [row for row in kept if is_steady(row)] or kept
    medians = {name: statistics.median(row[name] for row in counted) for name in names}
    error = statistics.median(abs(row["predicted_fps"] / row["fps"] - 1) for row in counted)
    return {"model": model.stem.rpartition("-")[0], **medians, "prediction_error": error, "rounds": kept}


def unsteadiness(row: Mapping[str, float]) -> float:
    return max(abs(row["drift"]), abs(row["planned_drift"]))


def is_steady(row: Mapping[str, float]) -> bool:
    return unsteadiness(row) <= DRIFT_LIMIT


def table(rows: list[dict[str, Any]]) -> Table:
    found = Table(title="Two single-threaded stages on two cores, medians", title_justify="left")
    heads = ("model", "items/s", "of 1 / slowest stage alone", "of 1 / slowest stage in the run", "x one session, 2 threads")
    for head in (*heads, "predicted items/s", "error", "steady rounds"):
        found.add_column(head, justify="right")
    for row in rows:
        found.add_row(
            row["model"],
            f"{row['fps']:.2f}",
            f"{row['to_limit']:.1%}",
            f"{row['to_busiest']:.1%}",
            f"{row['to_two_threads']:.2f}",
            f"{row['predicted_fps']:.2f}",
            f"{row['prediction_error']:.1%}",
            f"{sum(map(is_steady, row['rounds']))} of {len(row['rounds'])}",
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help="functions of tests/models.py, or ONNX files")
    parser.add_argument("--items", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-hops", action="store_true", help="leave out the cost of a hop")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count(), "models": []}
    for name in args.models:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found["models"].append(measure_model(_model(name), args.items, args.rounds))
    if not args.no_hops:
        found["hops"] = hops.measure(200)
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    Console(width=150).print(table(found["models"]))
    print(f"wanted: {RATIO_LIMIT:.0%} of 1 / slowest stage alone, more than one session with 2 threads, error at most 10 %")
    if "hops" in found:
        hops.report(found["hops"])
    return 0


def _model(name: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    from tests import models

    return Path(getattr(models, name)())


if __name__ == "__main__":
    sys.exit(main())
