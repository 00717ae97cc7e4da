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

from multiedge.check import DEFAULT_TOLERANCE, CheckReport, check
from multiedge.commands.profile import parse_shapes
from multiedge.errors import require_least

LEVELS = ("disabled", "basic", "extended", "all")
DEFAULT_LEVELS = ("disabled", "all")
"""Equality to the bit needs optimisations off, since some cross a cut; a run has them on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="folder that split, plan or run has written")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random inputs (default: 0)")
    parser.add_argument("--shape", action="append", default=[], metavar="INPUT=1,3,224,224", help="size of a dynamic input")
    parser.add_argument("--backend", default="onnxruntime", metavar="NAME", help="runtime of all parts (default: onnxruntime)")
    parser.add_argument(
        "--optimisation",
        action="append",
        choices=LEVELS,
        help=f"optimisation level to compare at; repeatable (default: {' and '.join(DEFAULT_LEVELS)})",
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
    """0 if every output agrees within the tolerance, else 1."""
    require_least("--tolerance", args.tolerance, 0)
    levels = tuple(dict.fromkeys(args.optimisation or DEFAULT_LEVELS))
    shapes = parse_shapes(args.shape)
    reports = [check(args.directory, args.seed, shapes, backend=args.backend, optimisation=level) for level in levels]
    passed = all(report.passes(args.tolerance) for report in reports)
    if args.json:
        print(json.dumps({"passed": passed, "tolerance": args.tolerance, "reports": [_data(r) for r in reports]}, indent=1))
    else:
        _show(reports, passed, args.tolerance)
    return 0 if passed else 1


def _data(report: CheckReport) -> dict[str, Any]:
    """JSON knows no infinity: an error that is not finite is null."""
    data = asdict(report)
    for output in data["outputs"]:
        for key in ("max_abs", "max_rel"):
            output[key] = output[key] if math.isfinite(output[key]) else None
    return data


def _show(reports: Sequence[CheckReport], passed: bool, tolerance: float) -> None:
    console = Console()
    table = Table("output", "optimisation", title=f"{reports[0].parts} parts against {reports[0].model}", title_justify="left")
    for name in ("max abs", "max rel", "bitwise"):
        table.add_column(name, justify="right")
    for report in reports:
        for output in report.outputs:
            figures = (f"{output.max_abs:.3g}", f"{output.max_rel:.3g}", "equal" if output.bitwise else "differs")
            table.add_row(output.name, report.optimisation, *figures)
    console.print(table)
    said = "the parts equal the whole" if passed else "the parts DIFFER from the whole"
    line = f"{said}: relative error {max(r.max_rel for r in reports):.3g}, tolerance {tolerance:g}, seed {reports[0].seed}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    for output in reports[0].outputs:
        if output.says_little:
            console.print(
                f"note: '{output.name}' of the whole model has one value everywhere, as with constant weights or saturated"
                " inputs: that the parts equal it shows little",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
