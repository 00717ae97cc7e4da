"""`multiedge check`: prove that the parts equal the whole."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiedge.backends.stages import load_backend
from multiedge.check import CheckReport, check
from multiedge.commands import _options
from multiedge.commands._terminal import new_console, new_table, print_line, share_bar
from multiedge.errors import require_least
from multiedge.quantity import counted

if TYPE_CHECKING:
    from rich.console import Console


def run(args: argparse.Namespace) -> int:
    """0 if every output agrees within the tolerance, otherwise 1."""
    if args.tolerance is not None:
        require_least("--tolerance", args.tolerance, 0)
    shapes, seed = _options.parse_shapes(args.shape), args.seed or 0
    ways, reports = compared(args), []
    with share_bar(f"comparing {Path(args.directory).name} with the whole model") as progress:
        for number, options in enumerate(ways):
            progress(f"{number + 1} of {len(ways)}", number / len(ways))
            reports.append(check(args.directory, seed, shapes, backend=args.backend, options=options))
    tolerance = reports[0].rounding if args.tolerance is None else args.tolerance
    passed = all(report.passes(tolerance) for report in reports)
    if args.json:
        print(json.dumps({"passed": passed, "tolerance": tolerance, "reports": [_data(r) for r in reports]}, indent=1))
    else:
        show(reports, passed, tolerance, new_console())
    return 0 if passed else 1


def compared(args: argparse.Namespace) -> list[dict[str, Any] | None]:
    """The backend's options in each comparison; None is without optimisations that round differently at a cut."""
    if args.optimisation:
        return [_options.with_own({"optimisation": level}, args.option) for level in dict.fromkeys(args.optimisation)]
    own = _options.parse_options(args.option)
    return [own] if own else [None, {}]


def _data(report: CheckReport) -> dict[str, Any]:
    """JSON knows no infinity: an error that is not finite is null."""
    data = asdict(report)
    for output in data["outputs"]:
        for key in ("max_abs", "max_rel"):
            output[key] = output[key] if math.isfinite(output[key]) else None
    return data


def show(reports: Sequence[CheckReport], passed: bool, tolerance: float, console: Console) -> None:
    """Prints how far each output is from the whole model's, then what follows."""
    table = new_table(f"{counted(reports[0].parts, 'part')} against {reports[0].model}")
    for name in ("output", "options"):
        table.add_column(name)
    for name in ("max abs", "max rel", "bitwise"):
        table.add_column(name, justify="right")
    for report in reports:
        for output in report.outputs:
            figures = (f"{output.max_abs:.3g}", f"{output.max_rel:.3g}", "equal" if output.bitwise else "differs")
            table.add_row(output.name, _changed(report), *figures)
    console.print(table)
    verdict = "the parts equal the whole" if passed else "the parts DIFFER from the whole"
    worst = max(report.max_rel for report in reports)
    print_line(console, f"{verdict}: relative error {worst:.3g}, tolerance {tolerance:g}, seed {reports[0].seed}")
    if not passed and any(report.passes(tolerance) for report in reports):
        print_line(
            console,
            "note: with other options the parts equal the whole, so they hold the same nodes: the runtime's optimiser computes"
            " some of them differently beside a cut; --tolerance accepts that",
        )
    if reports[0].is_lossy:
        print_line(console, "note: the plan sends float16 between devices, which rounds: the difference includes that")
    for output in reports[0].outputs:
        if output.is_constant:
            print_line(
                console,
                f"note: '{output.name}' of the whole model has one value everywhere, as with constant weights or saturated"
                " inputs: that the parts equal it shows little",
            )


def _changed(report: CheckReport) -> str:
    """The options that differ from the backend's defaults."""
    defaults = asdict(load_backend(report.backend))
    changed = {name: value for name, value in report.options.items() if value != defaults[name]}
    return ", ".join(f"{name}={value}" for name, value in changed.items()) or "as in a run"
