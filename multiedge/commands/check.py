"""`multiedge check`: prove that the parts equal the whole."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from multiedge.backends.stages import load_backend
from multiedge.check import DEFAULT_TOLERANCE, CheckReport, check
from multiedge.commands.plan import parse_options
from multiedge.commands.profile import parse_shapes
from multiedge.errors import require_least
from multiedge.fleet import REFERENCE_BACKEND


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="folder that split, plan or run has written")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random inputs (default: 0)")
    parser.add_argument("--shape", action="append", default=[], metavar="INPUT=1,3,224,224", help="size of a dynamic input")
    parser.add_argument(
        "--backend",
        default=REFERENCE_BACKEND,
        metavar="NAME",
        help=f"runtime of whole and parts (default: {REFERENCE_BACKEND})",
    )
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the backend")
    parser.add_argument(
        "--optimisation",
        action="append",
        metavar="LEVEL",
        help="the backend's option of that name; repeatable, one comparison for each"
        " (default: one without optimisations that round differently at a cut, and one as in a run)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=DEFAULT_TOLERANCE,
        metavar="X",
        help=f"largest relative error that passes (default: {DEFAULT_TOLERANCE:g})",
    )
    parser.add_argument("--json", action="store_true", help="print the reports as JSON, not as a table")


def run(args: argparse.Namespace) -> int:
    """0 if every output agrees within the tolerance, otherwise 1."""
    require_least("--tolerance", args.tolerance, 0)
    shapes = parse_shapes(args.shape)
    reports = [check(args.directory, args.seed, shapes, backend=args.backend, options=each) for each in compared(args)]
    passed = all(report.passes(args.tolerance) for report in reports)
    if args.json:
        print(json.dumps({"passed": passed, "tolerance": args.tolerance, "reports": [_data(r) for r in reports]}, indent=1))
    else:
        _show(reports, passed, args.tolerance)
    return 0 if passed else 1


def compared(args: argparse.Namespace) -> list[dict[str, Any] | None]:
    """The backend's options in each comparison; None is without optimisations that round differently at a cut."""
    given = parse_options(args.option)
    if args.optimisation:
        return [{**given, "optimisation": level} for level in dict.fromkeys(args.optimisation)]
    return [given] if given else [None, {}]


def _data(report: CheckReport) -> dict[str, Any]:
    """JSON knows no infinity: an error that is not finite is null."""
    data = asdict(report)
    for output in data["outputs"]:
        for key in ("max_abs", "max_rel"):
            output[key] = output[key] if math.isfinite(output[key]) else None
    return data


def _show(reports: Sequence[CheckReport], passed: bool, tolerance: float) -> None:
    console = Console()
    table = Table("output", "options", title=f"{reports[0].parts} parts against {reports[0].model}", title_justify="left")
    for name in ("max abs", "max rel", "bitwise"):
        table.add_column(name, justify="right")
    for report in reports:
        for output in report.outputs:
            figures = (f"{output.max_abs:.3g}", f"{output.max_rel:.3g}", "equal" if output.bitwise else "differs")
            table.add_row(output.name, _changed(report), *figures)
    console.print(table)
    verdict = "the parts equal the whole" if passed else "the parts DIFFER from the whole"
    line = f"{verdict}: relative error {max(r.max_rel for r in reports):.3g}, tolerance {tolerance:g}, seed {reports[0].seed}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    for output in reports[0].outputs:
        if output.is_constant:
            console.print(
                f"note: '{output.name}' of the whole model has one value everywhere, as with constant weights or saturated"
                " inputs: that the parts equal it shows little",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def _changed(report: CheckReport) -> str:
    """The options that differ from the backend's defaults."""
    defaults = asdict(load_backend(report.backend))
    changed = {name: value for name, value in report.options.items() if value != defaults[name]}
    return ", ".join(f"{name}={value}" for name, value in changed.items()) or "as in a run"
