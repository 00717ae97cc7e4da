"""Latency under load: a pipeline with random arrivals, and what the simulator says of it.

    python benchmarks/load.py [--items 700] [--json FILE]

Three stages of known cost run on emulated devices: two that compute, on devices of a fifth and of an eighth of this machine's
speed, and one that waits. Links have a bandwidth and a latency. How long each stage takes is measured first, one item at a
time, as a profile measures a model: what a stage does beside its work is slowed down with it. At each share of the pipeline's
rate, the run and the simulation have the same arrivals (scenario 'server', one seed), so that percentiles do not differ by
chance.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.page import Benchmark
from benchmarks.record import Case, Figure, Measure, Record, Row, add_option
from benchmarks.tables import Column, figure, medians, table
from multiedge.executors import Pipeline, open_pipeline
from multiedge.executors.flow.scenarios import scenario
from multiedge.executors.workers.options import ProcessesOptions
from multiedge.fleet import Device, Fleet, Link
from multiedge.graph import Graph, Node, Tensor
from multiedge.measurements import Measurements
from multiedge.metrics.percentiles import percentile
from multiedge.plan import Manifest, Part, Plan, Stage, relay_transfers
from multiedge.planning import cost
from multiedge.profile import Profile
from multiedge.simulation.simulate import Load, simulate

NBYTES = 20_000
LINK = Link(bandwidth_bytes_per_s=2e6, latency_s=0.004)
STAGES: Sequence[tuple[Device, dict[str, float], float]] = (
    (Device("fifth", speed=0.2, backend="synthetic"), {"work_seconds": 0.008}, 0.040),
    (Device("eighth", speed=0.125, backend="synthetic"), {"work_seconds": 0.006}, 0.048),
    (Device("waits", backend="synthetic"), {"seconds": 0.032}, 0.032),
)
"""Device, what its stage does, and how long that takes on the device."""
MEASURED_ITEMS = 60
"""Items, one at a time, from which the times of the stages are measured before the runs."""
LOADS_PERCENT = (50, 80)
"""Shares of the most items per second."""
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
SEED = 1
LIMIT = 0.10
"""How far simulated percentiles may be from those of the run."""


def fleet() -> Fleet:
    """The devices, each with the same link to the next."""
    devices = tuple(device for device, _, _ in STAGES)
    return Fleet(devices, {(a.name, b.name): LINK for a, b in pairwise(devices)}, name="three emulated devices")


def planned(devices: Fleet) -> tuple[Profile, Plan]:
    """One node for each stage, on its device."""
    count = len(STAGES)
    tensors = {f"t{number}": Tensor(f"t{number}", "uint8", (NBYTES,), NBYTES) for number in range(count + 1)}
    nodes = tuple(Node(f"n{number}", "Synthetic", (f"t{number}",), (f"t{number + 1}",)) for number in range(count))
    graph = Graph("three stages", nodes, ("t0",), (f"t{count}",), tensors)
    seconds = {device.name: np.full(count, took_s) for device, _, took_s in STAGES}
    profile = Profile(graph, np.zeros(count, dtype=np.int64), np.zeros(count), seconds)
    stages = [Stage.span(device.name, number, number + 1) for number, (device, _, _) in enumerate(STAGES)]
    transfers = relay_transfers(graph, stages, profile.cut_bytes.tolist())
    return profile, cost.make_plan("by hand", "throughput", profile, devices, stages, transfers)


def parts(plan: Plan, directory: str) -> Manifest:
    """The plan's parts: a description of each stage."""
    made = []
    for number, (device, work, _) in enumerate(STAGES):
        reads, writes = f"t{number}", f"t{number + 1}"
        output: Any = {writes: {"shape": [NBYTES], "dtype": "uint8"}}
        file = f"stage_{number}.json"
        Path(directory, file).write_text(json.dumps({"inputs": [reads], "outputs": output, **work}), encoding="utf-8")
        made.append(Part(number, file, device.name, (reads,), (writes,), {}))
    return Manifest("three stages", "", ("t0",), (f"t{len(STAGES)}",), tuple(made), plan.transfers, "none", directory, plan)


@contextmanager
def opened(plan: Plan, devices: Fleet) -> Iterator[Pipeline]:
    """The running pipeline."""
    with tempfile.TemporaryDirectory() as directory:
        options = ProcessesOptions(warmup_items=20, seed=SEED)
        with open_pipeline(parts(plan, directory), devices, options=options) as pipeline:
            yield pipeline


def at_pace(profile: Profile, measured: Measurements) -> Profile:
    """The profile with each stage's mean time in this run, which other work of the machine affects."""
    seconds = dict(profile.seconds)
    for device in measured.devices:
        took = [event.seconds for event in measured.events if event.kind == "compute" and event.device == device]
        seconds[device] = np.full(len(profile), statistics.fmean(took))
    return replace(profile, seconds=seconds)


def rows_of(load_percent: int, measured: Measurements, simulated: Measurements, paced: Measurements) -> Iterator[Row]:
    """A row for each percentile."""
    ran, said, said_at_pace = ([item.latency_s for item in each.items] for each in (measured, simulated, paced))
    for name, p in PERCENTILES.items():
        latency_s, simulated_s, paced_s = (percentile(each, p) for each in (ran, said, said_at_pace))
        figures = {
            "latency_s": latency_s,
            "simulated_s": simulated_s,
            "error": simulated_s / latency_s - 1,
            "at_pace_s": paced_s,
            "error_at_pace": paced_s / latency_s - 1,
        }
        case: Case = {"load_percent": load_percent, "percentile": name, "items": len(ran)}
        yield Row(case, {measure: Figure(value) for measure, value in figures.items()})


def measure(items: int) -> list[Row]:
    """A row for each load and percentile."""
    devices = fleet()
    profile, plan = planned(devices)
    feed = {"t0": np.zeros(NBYTES, dtype=np.uint8)}
    rows: list[Row] = []
    with opened(plan, devices) as pipeline:
        _, alone = pipeline.map([feed] * MEASURED_ITEMS, scenario("singlestream"))
        before = at_pace(profile, alone)
        for load_percent in LOADS_PERCENT:
            rate = plan.estimate.fps_bound * load_percent / 100
            results, measured = pipeline.map([feed] * items, scenario("server", rate_per_s=rate))
            for result in results:
                result.require()
            load = Load(items, interval_s=1 / rate, seed=SEED)
            runs = [simulate(plan, costs, devices, load=load) for costs in (before, at_pace(profile, measured))]
            rows += rows_of(load_percent, measured, *runs)
    return rows


def section(record: Record) -> str:
    """What the record says, and its table."""
    worst = {name: max(map(abs, medians(record, name))) for name in ("error", "error_at_pace")}
    columns = [
        Column("load", lambda row: f"{row.case['load_percent']}% {row.case['percentile']}"),
        figure("latency_s", "run, ms", ".1f", 1e3),
        figure("simulated_s", "simulated", ".1f", 1e3),
        figure("error", "error, %", "+.1f", 1e2),
        figure("at_pace_s", "at pace", ".1f", 1e3),
        figure("error_at_pace", "error, %", "+.1f", 1e2),
    ]
    return (
        "Three stages on emulated devices, random arrivals at a share of the pipeline's rate: the percentiles of latency that"
        f" the simulator states before the run are within {worst['error']:.1%} of the run's, and within"
        f' {worst["error_at_pace"]:.1%} (the aim: {LIMIT:.0%}) "at pace", with the mean times of the stages in the run.\n\n'
        f"{table(columns, record.rows)}"
    )


MEASURES = {
    "latency_s": Measure("s", "the percentile of the run's latencies"),
    "simulated_s": Measure("s", "the same, simulated with each stage's mean time of single items before the run"),
    "error": Measure("1", "simulated_s / latency_s - 1"),
    "at_pace_s": Measure("s", "simulated with each stage's mean time in the run"),
    "error_at_pace": Measure("1", "at_pace_s / latency_s - 1"),
}
BENCHMARK = Benchmark("load", "Latency under load: a run and its simulation", MEASURES, section)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=700)
    add_option(parser)
    args = parser.parse_args()
    return BENCHMARK.finish({"items": args.items}, lambda: measure(args.items), args.json)


if __name__ == "__main__":
    sys.exit(main())
