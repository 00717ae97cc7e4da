"""How near a real pipeline comes to its limit and to its plan. See docs/pipeline.md.

    python benchmarks/pipeline.py [MODEL ...] [--plans 3] [--cycles 8] [--json FILE]

Each model is planned as `multiedge plan --time-segments` does it, for two equal devices that are one core of this machine each,
and run in two workers with one thread each. Each stage alone on its core, the pipeline, one session with two threads and
again the stages take turns of a second or two, so that a slow phase of the machine affects all of them alike. Figures are
medians over the turns, with quartiles. A prediction is compared only with the "steady" turns: those in which the stages alone
were within a tenth of what the plan was made with.
"""

from __future__ import annotations

import argparse
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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import multiedge as me
from benchmarks.models import path_of
from benchmarks.page import Benchmark
from benchmarks.record import Figure, Measure, Record, Row, add_option
from benchmarks.tables import Column, between, case, figure, medians, spread, table
from multiedge.backends.contract import Session
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.executors import Pipeline, open_pipeline
from multiedge.executors.workers.options import Emulation, ProcessesOptions
from multiedge.fleet import Device, Fleet
from multiedge.plan import CALLER, Manifest, Part, Plan, Transfer
from partitioners import PARTITIONERS
from profilers.segments import SegmentTimer, refine

MODELS = ("vit_b16", "minilm", "efficientnet_lite0")
FLEET = Fleet((Device("left", speed=1.0), Device("right", speed=1.0)), name="two cores")
OWN_CORES = Emulation(speed=False, links=False, memory=False)
"""No emulation, except that each worker has its own core."""
RATIO_LIMIT = 0.98
DRIFT_LIMIT = 0.1
TURN_S, LEAST_ITEMS = 1.5, 8

Feed = Mapping[str, Any]


def planned(graph: me.Graph, directory: str) -> tuple[Plan, Manifest]:
    """The fastest plan on the two devices, its segments timed, and its parts."""
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
    session: Session
    items: int

    def stages_alone_s(self) -> list[float]:
        """Median seconds of each stage with nothing beside it, in a worker on the core that it has in the pipeline."""
        medians_s = []
        for pipeline, feed in self.alone:
            _, measured = pipeline.map([feed] * (self.items // 2))
            medians_s.append(statistics.median(event.seconds for event in measured.events if event.kind == "compute"))
        return medians_s

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
    """All of them, loaded and warm; they are closed with the context."""
    options = ProcessesOptions(warmup_items=4, emulation=OWN_CORES)
    items = max(LEAST_ITEMS, round(TURN_S / plan.estimate.bottleneck_s))
    with ExitStack() as running:
        held, alone = dict(feed), []
        for core, part in enumerate(manifest.parts):
            session = OnnxRuntimeBackend().open(Path(manifest.directory) / part.file)
            made = session.run(held)
            feeds = {name: held[name] for name in session.inputs}
            session.close()
            with only_core(core):
                stage = open_pipeline(single_stage(manifest, part), FLEET, options=options)
            alone.append((running.enter_context(stage), feeds))
            held.update(made)
        whole = OnnxRuntimeBackend().open(model, Device("whole", threads=2))
        running.callback(whole.close)
        pipeline = running.enter_context(open_pipeline(manifest, FLEET, options=options))
        warm = Contenders(pipeline, feed, alone, whole, items)
        warm.stages_alone_s()
        warm.pipeline_run()
        warm.session_fps()
        yield warm


def turns(running: Contenders, plan: Plan, count: int) -> Iterator[dict[str, float]]:
    """The figures of each turn; `drift` is how much slower the stages alone were than the plan's."""
    before = running.stages_alone_s()
    for _ in range(count):
        fps, busiest_s = running.pipeline_run()
        two_threads_fps = running.session_fps()
        after = running.stages_alone_s()
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


def measure(model: str, plans: int, cycles: int) -> Row:
    """Medians over every turn of every plan; each plan is made anew, with the machine as it is then."""
    path = path_of(model)
    graph = me.read_graph(path)
    feed = me.random_inputs(graph)
    samples: list[dict[str, float]] = []
    for _ in range(plans):
        with tempfile.TemporaryDirectory() as directory:
            plan, manifest = planned(graph, directory)
            with contenders(path, plan, manifest, feed) as running:
                samples += turns(running, plan, cycles)
    steady = [turn for turn in samples if abs(turn["drift"]) <= DRIFT_LIMIT]
    figures = {name: Figure.of(turn[name] for turn in samples) for name in samples[0]}
    figures["prediction_error"] = Figure.of(abs(turn["predicted_fps"] / turn["fps"] - 1) for turn in steady or samples)
    return Row({"model": model, "turns": len(samples), "steady_turns": len(steady)}, figures)


def section(record: Record) -> str:
    """What the record says, and its table."""
    columns = [
        case("model"),
        figure("fps", "items/s", ".2f"),
        spread("to_limit", "of the limit, %", ".1f", 100),
        figure("to_two_threads", "x one session", ".2f"),
        figure("predicted_fps", "predicted", ".2f"),
        figure("prediction_error", "error, %", ".1f", 100),
        Column("steady turns", lambda row: f"{row.case['steady_turns']} of {row.case['turns']}"),
    ]
    return (
        "As a share of their limit, which is what the slower one does alone, two stages on two cores reach"
        f" {between(medians(record, 'to_limit'), '.0%')} (the aim: {RATIO_LIMIT:.0%}). They are"
        f" {between(medians(record, 'to_two_threads'), '.2f')} times as fast as one session with two threads.\n\n"
        f"{table(columns, record.rows)}"
    )


BENCHMARK = Benchmark(
    "pipeline",
    "A running pipeline against its slowest stage, one session and its plan",
    {
        "fps": Measure("1/s", "items per second of the full pipeline"),
        "to_limit": Measure("1", "fps times the seconds of the slower stage alone on its core"),
        "to_busiest": Measure("1", "fps times the seconds of the slower stage in the same run"),
        "to_two_threads": Measure("1", "fps over that of one session of the whole model with two threads"),
        "predicted_fps": Measure("1/s", "one over the plan's bottleneck"),
        "drift": Measure("1", "how much slower the stages alone were than when the plan was made"),
        "prediction_error": Measure("1", "distance of predicted_fps from fps, in the steady turns"),
    },
    section,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help="functions of tests/builders/models.py, or ONNX files")
    parser.add_argument("--plans", type=int, default=3, help="plans that are made and run (default: 3)")
    parser.add_argument("--cycles", type=int, default=8, help="turns with each plan (default: 8)")
    add_option(parser)
    args = parser.parse_args()
    settings = {"plans": args.plans, "cycles": args.cycles}
    return BENCHMARK.finish(settings, lambda: [measure(name, args.plans, args.cycles) for name in args.models], args.json)


if __name__ == "__main__":
    sys.exit(main())
