"""How near profiles come to measured times: coverage, sum and random segments, for real models.

    python benchmarks/profiling.py [NAME ...] [--segments 20] [--seed 0] [--budget-s 8] [--json FILE]

For each model: how many nodes got their time by name, by output tensor or as part of a fused node; how far the scaled
sum of node times is from the unprofiled latency, which is timed in turn with the profiled one; and how far the sum over random
segments is from timing those segments as sub-models, before any segment timing is fed back. A segment has at least a tenth
of the model's time and begins and ends where strategies may cut. Each is timed in turn with the whole model, so that
a slow phase of the machine affects both, and by processor time, which with one thread is the time on a machine that does
nothing else. "drift" is how much slower the machine had become between profile and segments. Where that is more than a tenth,
as on shared hosts whose speed changes, the row is measured again, up to four times, and the one with the least drift is kept.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.models import path_of
from benchmarks.page import Benchmark
from benchmarks.record import Figure, Measure, Record, Row, add_option
from benchmarks.tables import between, case, figure, medians, table
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.backends.stages import Call
from multiedge.backends.timing import Accuracy, time_in_turn
from multiedge.fleet import Device, Fleet
from multiedge.graph import Graph
from multiedge.onnx_io import random_inputs, read_graph
from multiedge.plan import Stage
from multiedge.profile import Profile
from partitioners.engine.contract import contiguous_plan
from profilers.engine.cutting import part_calls
from profilers.engine.host import Host, model_path
from profilers.engine.macs import count_work, product_macs
from profilers.measured import MeasuredProfiler, host_name
from profilers.segments import SegmentTimer
from profilers.static import StaticProfiler

EXPORTED = ("vit_b16", "minilm", "efficientnet_lite0", "resnet50")
LIGHT_NAMES = ("squeezenet", "shufflenet", "inception_v1", "densenet121", "resnet50")
MODELS = (*EXPORTED, *(f"light_{name}" for name in LIGHT_NAMES))
FLEET = Fleet((Device("host"),), name="this machine")
DRIFT_LIMIT, TRIES = 0.1, 4
SEGMENT_ACCURACY = Accuracy(relative=0.02, budget_s=0.8, least=5, most=60, warmup=2)


def random_cuts(profile: Profile, count: int, seed: int) -> list[tuple[int, int]]:
    """Segments [start, stop) of at least a tenth of the model's time, between boundaries where a strategy may cut and at
    most two tensors cross."""
    graph, passed_s = profile.graph, np.concatenate([[0.0], np.cumsum(profile.seconds["host"])])
    open_ = [cut for cut in graph.cuts if profile.open_boundaries[cut.after]]
    ends = [cut.after for cut in open_ if 1 <= len(cut.tensors) <= 2] + [len(graph.nodes)]
    generator = np.random.default_rng(seed)
    segments: list[tuple[int, int]] = []
    while len(segments) < count:
        start, stop = sorted(generator.choice(ends, 2, replace=False).tolist())
        if passed_s[stop] - passed_s[start] >= passed_s[-1] / 10:
            segments.append((start, stop))
    return segments


def segment_times(
    graph: Graph, spans: Sequence[tuple[int, int]], profile: Profile, seed: int
) -> tuple[list[tuple[float, float]], float]:
    """(predicted, measured) seconds of each segment, and the whole model's processor time meanwhile.

    What is measured is corrected by how fast the machine is at the moment, from the whole model's latency then and when
    the profile was made."""
    path, feed = model_path(graph), random_inputs(graph, seed)
    whole = OnnxRuntimeBackend().open(path)
    action = Call(whole, feed, path)
    node_s, overhead_s = profile.seconds[host_name(1)], profile.overhead_s[host_name(1)]
    expected = profile.settings["host"]["1"]["latency_s"]
    pairs, latencies = [], []
    for start, stop in spans:
        bounds = sorted({0, start, stop, len(graph.nodes)})
        stages = [Stage.span("host", a, b) for a, b in pairwise(bounds)]
        plan = contiguous_plan("benchmark", "throughput", profile, FLEET, stages)
        timer = ReferencedTimer(bounds.index(start), action)
        timer.times(graph, plan, [Host()] * len(stages))
        predicted = float(node_s[start:stop].sum()) + overhead_s
        latencies.append(timer.whole_s)
        pairs.append((predicted, timer.segment_s * expected / timer.whole_s))
    whole.close()
    return pairs, float(np.median(latencies))


class ReferencedTimer(SegmentTimer):
    """Times one segment of a plan and the whole model in turn."""

    def __init__(self, wanted: int, whole: Callable[[], object]) -> None:
        super().__init__()
        self.wanted = wanted
        self.whole = whole
        self.whole_s = self.segment_s = 0.0

    def _time(self, graph: Graph, manifest: Any, hosts: Sequence[Host], wanted: set[int]) -> dict[int, float]:
        segment = part_calls(graph, manifest, hosts, {self.wanted})[self.wanted]
        timings = time_in_turn([self.whole, segment], SEGMENT_ACCURACY)
        self.whole_s, self.segment_s = (timing.cpu_median_s for timing in timings)
        return dict.fromkeys(wanted, self.segment_s)


def steadiest(name: str, segments: int, seed: int, budget_s: float) -> Row:
    """The row of one model from the try with the least drift."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    tries: list[Row] = []
    while len(tries) < TRIES and all(_drift(row) > DRIFT_LIMIT for row in tries):
        tries.append(measure(name, segments, seed, budget_s))
    return min(tries, key=_drift)


def _drift(row: Row) -> float:
    return abs(row.figures["drift"].median)


def measure(name: str, segments: int, seed: int, budget_s: float) -> Row:
    """One try."""
    graph = read_graph(path_of(name))
    static, static_s = timed(lambda: StaticProfiler("declared").profile(graph, FLEET))
    profile, measured_s = timed(lambda: MeasuredProfiler(budget_s=budget_s, seed=seed).profile(graph, FLEET))
    host = profile.settings["host"]["1"]
    spans = random_cuts(profile, segments, seed)
    pairs, cpu_s = segment_times(graph, spans, profile, seed)
    errors = [abs(predicted - measured) / measured for predicted, measured in pairs]
    node_s, counted_s = profile.seconds["host"], static.seconds["host"]
    guesses = [float(counted_s[a:b].sum() / counted_s.sum() * node_s.sum()) for a, b in spans]
    static_errors = [abs(guess - measured) / measured for guess, (_, measured) in zip(guesses, pairs, strict=True)]
    figures = {
        **{key: host["coverage"][key] for key in ("by_name", "by_tensor", "fused", "folded", "attributed")},
        "macs": float(product_macs(profile.graph, count_work(profile.graph))),
        "parameter_bytes": graph.parameter_bytes,
        "latency_s": host["latency_s"],
        "sum_error": abs(float(node_s.sum()) + host["overhead_s"] - host["latency_s"]) / host["latency_s"],
        "drift": cpu_s / host["cpu_s"] - 1,
        "segment_error": float(np.median(errors)),
        "segment_error_p90": float(np.quantile(errors, 0.9)),
        "static_error": float(np.median(static_errors)),
        "static_s": static_s,
        "measured_s": measured_s,
    }
    return Row({"model": name, "nodes": len(graph.nodes)}, {key: Figure(value) for key, value in figures.items()})


def timed(make: Callable[[], Profile]) -> tuple[Profile, float]:
    """The profile, and the seconds that it took to make."""
    begin = time.perf_counter()
    profile = make()
    return profile, time.perf_counter() - begin


def section(record: Record) -> str:
    """What the record says, and its table."""
    columns = [
        case("model"),
        case("nodes"),
        figure("macs", "GMACs", ".2f", 1e-9),
        figure("latency_s", "latency, ms", ".2f", 1e3),
        figure("segment_error", "error, %", ".1f", 100),
        figure("segment_error_p90", "p90", ".1f", 100),
        figure("static_error", "static", ".1f", 100),
        figure("drift", "drift", "+.0f", 100),
        figure("measured_s", "profiled, s", ".1f"),
    ]
    return (
        "With one thread, the measured profile predicts a random segment with a median error of"
        f" {between(medians(record, 'segment_error'), '.1%')}, by model."
        ' "static" is the error of counted operations, scaled to the same latency.\n\n'
        f"{table(columns, record.rows)}"
    )


BENCHMARK = Benchmark(
    "profiling",
    "Profiles against measured times",
    {
        "macs": Measure("1", "multiply-accumulates of the products in the model"),
        "parameter_bytes": Measure("B", "parameters"),
        "by_name": Measure("1", "nodes that got their time by name"),
        "by_tensor": Measure("1", "nodes that got their time by the tensor that they make"),
        "fused": Measure("1", "nodes that got a share of the time of a fused node"),
        "folded": Measure("1", "nodes that the runtime folds into constants"),
        "attributed": Measure("1", "share of the time that is attributed to the nodes that it came from"),
        "latency_s": Measure("s", "of the whole model without the runtime's profiler"),
        "sum_error": Measure("1", "distance of the sum over all nodes from latency_s"),
        "drift": Measure("1", "how much slower the machine was for the segments than for the profile"),
        "segment_error": Measure("1", "median distance of a segment's predicted time from its measured one"),
        "segment_error_p90": Measure("1", "90th percentile of that distance"),
        "static_error": Measure("1", "median distance for the static profile, scaled to the same latency"),
        "static_s": Measure("s", "time to make the static profile"),
        "measured_s": Measure("s", "time to make the measured profile"),
    },
    section,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"of {', '.join(MODELS)} (default: all), or ONNX files")
    parser.add_argument("--segments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget-s", type=float, default=8.0)
    add_option(parser)
    args = parser.parse_args()
    settings = {"segments": args.segments, "seed": args.seed, "budget_s": args.budget_s}
    return BENCHMARK.finish(
        settings, lambda: [steadiest(name, args.segments, args.seed, args.budget_s) for name in args.models], args.json
    )


if __name__ == "__main__":
    sys.exit(main())
