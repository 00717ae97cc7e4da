"""How near the choice of `multiedge convert --auto` comes to the best runtime and precision, on ten stages of three models.

    python benchmarks/auto_choice.py [--folder DIR] [--budget S] [--json FILE]

Each model is cut into stages of about equal work. For each stage, every installed runtime and precision is converted,
compared and timed, as the command does it. Then all that may be taken are opened anew and timed once more in turn, also those
that were left out early: "ratio" is the time of what was chosen over that of the best. This is done among all precisions, with
float32 alone, where runtimes are nearer to each other, and with int8 and int4 as well, from an agreement of 0.9.
With --folder, parts and conversions stay there, so that a second run only times. With --budget, no stage is begun after S
seconds, and stages that FILE has, measured with the same versions, are not measured again: run it until it says that all are.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.models import path_of
from benchmarks.page import Benchmark
from benchmarks.record import Case, Figure, Measure, Origin, Record, Row, add_option, read
from benchmarks.tables import case, figure, medians, table
from multiedge.backends import choices
from multiedge.backends.choices import Choice, Outcome
from multiedge.backends.measuring import measure_choices
from multiedge.backends.stages import Call, device_backend, open_part
from multiedge.backends.timing import Accuracy, time_in_turn
from multiedge.files import cache_folder, temporary_folder
from multiedge.fleet import AUTO_BACKEND, REFERENCE_BACKEND, Device, Fleet
from multiedge.onnx_io import random_inputs, read_graph, write_parts
from multiedge.onnx_io.reader import declared_graph
from multiedge.profile import Floats
from multiedge.run import plan_cuts
from profilers.static import StaticProfiler

STAGES = {"vit_b16": 4, "efficientnet_lite0": 4, "squeezenet": 2}
AIM = 1.05
AGREEMENT = 0.9
"""The share of rows from which approximate precisions may be taken, where they may."""
AMONG: Mapping[str, tuple[str, float | None]] = {
    "all": ("", None),
    "float32": ("float32", None),
    "approximate": ("", AGREEMENT),
}
"""What may be chosen: the precision, and the least agreement of approximate ones."""
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
    precision, least_agreement = AMONG[among]
    known = measure_choices(part, DEVICE, precision=precision, least_agreement=least_agreement)
    best, right = known.best(), known.usable
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
            "reference_s": Figure(seconds[0]),  # the reference is the first candidate
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


def measure_all(folder: Path, earlier: Sequence[Row] = (), budget_s: float = math.inf) -> list[Row]:
    """A row for each stage, those of `earlier` as they are; no further one is begun once the budget is used up.

    The choices are kept below the folder, apart from those of the user.
    """
    environments = cache_folder("environments")  # of converters: setting them up again would take minutes
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    own = cache_folder("environments")
    if environments.is_dir() and not own.exists():
        own.parent.mkdir(parents=True, exist_ok=True)
        own.symlink_to(environments)
    until_s = time.monotonic() + budget_s
    known = {_place(row.case): row for row in earlier}
    wanted = [(name, number + 1, among) for among in AMONG for name, count in STAGES.items() for number in range(count)]
    for name, number, among in wanted:
        if (name, number, among) not in known and time.monotonic() < until_s:
            part = parts_of(name, STAGES[name], folder / name)[number - 1]
            known[name, number, among] = measure(name, number, part, among)
    rows = [known[place] for place in wanted if place in known]
    print(f"{len(rows)} of {len(wanted)} stages are measured", file=sys.stderr)
    return rows


def _place(case: Case) -> tuple[object, ...]:
    return case["model"], case["stage"], case["among"]


def rows_of(path: Path | None, settings: Mapping[str, str | int]) -> Sequence[Row]:
    """The rows of a record with these settings and the versions that are installed; none of another one."""
    if path is None or not path.is_file():
        return ()
    known = read(path)
    return known.rows if (known.settings, known.origin.versions) == (settings, Origin.here().versions) else ()


WORDS = {
    "all": "among all precisions",
    "float32": "with float32 alone",
    "approximate": f"with int8 and int4 from {AGREEMENT:.0%} agreement",
}


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
    ratios = medians(record, "ratio")
    near = sum(ratio <= AIM for ratio in ratios)
    of = {among: [row for row in record.rows if row.case["among"] == among] for among in AMONG}
    gains = [f"{_gain(replace(record, rows=of[among])):.2f} times {words}" for among, words in WORDS.items() if of[among]]
    return (
        f"On {record.settings['stages']} stages, `multiedge convert --auto` chooses what takes at most {max(ratios):.3f} times"
        f" as long as the best ({near} of {len(ratios)}: at most {AIM}). All stages together are"
        f" {', '.join(gains)} as fast as with {REFERENCE_BACKEND}.\n\n{table(columns, record.rows)}"
    )


BENCHMARK = Benchmark(
    "auto_choice",
    "The measured choice of a runtime against the best",
    {
        "candidates": Measure("1", "runtimes and precisions that were tried"),
        "right": Measure("1", "those that may be taken: with outputs within their tolerance, or near enough"),
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
    about = "begin no stage after so many seconds, and keep those that the file of --json has"
    parser.add_argument("--budget", type=float, metavar="S", help=about)
    add_option(parser)
    args = parser.parse_args()
    settings = {"stages": sum(STAGES.values()), "threads": DEVICE.threads}
    earlier = rows_of(args.json, settings) if args.budget else ()
    budget_s = args.budget or math.inf
    if args.folder:
        return BENCHMARK.finish(settings, lambda: measure_all(args.folder.resolve(), earlier, budget_s), args.json)
    with temporary_folder("auto-choice-") as folder:
        return BENCHMARK.finish(settings, lambda: measure_all(folder, earlier, budget_s), args.json)


if __name__ == "__main__":
    sys.exit(main())
