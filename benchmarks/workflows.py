"""Workflows under load: a cascade, an ensemble and a video pipeline with random arrivals, and what the simulator says of them.

    python benchmarks/workflows.py [--items 300] [--distinct 80] [--turns 3] [--json FILE]

Each step of a workflow runs on an emulated device of its own. What each item takes in each stage is measured just before each
run, one item at a time: the cascade's second model runs for a third of the items, and the video's classifier for 0 to 4 boxes.
At each share of the pipeline's rate, the run and the simulation have the same arrivals (scenario 'server', one seed) and the
same items in the same order, so that percentiles do not differ by chance. Each workflow runs twice: with models that compute,
whose times depend on what else the machine does, and with functions that wait instead, as long as an item's number says.
Figures are medians of several turns.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx.parser
from onnx import numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.page import Benchmark
from benchmarks.record import Case, Figure, Measure, Record, Row, add_option
from benchmarks.tables import Column, figure, spread, table
from multiedge.backends.contract import Tensors
from multiedge.calibration import kept_pipeline_cost
from multiedge.composed import step_of
from multiedge.executors import Pipeline, open_pipeline
from multiedge.executors.flow.scenarios import scenario
from multiedge.executors.workers.options import ProcessesOptions
from multiedge.fleet import Device, Fleet, Link
from multiedge.graph import Graph
from multiedge.measurements import Measurements
from multiedge.metrics.percentiles import percentile
from multiedge.onnx_io import read_graph, write_parts
from multiedge.plan import Plan
from multiedge.profile import Profile
from multiedge.run import plan_by_hand, profile_model
from multiedge.simulation.presence import stage_batches
from multiedge.simulation.simulate import Items, ItemWork, Load, StageBatch, simulate
from multiedge.workflows import compose
from multiedge.workflows.optimiser.written import step_stages

SIDE = 256
LAYERS = 12
"""Products of matrices of SIDE in the models; each takes about a quarter of a millisecond."""
MOST_BOXES = 4
RATE = 0.35
"""The share of items for which the cascade's second model runs."""
LINK = Link(bandwidth_bytes_per_s=100e6, latency_s=0.002)
FLEET = Fleet(
    (Device("first", speed=0.15), Device("second", speed=0.1), Device("third", speed=0.15)),
    {("first", "second"): LINK, ("second", "third"): LINK, ("first", "third"): LINK},
    name="three emulated devices",
)
LOADS_PERCENT = (50, 80)
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
SEED = 1
LIMIT = 0.10
"""How far simulated percentiles may be from those of the run."""

CASCADE = f"""\
name: cascade
inputs:
  image: {{dtype: float32, shape: [1, {SIDE}, {SIDE}]}}
  doubt: {{dtype: float32, shape: [1, 1]}}
steps:
  small: {{model: small.onnx, inputs: {{x: image, u: doubt}}}}
  large:
    model: large.onnx
    inputs: {{x: image, u: doubt}}
    when: {{tensor: small.v, max: {{below: {RATE}}}}}
    rate: {RATE}
  pick: {{first_of: [large.y, small.y]}}
outputs: {{y: pick}}
"""
ENSEMBLE = f"""\
name: ensemble
inputs:
  image: {{dtype: float32, shape: [1, {SIDE}, {SIDE}]}}
  doubt: {{dtype: float32, shape: [1, 1]}}
steps:
  small: {{model: small.onnx, inputs: {{x: image, u: doubt}}}}
  large: {{model: large.onnx, inputs: {{x: image, u: doubt}}}}
  mean:
    transform: transforms.py:mean
    inputs: {{a: small.y, b: large.y}}
    outputs: {{y: {{dtype: float32, shape: [1, {SIDE}]}}}}
outputs: {{y: mean}}
"""
VIDEO = f"""\
name: video
inputs:
  image: {{dtype: float32, shape: [1, {SIDE}, {SIDE}]}}
  doubt: {{dtype: float32, shape: [1, 1]}}
steps:
  detect: {{model: small.onnx, inputs: {{x: image, u: doubt}}}}
  crop:
    transform: transforms.py:crop
    inputs: {{image: image, doubt: detect.v}}
    outputs: {{crops: {{dtype: float32, shape: [boxes, {SIDE}, {SIDE}]}}}}
  classify: {{model: classify.onnx, inputs: {{x: crop.crops}}, batch: 2, timeout_ms: 20}}
sizes: {{boxes: 2}}
outputs: {{y: classify.y}}
"""
TRANSFORMS = f"""\
import time

import numpy as np


def mean(*, a, b):
    return {{"y": (a + b) / 2}}


def _wait(seconds, u):
    time.sleep(seconds * (0.7 + 0.6 * (float(u) * 7 % 1)))


def small(*, x, u):
    _wait(0.020, u[0, 0])
    return {{"y": x[:, 0], "v": u}}


def large(*, x, u):
    _wait(0.045, u[0, 0])
    return {{"y": x[:, 0], "v": u}}


def classify(*, x):
    time.sleep(0.001 + 0.011 * len(x))
    return {{"y": x[:, 0]}}


def crop(*, image, doubt):
    boxes = min({MOST_BOXES}, int(doubt[0, 0] * {MOST_BOXES + 1}))
    return {{"crops": np.repeat(image, boxes, axis=0)}}
"""
WORKFLOWS = {"cascade": CASCADE, "ensemble": ENSEMBLE, "video": VIDEO}
COMPUTES, WAITS = "computes", "waits"
OUTPUTS = {
    "small": f"{{y: {{dtype: float32, shape: [1, {SIDE}]}}, v: {{dtype: float32, shape: [1, 1]}}}}",
    "large": f"{{y: {{dtype: float32, shape: [1, {SIDE}]}}, v: {{dtype: float32, shape: [1, 1]}}}}",
    "classify": f"{{y: {{dtype: float32, shape: [boxes, {SIDE}]}}}}",
}


@dataclass(frozen=True, eq=False)
class Planned:
    """A workflow with a stage for each step."""

    graph: Graph
    profile: Profile
    plan: Plan
    folder: Path
    batches: Mapping[int, StageBatch]


def layers(count: int, reads: str, ends: str) -> str:
    """The text of so many products of matrices of one weight."""
    names = [reads, *(f"h{number}" for number in range(count))]
    products = [f"{after} = MatMul({before}, w)" for before, after in pairwise(names)]
    return " ".join([*products, ends.replace("LAST", names[-1])])


def save_models(folder: Path) -> None:
    """Models that take milliseconds: of a matrix and a number, and of any number of matrices."""
    mean = "y = ReduceMean<axes = [1], keepdims = 0>(LAST)"
    ends = f"{mean} none = Mul(y, zero) least = ReduceMax<axes = [1]>(none) v = Add(u, least)"
    both = f"(float[1, {SIDE}, {SIDE}] x, float[1, 1] u) => (float[1, {SIDE}] y, float[1, 1] v)"
    many = f"(float[n, {SIDE}, {SIDE}] x) => (float[n, {SIDE}] y)"
    texts = {
        "small": f"small {both} {{ {layers(LAYERS // 2, 'x', ends)} }}",
        "large": f"large {both} {{ {layers(LAYERS, 'x', ends)} }}",
        "classify": f"classify {many} {{ {layers(LAYERS // 4, 'x', mean)} }}",
    }
    weight = np.random.default_rng(SEED).normal(0, 1 / SIDE, (SIDE, SIDE)).astype(np.float32)
    constants = {"w": weight, "zero": np.zeros(1, dtype=np.float32)}
    for name, text in texts.items():
        model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
        model.graph.initializer.extend(numpy_helper.from_array(values, each) for each, values in constants.items())
        onnx.save(model, folder / f"{name}.onnx")


def waiting(text: str) -> str:
    """The workflow with functions that wait in place of its models."""
    for name, outputs in OUTPUTS.items():
        text = text.replace(f"{{model: {name}.onnx,", f"{{transform: transforms.py:{name}, outputs: {outputs},")
        text = text.replace(f"model: {name}.onnx", f"transform: transforms.py:{name}\n    outputs: {outputs}")
    return text.replace(", batch: 2, timeout_ms: 20", "")


def planned(text: str, folder: Path) -> Planned:
    """The workflow with each step on the next device, and its parts."""
    save_models(folder)
    (folder / "transforms.py").write_text(TRANSFORMS, encoding="utf-8")
    path = folder / "workflow.yaml"
    path.write_text(text, encoding="utf-8")
    graph = read_graph(compose(path, folder / "cache"))
    names = list(dict.fromkeys(step_of(node.name.partition("/")[0]) for node in graph.nodes))
    steps = [name for name in names if name in ("small", "large", "mean", "detect", "crop", "classify")]
    profile = replace(profile_model(graph, FLEET, reference="declared"), pipeline=kept_pipeline_cost())
    stages = step_stages(graph, steps, [(name,) for name in FLEET.names[: len(steps)]])
    plan = plan_by_hand(profile, FLEET, stages)
    write_parts(graph, plan, folder / "plan", profile=profile)
    return Planned(graph, profile, plan, folder / "plan", stage_batches(plan, graph))


def feed(count: int) -> list[Tensors]:
    """Items with a number each, on which conditions and boxes depend."""
    rng = np.random.default_rng(SEED)
    image = rng.normal(0, 1, (1, SIDE, SIDE)).astype(np.float32)
    return [{"image": image, "doubt": np.array([[value]], np.float32)} for value in rng.random(count)]


@dataclass(frozen=True, eq=False)
class Turn:
    """A run at one load, and its simulations: with what the items took just before the run, and with what they took in it."""

    ran: Measurements
    simulated: Measurements
    at_pace: Measurements


def row_of(name: str, work: str, load_percent: int, percent: str, turns: Sequence[Turn]) -> Row:
    """The figures of one percentile."""

    def latency_s(run: Measurements) -> float:
        return percentile([item.latency_s for item in run.items], PERCENTILES[percent])

    figures = {
        "latency_s": Figure.of(latency_s(turn.ran) for turn in turns),
        "simulated_s": Figure.of(latency_s(turn.simulated) for turn in turns),
        "simulated_error": Figure.of(latency_s(turn.simulated) / latency_s(turn.ran) - 1 for turn in turns),
        "at_pace_s": Figure.of(latency_s(turn.at_pace) for turn in turns),
        "at_pace_error": Figure.of(latency_s(turn.at_pace) / latency_s(turn.ran) - 1 for turn in turns),
    }
    items = len(turns[0].ran.items)
    case: Case = {"workflow": name, "work": work, "load_percent": load_percent, "percentile": percent, "items": items}
    return Row(case, figures)


def one_turn(pipeline: Pipeline, task: Planned, load_percent: int, items: int, given: Sequence[Tensors]) -> Turn:
    """What the items take now, one at a time, then a run at this share of the rate that follows."""
    _, alone = pipeline.map(given, scenario("singlestream"))
    per_s = load_percent / 100 / busiest_s(task, alone)
    sent = [given[number % len(given)] for number in range(items)]
    results, ran = pipeline.map(sent, scenario("server", rate_per_s=per_s))
    for result in results:
        result.require()
    load = Load(items, interval_s=1 / per_s, seed=SEED, in_flight=items)

    def simulated(measured: Measurements) -> Measurements:
        work = Items(ItemWork.measured(task.plan, task.profile, measured), task.batches)
        return simulate(task.plan, task.profile, FLEET, load=load, items=work)

    return Turn(ran, simulated(alone), simulated(ran))


def measure_workflow(name: str, kind: str, options: argparse.Namespace) -> Iterator[Row]:
    """A row for each load and percentile."""
    text = WORKFLOWS[name] if kind == COMPUTES else waiting(WORKFLOWS[name])
    with tempfile.TemporaryDirectory() as directory:
        task, given = planned(text, Path(directory)), feed(options.distinct)
        with open_pipeline(task.folder, FLEET, options=ProcessesOptions(warmup_items=10, seed=SEED)) as pipeline:
            turns = [
                [one_turn(pipeline, task, load_percent, options.items, given) for load_percent in LOADS_PERCENT]
                for _ in range(options.turns)
            ]
    for load_percent, of_load in zip(LOADS_PERCENT, zip(*turns, strict=True), strict=True):
        for percent in PERCENTILES:
            yield row_of(name, kind, load_percent, percent, of_load)


def busiest_s(task: Planned, alone: Measurements) -> float:
    """The mean time per item of the busiest device."""
    busy = {
        device: sum(event.seconds for event in alone.events if event.kind == "compute" and event.device == device)
        for device in alone.devices
    }
    return max(busy.values()) / len(alone.items)


def _label(row: Row) -> str:
    return f"{row.case['workflow']} {row.case['work']} {row.case['load_percent']}% {row.case['percentile']}"


def section(record: Record) -> str:
    """What the record says, and its table."""
    said = " ".join(_said(record, kind) for kind in (COMPUTES, WAITS) if any(row.case["work"] == kind for row in record.rows))
    columns = [
        Column("workflow", _label),
        figure("latency_s", "run, ms", ".1f", 1e3),
        figure("simulated_s", "simulated", ".1f", 1e3),
        spread("simulated_error", "error, %", "+.1f", 1e2),
        figure("at_pace_s", "at pace", ".1f", 1e3),
        figure("at_pace_error", "error, %", "+.1f", 1e2),
    ]
    return (
        f"The simulated p99 latency is to be within {LIMIT:.0%} of the run's. {said}\n\nWorkflows on emulated devices, with"
        " random arrivals at a share of the pipeline's rate. First with what each item took just before the run; at pace, with"
        " what it took in the run, since times change with what else the machine does. Medians of several turns, in brackets"
        " the quartiles.\n\n"
        f"{table(columns, record.rows)}"
    )


def _said(record: Record, kind: str) -> str:
    """The largest errors of the p99 latency."""
    tails = [row for row in record.rows if (row.case["percentile"], row.case["work"]) == ("p99", kind)]
    before, at_pace = (max(abs(row.figures[name].median) for row in tails) for name in ("simulated_error", "at_pace_error"))
    return f"Where stages {'compute' if kind == COMPUTES else 'wait'}, it is {before:.1%} off at most, {at_pace:.1%} at pace."


MEASURES = {
    "latency_s": Measure("s", "the percentile of the run's latencies, the median of all turns"),
    "simulated_s": Measure("s", "the same, simulated with what each item took alone just before the run"),
    "simulated_error": Measure("1", "simulated_s / latency_s - 1"),
    "at_pace_s": Measure("s", "simulated with what each item took in the run"),
    "at_pace_error": Measure("1", "at_pace_s / latency_s - 1"),
}
BENCHMARK = Benchmark("workflows", "Workflows under load: runs and their simulations", MEASURES, section)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--distinct", type=int, default=80)
    parser.add_argument("--turns", type=int, default=3, help="how often each load runs; default: %(default)s")
    parser.add_argument("--work", choices=(COMPUTES, WAITS), help="one of them; default: both")
    parser.add_argument("--workflow", choices=list(WORKFLOWS), action="append", help="some of them; default: all")
    add_option(parser)
    args = parser.parse_args()
    names = args.workflow or list(WORKFLOWS)
    kinds = [args.work] if args.work else [COMPUTES, WAITS]
    settings = {"items": args.items, "distinct": args.distinct, "turns": args.turns}

    def measure() -> list[Row]:
        return [row for name in names for kind in kinds for row in measure_workflow(name, kind, args)]

    return BENCHMARK.finish(settings, measure, args.json)


if __name__ == "__main__":
    sys.exit(main())
