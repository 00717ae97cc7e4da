"""What `multiedge report` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options

DEFAULT_PAGE = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", nargs="+", metavar="RESULTS", help="results files, or folders that hold some")
    _options.add_output(parser, "HTML", f"where the page goes (default: {DEFAULT_PAGE}, unless something else is asked for)")
    parser.add_argument("--title", help="the page's heading")
    parser.add_argument("--against", metavar="RESULTS", help="compare each run with this one; noise counts as no difference")
    parser.add_argument("--chrome-trace", metavar="JSON", help="write a Chrome trace of the one run given, for Perfetto")
    _options.add_renamed(parser, "--trace", "for a Chrome trace of the run, use --chrome-trace JSON")
    parser.add_argument(
        "--devices", metavar="FILE", help="with --chrome-trace: devices.yaml whose watts the power counter follows"
    )
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument("--markdown", action="store_true", help="print the leaderboard as markdown")
    _options.add_json(printed, "all results, without the raw events,")
