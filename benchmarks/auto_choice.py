"""How near the choice of `multiedge convert --auto` comes to the best runtime and precision, on ten stages of three models.

    python benchmarks/auto_choice.py [--folder DIR] [--json FILE]

Each model is cut into stages of about equal work. For each stage, every installed runtime and precision is converted,
compared and timed, as the command does it. Then all that are right are opened anew and timed once more in turn, also those
that were left out early: "ratio" is the time of what was chosen over that of the best. This is done among all precisions, and
with float32 alone, where runtimes are nearer to each other. With --folder, parts and conversions stay there, so that a second
run only times.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.models import path_of
from benchmarks.page import Benchmark
from benchmarks.record import Case, Figure, Measure, Record, Row, add_option
from benchmarks.tables import case, figure, medians, table
from multiedge.backends import choices
from multiedge.backends.choices import Choice, Outcome
from multiedge.backends.measuring import measure_choices
from multiedge.backends.stages import Call, device_backend, open_part
from multiedge.backends.timing import Accuracy, time_in_turn
from multiedge.files import temporary_folder
from multiedge.fleet import AUTO_BACKEND, REFERENCE_BACKEND, Device, Fleet
from multiedge.onnx_io import random_inputs, read_graph, write_parts
from multiedge.onnx_io.reader import declared_graph
from multiedge.profile import Floats
from multiedge.run import plan_cuts
from profilers.static import StaticProfiler

STAGES = {"vit_b16": 4, "efficientnet_lite0": 4, "squeezenet": 2}
AMONG = {"all": "", "float32": "float32"}
"""What may be chosen, and the precision that it stands for."""
DEVICE = Device("host", backend=AUTO_BACKEND)
AGAIN = Accuracy(relative=0.01, budget_s=3.0, least=15, most=200, warmup=2)


def parts_of(name: str, count: int, folder: Path) -> list[Path]:
    """The files of `count` stages of about equal work, cut where one tensor crosses."""
    if not (folder / "plan.json").exists():
        graph = read_graph(path_of(name))
        seconds = StaticProfiler("declared").profile(graph, Fleet((DEVICE,))).seconds["host"]
        passed = seconds.cumsum() / seconds.sum()
        narrow = [cut.after for cut in graph.cuts if len(cut.tensors) == 1 and 0 < cut.after < len(graph.nodes)]
        ends = [_nearest(narrow, passed, number / count) for number in range(1, count)]
        write_parts(graph, plan_cuts(graph, ends), folder)
    return [folder / f"sub_model_{number + 1}.onnx" for number in range(count)]


def _nearest(ends: Sequence[int], passed: Floats, share: float) -> int:
    """The end after which nearest to this share of the work is done; `passed` is (n,)."""
    distances = [abs(float(passed[end - 1]) - share) for end in ends]
    return ends[distances.index(min(distances))]


def measure(name: str, number: int, part: Path, among: str) -> Row:
    """The choice for one stage, made now, and all that could have been chosen."""
    print(f"{name} {number}, {among} ...", file=sys.stderr, flush=True)
    choices.path_of(part, DEVICE).unlink(missing_ok=True)
    known = measure_choices(part, DEVICE, precision=AMONG[among])
    best = known.best()
    right = [row for row in known.rows if row.outcome is not Outcome.FAILED]
    place: Case = {"model": name, "stage": number, "among": among}
    if best is None:
        return Row(place, failure="nothing can run it")
    seconds = timed(part, right)
    chosen_s, best_s = seconds[right.index(best)], min(seconds)
    return Row(
        {**place, "chosen": _name(best), "best": _name(right[seconds.index(best_s)])},
        {
            "candidates": Figure(len(known.rows)),
            "right": Figure(len(right)),
            "reference_s": Figure(seconds[0]),
            "chosen_s": Figure(chosen_s),
            "best_s": Figure(best_s),
            "ratio": Figure(chosen_s / best_s),
            "error": Figure(best.error or 0.0),
        },
        details={
            "seconds": {_name(row): each for row, each in zip(right, seconds, strict=True)},
            "failed": {
                _name(row): row.reason.replace(str(part), part.name) for row in known.rows if row.outcome is Outcome.FAILED
            },
        },
    )


def timed(part: Path, rows: Sequence[Choice]) -> list[float]:
    """Medians of all candidates that are right, in sessions of their own, timed in turn."""
    feed = random_inputs(declared_graph(part))
    devices = [replace(DEVICE, backend=row.backend, precision=row.precision) for row in rows]
    calls = [Call(open_part(device_backend(device), part, device), feed, part) for device in devices]
    try:
        return [timing.median_s for timing in time_in_turn(calls, AGAIN)]
    finally:
        for call in calls:
            call.session.close()


def _name(row: Choice) -> str:
    return f"{row.backend} {row.precision}"


def measure_all(folder: Path) -> list[Row]:
    """A row for each stage. The choices are kept below the folder, apart from those of the user."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    stages = [
        (name, number + 1, part)
        for name, count in STAGES.items()
        for number, part in enumerate(parts_of(name, count, folder / name))
    ]
    return [measure(*stage, among) for among in AMONG for stage in stages]


def _gain(record: Record) -> float:
    """How many times as fast all stages together are as with the reference."""
    return sum(medians(record, "reference_s")) / sum(medians(record, "chosen_s"))


def section(record: Record) -> str:
    """What the record says, and its table."""
    columns = [
        case("model"),
        case("stage"),
        case("among"),
        case("chosen"),
        figure("chosen_s", "ms", ".2f", 1e3),
        figure("ratio", "of best", ".3f"),
        figure("reference_s", f"{REFERENCE_BACKEND}, ms", ".2f", 1e3),
    ]
    worst = max(medians(record, "ratio"))
    gain = {among: _gain(replace(record, rows=[row for row in record.rows if row.case["among"] == among])) for among in AMONG}
    return (
        f"On {record.settings['stages']} stages, what `multiedge convert --auto` chooses takes at most {worst:.3f} times"
        " as long as the best of all that are right, timed again in turn with one thread. All stages together are"
        f" {gain['all']:.2f} times as fast as with {REFERENCE_BACKEND} where every precision may be chosen, and"
        f" {gain['float32']:.2f} times with float32 alone.\n\n{table(columns, record.rows)}"
    )


BENCHMARK = Benchmark(
    "auto_choice",
    "The measured choice of a runtime against the best",
    {
        "candidates": Measure("1", "runtimes and precisions that were tried"),
        "right": Measure("1", "those whose outputs are within their tolerance"),
        "reference_s": Measure("s", f"one run with {REFERENCE_BACKEND}, float32"),
        "chosen_s": Measure("s", "one run with what was chosen"),
        "best_s": Measure("s", "one run with the fastest of those that are right"),
        "ratio": Measure("1", "chosen_s over best_s"),
        "error": Measure("1", "largest relative error of what was chosen"),
    },
    section,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    about = "where parts and conversions stay (default: they are removed)"
    parser.add_argument("--folder", type=Path, metavar="DIR", help=about)
    add_option(parser)
    args = parser.parse_args()
    settings = {"stages": sum(STAGES.values()), "threads": DEVICE.threads}
    if args.folder:
        return BENCHMARK.finish(settings, lambda: measure_all(args.folder.resolve()), args.json)
    with temporary_folder("auto-choice-") as folder:
        return BENCHMARK.finish(settings, lambda: measure_all(folder), args.json)


if __name__ == "__main__":
    sys.exit(main())
