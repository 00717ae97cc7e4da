"""A whole job: a model cut in two, run as a pipeline and run the way Ianvs's example runs its parts.

    python benchmarks/job.py [MODEL ...] [--items 120] [--rounds 5] [--json FILE]

Ianvs's multi-edge example runs the parts one after the other in one process, image by image, and prints as FPS the
images over the busy time of the slowest part. Here both ways take the same parts, settings (one thread each) and items,
and take turns. The table shows the rate that each reached, and the rate that such a formula prints.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import multiedge as me
from benchmarks.models import path_of
from benchmarks.page import Benchmark
from benchmarks.record import Figure, Measure, Record, Row, add_option
from benchmarks.tables import between, case, medians, spread, table
from multiedge.backends.contract import Session
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.executors import Pipeline, open_pipeline
from multiedge.executors.flow.contract import Tensors
from multiedge.executors.workers.options import Emulation

MODELS = ("efficientnet_lite0", "minilm")
FLEET = me.Fleet((me.Device("left", speed=1.0), me.Device("right", speed=1.0)), name="two equal devices")


def measure(model: str, items: int, rounds: int) -> Row:
    """Both ways in turn, `rounds` times."""
    graph = me.read_graph(path_of(model))
    inputs = [me.random_inputs(graph, seed=0)] * items
    profile = me.profile_model(graph, FLEET, "measured")
    plan = me.plan_model(profile, FLEET, "throughput")
    with tempfile.TemporaryDirectory() as folder:
        manifest = me.write_parts(graph, plan, folder)
        sessions = [OnnxRuntimeBackend().open(Path(folder) / part.file, FLEET.device(part.device)) for part in manifest.parts]
        with open_pipeline(manifest, FLEET, emulation=Emulation.none()) as pipeline:
            turns = [(_pipeline_fps(pipeline, inputs), *_in_turn_fps(sessions, inputs)) for _ in range(rounds)]
    figures = {
        "pipeline_fps": Figure.of(pipeline for pipeline, _, _ in turns),
        "in_turn_fps": Figure.of(in_turn for _, in_turn, _ in turns),
        "claimed_fps": Figure.of(claimed for _, _, claimed in turns),
        "speed_up": Figure.of(pipeline / in_turn for pipeline, in_turn, _ in turns),
    }
    return Row({"model": model}, figures)


def _pipeline_fps(pipeline: Pipeline, inputs: Sequence[Tensors]) -> float:
    begin = time.monotonic()
    results, _ = pipeline.map(inputs)
    seconds = time.monotonic() - begin
    for result in results:
        result.require()
    return len(results) / seconds


def _in_turn_fps(sessions: Sequence[Session], inputs: Sequence[Tensors]) -> tuple[float, float]:
    """The rate that was reached, and items over the busy time of the slowest part."""
    busy_s = [0.0] * len(sessions)
    begin = time.monotonic()
    for tensors in inputs:
        known = dict(tensors)
        for part, session in enumerate(sessions):
            start = time.monotonic()
            known.update(session.run(known))
            busy_s[part] += time.monotonic() - start
    return len(inputs) / (time.monotonic() - begin), len(inputs) / max(busy_s)


def section(record: Record) -> str:
    """What the record says, and its table."""
    columns = [
        case("model"),
        spread("pipeline_fps", "pipeline, items/s", ".1f"),
        spread("in_turn_fps", "in turn", ".1f"),
        spread("claimed_fps", "claimed", ".1f"),
        spread("speed_up", "pipeline / in turn", ".2f"),
    ]
    return (
        f"As a pipeline, two parts of one thread each answer {between(medians(record, 'speed_up'), '.2f')} times as many items"
        ' per second as one after the other in one process. "claimed" is the number of items over the busy time of the slowest'
        f" part.\n\n{table(columns, record.rows)}"
    )


BENCHMARK = Benchmark(
    "job",
    "A whole job: ours, and parts one after the other in one process",
    {
        "pipeline_fps": Measure("1/s", "items per second of a pipeline of two worker processes"),
        "in_turn_fps": Measure("1/s", "items per second of the parts one after the other in one process"),
        "claimed_fps": Measure("1/s", "items over the busy time of the slowest part, for the same run"),
        "speed_up": Measure("1", "pipeline_fps over in_turn_fps, by round"),
    },
    section,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"(default: {' '.join(MODELS)})")
    parser.add_argument("--items", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    add_option(parser)
    args = parser.parse_args()
    settings = {"items": args.items, "rounds": args.rounds}
    return BENCHMARK.finish(settings, lambda: [measure(name, args.items, args.rounds) for name in args.models], args.json)


if __name__ == "__main__":
    sys.exit(main())
