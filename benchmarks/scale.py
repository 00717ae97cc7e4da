"""Planning on large fleets: seconds, gap, memory, and the best plan of the fastest devices alone.

    python benchmarks/scale.py [--cases NAME,...] [--json FILE]

Models and fleets are made up from a seed (`multiedge.planning.synthetic`): times of a node differ by up to 30 % between types
of devices beside their speeds. Each case is planned by `throughput` in a process of its own, whose peak of resident memory
is taken. The last column is the time per item of the same strategy on the 8 fastest devices alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.page import Benchmark
from benchmarks.record import Figure, Measure, Record, Row, add_option
from benchmarks.tables import case, figure, table
from multiedge.fleet import Fleet
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile
from multiedge.profile import Profile
from multiedge.run import plan_model

FASTEST = 8


@dataclass(frozen=True)
class Size:
    """`kinds` types of `per_kind` equal devices each."""

    nodes: int
    kinds: int
    per_kind: int
    time_limit_s: float

    def build(self) -> tuple[Profile, Fleet]:
        fleet = synthetic_fleet([self.per_kind] * self.kinds, seed=1, links=False)
        return synthetic_profile(synthetic_graph(self.nodes, seed=1), fleet, seed=1), fleet


SIZES = {
    "100 nodes, 1000 equal devices": Size(100, 1, 1000, 10),
    "60 nodes, 20 different devices": Size(60, 20, 1, 10),
    "60 nodes, 64 different devices": Size(60, 64, 1, 10),
    "500 nodes, 64 different devices": Size(500, 64, 1, 30),
    "2000 nodes, 64 devices of 8 kinds": Size(2000, 8, 8, 10),
    "10000 nodes, 256 devices of 8 kinds": Size(10000, 8, 32, 10),
    "10000 nodes, 256 different devices": Size(10000, 256, 1, 30),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(SIZES).replace(", ", ";"), help="names, ';' for ', ' in them")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    add_option(parser)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(SIZES[args.one])))
        return 0
    names = [name.replace(";", ", ") for name in args.cases.split(",")]
    return BENCHMARK.finish({"strategy": "throughput", "seed": 1}, lambda: [_row(name) for name in names], args.json)


def _row(name: str) -> Row:
    print(name, file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, __file__, "--one", name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return Row({"case": name}, failure=done.stderr.strip().splitlines()[-1])
    return Row({"case": name}, {key: Figure.of([value]) for key, value in json.loads(done.stdout).items()})


def measure(size: Size) -> dict[str, float]:
    """The figures of one case, in a process that did nothing else."""
    profile, fleet = size.build()
    begin = perf_counter()
    plan = plan_model(profile, fleet, "throughput", time_limit_s=size.time_limit_s)
    seconds = perf_counter() - begin
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    slower = sorted(fleet.names, key=lambda name: float(profile.seconds_on(name).sum()))[FASTEST:]
    alone = plan_model(profile, fleet.without(*slower), "throughput", time_limit_s=size.time_limit_s)
    return {
        "seconds": seconds,
        "limit_s": size.time_limit_s,
        "gap": 1.0 if plan.gap is None else plan.gap,
        "value_s": plan.value,
        "fastest_value_s": alone.value,
        "peak_bytes": peak_bytes,
    }


def section(record: Record) -> str:
    """What the record says, and its table."""
    columns = [
        case("case"),
        figure("seconds", "seconds", ".1f"),
        figure("limit_s", "limit", ".0f"),
        figure("gap", "gap, %", ".2f", 100),
        figure("value_s", "ms per item", ".4g", 1e3),
        figure("fastest_value_s", f"{FASTEST} fastest alone", ".4g", 1e3),
        figure("peak_bytes", "peak, MB", ".0f", 1e-6),
    ]
    worst = max(row.median("gap") or 0.0 for row in record.rows)
    return (
        f"Plans for large fleets are within {worst:.1%} of the proven bound of all contiguous plans, in the worst case."
        f"\n\n{table(columns, record.rows)}"
    )


BENCHMARK = Benchmark(
    "scale",
    "Planning for large fleets",
    {
        "seconds": Measure("s", "time of `plan_model`"),
        "limit_s": Measure("s", "the strategy's time limit"),
        "gap": Measure("1", "how far the plan may be from the best contiguous one"),
        "value_s": Measure("s", "time per item of the plan"),
        "fastest_value_s": Measure("s", f"time per item of the plan for the {FASTEST} fastest devices alone"),
        "peak_bytes": Measure("B", "largest resident memory of the process"),
    },
    section,
)

if __name__ == "__main__":
    sys.exit(main())
