"""How near a real pipeline comes to its limit and to its plan, and what a hop costs. See docs/pipeline.md.

    python benchmarks/pipeline.py [MODEL ...] [--plans 3] [--cycles 8] [--no-hops] [--json]

Each model is planned as `multiedge plan --time-segments` does it, for two equal devices that are one core of this machine each,
and run in two workers with one thread each. Each stage alone on its core, the pipeline, one session with two threads and
again the stages take turns of a second or two, so that a slow spell of the machine meets all of them. Printed are medians
over the turns, with half of them between the two figures in brackets. A prediction is compared with those turns in which
the stages alone were within a tenth of what the plan was made with: "steady".
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import multiedge as me
from benchmarks import hops
from multiedge.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeSession
from multiedge.executors import Pipeline, open_pipeline
from multiedge.executors.workers.options import Emulation, ProcessesOptions
from multiedge.fleet import Device, Fleet
from multiedge.plan import CALLER, Manifest, Part, Plan, Transfer
from partitioners import PARTITIONERS
from profilers.segments import SegmentTimer, refine

MODELS = ("vit_b16", "minilm", "efficientnet_lite0")
FLEET = Fleet((Device("left", speed=1.0), Device("right", speed=1.0)), name="two cores")
OWN_CORES = Emulation(speed=False, links=False, memory=False)
"""The machine as it is, each worker on a core of its own."""
RATIO_LIMIT = 0.98
DRIFT_LIMIT = 0.1
TURN_S, LEAST_ITEMS = 1.5, 8

Feed = Mapping[str, Any]


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


@dataclass(frozen=True)
class Contenders:
    """What takes turns: the pipeline, each stage in a pipeline of its own, and the whole model with two threads."""

    pipeline: Pipeline
    feed: Feed
    alone: Sequence[tuple[Pipeline, Feed]]
    session: OnnxRuntimeSession
    items: int

    def stages_alone_s(self) -> list[float]:
        """Median seconds of each stage with nothing beside it, in a worker on the core that it has in the pipeline."""
        found = []
        for pipeline, feed in self.alone:
            _, measured = pipeline.map([feed] * (self.items // 2))
            found.append(statistics.median(event.seconds for event in measured.events if event.kind == "compute"))
        return found

    def pipeline_run(self) -> tuple[float, float]:
        """Items per second between the first and the last answer, while the pipeline is full, and the median seconds of
        the slowest stage in this very run."""
        results, measured = self.pipeline.map([self.feed] * self.items)
        done = [result.done_s for result in results]
        seconds: dict[int, list[float]] = {}
        for event in measured.events:
            if event.kind == "compute":
                seconds.setdefault(event.stage, []).append(event.seconds)
        return (len(done) - 1) / (done[-1] - done[0]), max(map(statistics.median, seconds.values()))

    def session_fps(self) -> float:
        """Items per second of one session on the whole model."""
        begin = time.monotonic()
        for _ in range(self.items // 2):
            self.session.run(self.feed)
        return self.items // 2 / (time.monotonic() - begin)


def single_stage(manifest: Manifest, part: Part) -> Manifest:
    """A plan of this stage only."""
    moves = (Transfer(CALLER, 0, part.inputs, 0), Transfer(0, CALLER, part.outputs, 0))
    return replace(manifest, inputs=part.inputs, outputs=part.outputs, parts=(part,), transfers=moves)


@contextmanager
def contenders(model: Path, plan: Plan, manifest: Manifest, feed: Feed) -> Iterator[Contenders]:
    """All of them, loaded and warm; they end with the context."""
    options = ProcessesOptions(warmup_items=4, emulation=OWN_CORES)
    items = max(LEAST_ITEMS, round(TURN_S / plan.estimate.bottleneck_s))
    with ExitStack() as running:
        held, alone = dict(feed), []
        for core, part in enumerate(manifest.parts):
            session = OnnxRuntimeBackend.open(Path(manifest.directory) / part.file, threads=1)
            made = session.run(held)
            feeds = {name: held[name] for name in session.inputs}
            session.close()
            with only_core(core):
                stage = open_pipeline(single_stage(manifest, part), FLEET, options=options)
            alone.append((running.enter_context(stage), feeds))
            held.update(made)
        whole = OnnxRuntimeBackend.open(model, threads=2)
        running.callback(whole.close)
        pipeline = running.enter_context(open_pipeline(manifest, FLEET, options=options))
        found = Contenders(pipeline, feed, alone, whole, items)
        found.stages_alone_s()
        found.pipeline_run()
        found.session_fps()
        yield found


def turns(found: Contenders, plan: Plan, count: int) -> Iterator[dict[str, float]]:
    """The figures of each turn; `drift` is how much slower the stages alone were than the plan's."""
    before = found.stages_alone_s()
    for _ in range(count):
        fps, busiest_s = found.pipeline_run()
        two_threads_fps = found.session_fps()
        after = found.stages_alone_s()
        alone_s = statistics.mean((max(before), max(after)))
        yield {
            "fps": fps,
            "to_limit": fps * alone_s,
            "to_busiest": fps * busiest_s,
            "to_two_threads": fps / two_threads_fps,
            "predicted_fps": 1 / plan.estimate.bottleneck_s,
            "drift": alone_s / plan.estimate.bottleneck_s - 1,
        }
        before = after


def measure_model(model: Path, plans: int, cycles: int) -> dict[str, Any]:
    """Every turn of every plan, and medians over them; each plan is made anew, with the machine as it is then."""
    graph = me.read_graph(model)
    feed = me.random_inputs(graph)
    rows: list[dict[str, float]] = []
    for _ in range(plans):
        with tempfile.TemporaryDirectory() as directory:
            plan, manifest = planned(graph, directory)
            with contenders(model, plan, manifest, feed) as found:
                rows += turns(found, plan, cycles)
    steady = [row for row in rows if abs(row["drift"]) <= DRIFT_LIMIT] or rows
    return {
        "model": model.stem.rpartition("-")[0],
        **{name: statistics.median(row[name] for row in rows) for name in rows[0]},
        "to_limit_quartiles": statistics.quantiles([row["to_limit"] for row in rows], n=4)[::2],
        "prediction_error": statistics.median(abs(row["predicted_fps"] / row["fps"] - 1) for row in steady),
        "steady": sum(abs(row["drift"]) <= DRIFT_LIMIT for row in rows),
        "turns": rows,
    }


def table(rows: list[dict[str, Any]]) -> Table:
    found = Table(title="Two single-threaded stages on two cores, medians", title_justify="left")
    heads = ("model", "items/s", "of 1 / slowest stage alone", "of 1 / slowest stage in the run", "x one session, 2 threads")
    for head in (*heads, "predicted items/s", "error", "steady turns"):
        found.add_column(head, justify="right")
    for row in rows:
        low, high = row["to_limit_quartiles"]
        found.add_row(
            row["model"],
            f"{row['fps']:.2f}",
            f"{row['to_limit']:.1%} ({low:.1%} - {high:.1%})",
            f"{row['to_busiest']:.1%}",
            f"{row['to_two_threads']:.2f}",
            f"{row['predicted_fps']:.2f}",
            f"{row['prediction_error']:.1%}",
            f"{row['steady']} of {len(row['turns'])}",
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help="functions of tests/builders/models.py, or ONNX files")
    parser.add_argument("--plans", type=int, default=3, help="plans that are made and run (default: 3)")
    parser.add_argument("--cycles", type=int, default=8, help="turns with each plan (default: 8)")
    parser.add_argument("--no-hops", action="store_true", help="leave out the cost of a hop")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count(), "models": []}
    for name in args.models:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found["models"].append(measure_model(_model(name), args.plans, args.cycles))
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
