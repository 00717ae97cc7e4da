"""`multiedge report`: results files as a page, a table or a trace."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multiedge.errors import ConfigError
from multiedge.formats.devices import read_fleet
from multiedge.report.compare import Difference, compare
from multiedge.report.leaderboard import markdown, render
from multiedge.report.page import TITLE, find_results, write_report
from multiedge.report.results import RunResult, load_results, to_json
from multiedge.report.standings import Group, board_rows, groups, rank
from multiedge.report.trace import write_trace
from multiedge.report.units import human

DEFAULT_PAGE = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", nargs="+", metavar="RESULTS", help="results files, or folders that hold some")
    parser.add_argument("-o", "--output", metavar="HTML", help=f"where the page goes (default: {DEFAULT_PAGE})")
    parser.add_argument("--title", default=TITLE, help="the page's heading")
    parser.add_argument("--against", metavar="RESULTS", help="compare each run with this one, noise told apart")
    parser.add_argument("--trace", metavar="JSON", help="also write a Chrome trace of the one run given, for Perfetto")
    parser.add_argument("--devices", metavar="FILE", help="devices.yaml whose watts the trace's power counter follows")
    parser.add_argument("--markdown", action="store_true", help="print the leaderboard as markdown")
    parser.add_argument("--json", action="store_true", help="print all results as one JSON list, without the raw events")


def run(args: argparse.Namespace) -> int:
    results = rank([load_results(path) for path in _files(args.results)])
    against = load_results(args.against) if args.against else None
    if args.trace:
        _write_trace(results, args.trace, args.devices)
    if args.output or not (args.markdown or args.json or args.trace):
        page = write_report(results, args.output or DEFAULT_PAGE, title=args.title, against=against)
        print(f"report: {page}", file=sys.stderr)
    if args.json:
        print(json.dumps([_figures(result, against) for result in results], indent=2))
    elif args.markdown:
        print("\n".join(_markdown(group) for group in groups(results)), end="")
    else:
        for group in groups(results):
            render(None, board_rows(group), title=group.model)
    if against and not args.json:
        for result in results:
            _print_differences(result, against)
    return 0


def _markdown(group: Group) -> str:
    heading = f"### {group.model}\n\n" if group.model else ""
    return heading + markdown(None, board_rows(group))


def _files(places: Sequence[str]) -> list[Path]:
    """The files named, and those in the folders named."""
    found = [path for place in map(Path, places) for path in (find_results(place) if place.is_dir() else [place])]
    if not found:
        raise ConfigError(f"{', '.join(places)}: no results file in there; write one with `multiedge run`")
    return found


def _write_trace(results: Sequence[RunResult], path: str, devices: str | None) -> None:
    if len(results) != 1 or results[0].measurements is None:
        raise ConfigError(f"--trace: expected one results file that holds events, got {len(results)} files")
    trace = write_trace(results[0].measurements, path, read_fleet(devices) if devices else None)
    print(f"trace: {trace}", file=sys.stderr)


def _figures(result: RunResult, against: RunResult | None) -> dict[str, Any]:
    data = {key: value for key, value in to_json(result).items() if key != "measurements"}
    if against:
        data["against"] = {"name": against.name, "differences": [vars(entry) for entry in compare(result, against)]}
    return data


def _print_differences(result: RunResult, against: RunResult) -> None:
    print(f"\n{result.name} against {against.name}:")
    for entry in compare(result, against):
        unit = result.results[entry.name].unit
        change = "" if entry.change is None else f" ({entry.change:+.1%})"
        print(f"  {entry.name}: {human(entry.other, unit)} -> {human(entry.value, unit)}{change}: {_reading(entry)}")


def _reading(entry: Difference) -> str:
    if entry.value == entry.other:
        return "equal"
    found = "within noise" if entry.within_noise else {True: "better", False: "worse", None: "different"}[entry.better]
    return f"{found}; {entry.note}"
