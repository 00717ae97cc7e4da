"""How near a real pipeline comes to its limit and to its plan. See docs/pipeline.md and docs/measuring.md.

    python benchmarks/pipeline.py [MODEL ...] [--seconds 270] [--json FILE]

Each model is planned as `multiedge plan --time-segments` does it, for two and for three equal devices that are one core of this
machine each. Two cores run three cases: two devices, three devices, and two devices beside a busy loop. The cases, each of two
stages alone on its core, and one session with two threads take turns of a second or two, so that a slow phase of the machine
affects all of them alike. Figures are medians over the turns, with quartiles. Predictions are compared with every turn: as they
were made, and at the pace that the machine had in that turn. The turns end with the time, however unsteady the machine is.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
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
from benchmarks.tables import between, case, figure, medians, spread, table
from multiedge.backends.contract import Session
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.executors import Pipeline, open_pipeline
from multiedge.executors.workers.options import Emulation, ProcessesOptions
from multiedge.fleet import Device, Fleet
from multiedge.metrics import compute
from multiedge.plan import CALLER, Manifest, Part, Plan, Transfer
from partitioners import PARTITIONERS
from profilers.segments import SegmentTimer, refine

MODELS = ("vit_b16", "minilm", "efficientnet_lite0")
NAMES = ("left", "right", "middle")
CORES = 2
CASES = {"two devices": (2, False), "three devices": (3, False), "two, and a busy loop": (2, True)}
"""How many devices there are, and whether a busy loop runs beside them."""
ALONE = "two devices"
OWN_CORES = Emulation(speed=False, links=False, memory=False)
"""No emulation, except that each worker has its own core."""
RATIO_LIMIT = 0.98
TURN_S, LEAST_ITEMS = 1.5, 8
PREDICTIONS = ("fps", "fps_predicted", "fps_predicted_at_pace", "prediction_error", "prediction_error_at_pace")
BUSY_LOOP = (sys.executable, "-c", "while True: pass")
SECONDS, LEAST_S = 270.0, 10.0
"""How long all models take together, and what a model must have left to be begun."""

Feed = Mapping[str, Any]


def fleet_of(count: int) -> Fleet:
    """So many equal devices."""
    return Fleet(tuple(Device(name, speed=1.0) for name in NAMES[:count]), name=f"{count} devices")


def planned(graph: me.Graph, fleet: Fleet, directory: str) -> tuple[Plan, Manifest]:
    """The fastest plan on the devices, its segments timed, and its parts."""
    profile = me.profile_model(graph, fleet, "measured")
    _, plan, _ = refine(profile, fleet, PARTITIONERS.load("throughput")(), SegmentTimer())
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


@contextmanager
def busy_loop(wanted: bool) -> Iterator[None]:
    """A process that computes all the while, if it is wanted."""
    if not wanted:
        yield
        return
    process = subprocess.Popen(BUSY_LOOP)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Contenders:
    """What takes turns: a pipeline with its plan for each number of devices, each of two stages in a pipeline of its own, and
    the whole model with two threads."""

    pipelines: Mapping[int, tuple[Pipeline, Plan]]
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

    def predicted(self, case: str) -> dict[str, float]:
        """The measured and the predicted rates of one run; those of runs that are too short are left out."""
        devices, is_busy = CASES[case]
        pipeline, plan = self.pipelines[devices]
        with busy_loop(is_busy):
            _, measured = pipeline.map([self.feed] * self.items)
        figures = compute(measured, PREDICTIONS, plan=plan)
        return {name: figure.value for name, figure in figures.items() if figure.value is not None}

    def full_run(self) -> tuple[float, float]:
        """Items per second between the first and the last answer, while the pipeline is full, and the median seconds of
        the slowest stage in this very run."""
        results, measured = self.pipelines[CASES[ALONE][0]][0].map([self.feed] * self.items)
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
def contenders(model: Path) -> Iterator[Contenders]:
    """All of them, loaded and warm; they are closed with the context."""
    graph = me.read_graph(model)
    feed: Feed = me.random_inputs(graph)
    options = ProcessesOptions(warmup_items=4, emulation=OWN_CORES)
    with ExitStack() as running:
        pipelines: dict[int, tuple[Pipeline, Plan]] = {}
        manifests: dict[int, Manifest] = {}
        for count in sorted({devices for devices, _ in CASES.values()}):
            plan, manifests[count] = planned(graph, fleet_of(count), running.enter_context(tempfile.TemporaryDirectory()))
            pipeline = running.enter_context(open_pipeline(manifests[count], fleet_of(count), options=options))
            pipelines[count] = pipeline, plan
        count, _ = CASES[ALONE]
        alone = [running.enter_context(each) for each in stages_alone(manifests[count], fleet_of(count), options)]
        whole = OnnxRuntimeBackend().open(model, Device("whole", threads=CORES))
        running.callback(whole.close)
        items = max(LEAST_ITEMS, round(TURN_S / pipelines[count][1].estimate.bottleneck_s))
        yield Contenders(pipelines, feed, list(zip(alone, stage_feeds(manifests[count], feed), strict=True)), whole, items)


def stages_alone(manifest: Manifest, fleet: Fleet, options: ProcessesOptions) -> Iterator[Pipeline]:
    """A pipeline of each stage, on the core that the stage has in the whole one."""
    for core, part in enumerate(manifest.parts):
        with only_core(core):
            yield open_pipeline(single_stage(manifest, part), fleet, options=options)


def stage_feeds(manifest: Manifest, feed: Feed) -> list[Feed]:
    """The inputs of each stage."""
    held, feeds = dict(feed), list[Feed]()
    for part in manifest.parts:
        session = OnnxRuntimeBackend().open(Path(manifest.directory) / part.file)
        feeds.append({name: held[name] for name in session.inputs})
        held.update(session.run(held))
        session.close()
    return feeds


def turn(running: Contenders) -> dict[str, dict[str, float]]:
    """The figures of each case, once."""
    before = running.stages_alone_s()
    fps, busiest_s = running.full_run()
    two_threads_fps = running.session_fps()
    figures = {case: running.predicted(case) for case in CASES}
    after = running.stages_alone_s()
    alone_s = statistics.mean((max(before), max(after)))
    ratios = {"to_limit": fps * alone_s, "to_busiest": fps * busiest_s, "to_two_threads": fps / two_threads_fps}
    return figures | {ALONE: figures[ALONE] | ratios}


def measure(model: str, until_s: float) -> list[Row]:
    """Medians over the turns until that moment: a row for each case."""
    with contenders(path_of(model)) as running:
        turn(running)  # the first runs of everything are slower
        turns = [turn(running)]
        while time.monotonic() < until_s:
            turns.append(turn(running))
    return [row(model, case, [figures[case] for figures in turns]) for case in CASES]


def row(model: str, case: str, turns: Sequence[Mapping[str, float]]) -> Row:
    """The medians of a case, over the turns in which each figure was measured."""
    names = dict.fromkeys(name for figures in turns for name in figures)
    figures = {name: Figure.of(each[name] for each in turns if name in each) for name in names}
    return Row({"model": model, "case": case, "turns": len(turns)}, figures)


def measure_all(models: Sequence[str], seconds: float) -> list[Row]:
    """The rows of all models; each gets an equal share of the time that is left."""
    until_s, rows = time.monotonic() + seconds, []
    for number, model in enumerate(models):
        left_s = until_s - time.monotonic()
        if left_s < LEAST_S:
            rows.append(Row({"model": model}, failure="no time was left"))
        else:
            rows += measure(model, time.monotonic() + left_s / (len(models) - number))
    return rows


def section(record: Record) -> str:
    """What the record says, and its table."""
    columns = [
        case("model"),
        case("case"),
        spread("to_limit", "of the limit, %", ".1f", 100),
        figure("to_two_threads", "x one session", ".2f"),
    ]
    predictions = [
        case("model"),
        case("case"),
        figure("fps", "items/s", ".2f"),
        figure("fps_predicted", "predicted", ".2f"),
        figure("prediction_error", "error, %", ".1f", 100),
        figure("prediction_error_at_pace", "at pace, %", ".1f", 100),
        case("turns"),
    ]
    rows = [row for row in record.rows if not row.failure]
    return (
        "As a share of their limit, which is what the slower one does alone, two stages on two cores reach"
        f" {between(medians(record, 'to_limit'), '.0%')} (the aim: {RATIO_LIMIT:.0%}). They are"
        f" {between(medians(record, 'to_two_threads'), '.2f')} times as fast as one session with two threads.\n\n"
        f"{table(columns, [row for row in rows if row.median('to_limit') is not None])}\n\n"
        f"At the pace that the machine had meanwhile, predictions are wrong by"
        f" {between(medians(record, 'prediction_error_at_pace'), '.1%')} (the aims: 5% with a core for each device, 10% with"
        " three devices on two cores and beside a busy loop).\n\n"
        f"{table(predictions, rows)}"
    )


BENCHMARK = Benchmark(
    "pipeline",
    "A running pipeline against its slowest stage, one session and its plan",
    {
        "fps": Measure("1/s", "items per second"),
        "to_limit": Measure("1", "full pipeline's items per second times the seconds of the slower stage alone on its core"),
        "to_busiest": Measure("1", "the same with the seconds of the slower stage in the same run"),
        "to_two_threads": Measure("1", "full pipeline's items per second over those of one session with two threads"),
        "fps_predicted": Measure("1/s", "what the plan predicts for the run, on two cores"),
        "fps_predicted_at_pace": Measure("1/s", "the same at the pace that the machine had in this turn"),
        "prediction_error": Measure("1", "distance of fps_predicted from fps"),
        "prediction_error_at_pace": Measure("1", "distance of fps_predicted_at_pace from fps"),
    },
    section,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help="functions of tests/builders/models.py, or ONNX files")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of all models together (default: {SECONDS:g})")
    add_option(parser)
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    return BENCHMARK.finish({"seconds": round(args.seconds)}, lambda: measure_all(args.models, args.seconds), args.json)


if __name__ == "__main__":
    sys.exit(main())
