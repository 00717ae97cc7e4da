"""A whole job: a model cut in two, run as a pipeline and run the way Ianvs's example runs its parts.

    python benchmarks/job.py [--items 120] [--rounds 5] [--json]

Ianvs's multi-edge example runs the parts one after the other in one process, image by image, and prints as FPS the
images over the busy time of the slowest part. Here both ways take the same parts, settings (one thread each) and
items, in turn; beside the rate that each really reached stands the one that such a formula prints.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

import multiedge as me
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.executors import open_pipeline
from multiedge.executors.workers.options import Emulation
from multiedge.onnx_io import random_inputs

REPOSITORY = Path(__file__).resolve().parent.parent
FLEET = me.Fleet((me.Device("left", speed=1.0), me.Device("right", speed=1.0)), name="two equal devices")


@dataclass(frozen=True)
class Result:
    """Items per second, medians over the rounds; `ratio` is the median of the rounds' ratios."""

    model: str
    items: int
    rounds: int
    pipeline_fps: float
    in_turn_fps: float
    in_turn_claimed_fps: float
    ratio: float


def measure(path: Path, items: int, rounds: int) -> Result:
    graph = me.read_graph(path)
    inputs = [random_inputs(graph, seed=0)] * items
    profile = me.profile_model(graph, FLEET, "measured")
    plan = me.plan_model(profile, FLEET, "throughput")
    with tempfile.TemporaryDirectory() as folder:
        manifest = me.write_parts(graph, plan, folder)
        sessions = [OnnxRuntimeBackend.open(Path(folder) / part.file, FLEET.device(part.device)) for part in manifest.parts]
        with open_pipeline(manifest, FLEET, emulation=Emulation.none()) as pipeline:
            found = [(_pipeline(pipeline, inputs), *_in_turn(manifest, sessions, inputs)) for _ in range(rounds)]
    piped, turned, claimed = zip(*found, strict=True)
    ratios = [a / b for a, b in zip(piped, turned, strict=True)]
    medians = (statistics.median(values) for values in (piped, turned, claimed, ratios))
    return Result(path.stem.rpartition("-")[0], items, rounds, *medians)


def _pipeline(pipeline: object, inputs: list[dict[str, object]]) -> float:
    begin = time.monotonic()
    results, _ = pipeline.map(inputs)  # type: ignore[attr-defined]
    assert all(result.tensors is not None for result in results)
    return len(results) / (time.monotonic() - begin)


def _in_turn(manifest: me.Manifest, sessions: list[object], inputs: list[dict[str, object]]) -> tuple[float, float]:
    """The real rate, and items over the busy time of the slowest part."""
    busy_s = [0.0] * len(sessions)
    begin = time.monotonic()
    for tensors in inputs:
        held = dict(tensors)
        for part, session in enumerate(sessions):
            start = time.monotonic()
            held.update(session.run(held))  # type: ignore[attr-defined]
            busy_s[part] += time.monotonic() - start
    return len(inputs) / (time.monotonic() - begin), len(inputs) / max(busy_s)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    sys.path.insert(0, str(REPOSITORY / "tests"))
    from models import efficientnet_lite0, minilm

    results = [measure(path, args.items, args.rounds) for path in (efficientnet_lite0(), minilm())]
    if args.json:
        print(json.dumps([asdict(result) for result in results], indent=1))
        return 0
    table = Table(title=f"{args.items} items, {args.rounds} rounds in turn, 2 parts of one thread each", title_justify="left")
    for name in ("model", "pipeline items/s", "in turn items/s", "in turn, as busy time claims", "pipeline / in turn"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for found in results:
        rates = (found.pipeline_fps, found.in_turn_fps, found.in_turn_claimed_fps)
        table.add_row(found.model, *(f"{rate:.1f}" for rate in rates), f"{found.ratio:.2f}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
