"""`multiedge report`: results files as a page, a table or a trace."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multiedge.commands import _options
from multiedge.commands._terminal import new_console, print_plain
from multiedge.commands.arguments.report import DEFAULT_PAGE
from multiedge.errors import ConfigError
from multiedge.formats.devices import read_fleet
from multiedge.report.compare import Difference, compare
from multiedge.report.leaderboard import markdown, render
from multiedge.report.page import TITLE, find_results, write_report
from multiedge.report.results import RunResult, load_results, to_json
from multiedge.report.standings import Group, board_rows, groups, rank
from multiedge.report.trace import write_trace
from multiedge.report.units import human


def run(args: argparse.Namespace) -> int:
    _options.require_with(args, "devices", "chrome_trace")
    output = args.output or (None if args.markdown or args.json or args.chrome_trace else DEFAULT_PAGE)
    if args.title and not output:
        raise ConfigError("--title: has no effect without a page; give --output, or leave --title out")
    results = rank([load_results(path) for path in _files(args.results)])
    against = load_results(args.against) if args.against else None
    if args.chrome_trace:
        _write_trace(results, args.chrome_trace, args.devices)
    if output:
        page = write_report(results, output, title=args.title or TITLE, against=against)
        print(f"report: {page}", file=sys.stderr)
    if args.json:
        print(json.dumps([_figures(result, against) for result in results], indent=2))
    elif args.markdown:
        print_plain("\n".join(_markdown(group) for group in groups(results)), end="")
    else:
        for group in groups(results):
            render(None, board_rows(group), title=group.model, width=new_console().width)
    if against and not args.json:
        for result in results:
            _print_differences(result, against)
    return 0


def _markdown(group: Group) -> str:
    heading = f"### {group.model}\n\n" if group.model else ""
    return heading + markdown(None, board_rows(group))


def _files(places: Sequence[str]) -> list[Path]:
    """The files named, and those in the folders named."""
    files = [path for place in map(Path, places) for path in (find_results(place) if place.is_dir() else [place])]
    if not files:
        raise ConfigError(f"{', '.join(places)}: no results file in there; write one with `multiedge run`")
    return files


def _write_trace(results: Sequence[RunResult], path: str, devices: str | None) -> None:
    if len(results) != 1 or results[0].measurements is None:
        raise ConfigError(f"--chrome-trace: expected one results file that holds events, got {len(results)} files")
    trace = write_trace(results[0].measurements, path, read_fleet(devices) if devices else None)
    print(f"trace: {trace}", file=sys.stderr)


def _figures(result: RunResult, against: RunResult | None) -> dict[str, Any]:
    data = {key: value for key, value in to_json(result).items() if key != "measurements"}
    if against:
        data["against"] = {"name": against.name, "differences": [vars(entry) for entry in compare(result, against)]}
    return data


def _print_differences(result: RunResult, against: RunResult) -> None:
    print_plain(f"\n{result.name} against {against.name}:")
    for entry in compare(result, against):
        unit = result.results[entry.name].unit
        change = "" if entry.change is None else f" ({entry.change:+.1%})"
        print_plain(f"  {entry.name}: {human(entry.other, unit)} -> {human(entry.value, unit)}{change}: {_reading(entry)}")


def _reading(entry: Difference) -> str:
    if entry.value == entry.other:
        return "equal"
    verdict = "within noise" if entry.within_noise else {True: "better", False: "worse", None: "different"}[entry.better]
    return f"{verdict}; {entry.note}"
