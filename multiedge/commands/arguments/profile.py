"""What `multiedge profile` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options
from multiedge.defaults import DEFAULT_PROFILER
from profilers import PROFILERS

NODE_TIMES = "DEVICE=JSON"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_model(parser)
    _options.add_devices(parser, default="this machine alone")
    names = ", ".join(PROFILERS.names())
    parser.add_argument("--profiler", metavar="NAME", default=DEFAULT_PROFILER, help=f"one of {names} (default: %(default)s)")
    parser.add_argument("--budget-s", type=float, metavar="S", help="seconds for timing")
    parser.add_argument("--strategy", help="whose segments to time, with --profiler segments (default: throughput)")
    _options.add_seed(parser, "the random inputs")
    _options.add_option(parser, "profiler")
    _options.add_sizes(parser)
    parser.add_argument("--merge", action="append", default=[], metavar="PROFILE", help="take devices from another profile")
    parser.add_argument(
        "--node-times",
        action="append",
        default=[],
        metavar=NODE_TIMES,
        help="times from a profile that the runtime wrote on that device; repeatable",
    )
    _options.add_renamed(parser, "--trace", f"for a profile that the runtime wrote, use --node-times {NODE_TIMES}")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="rows of each table (default: 10)")
    _options.add_json(parser, "the summary")
    parser.add_argument("--pipeedge", metavar="YML", help="also write the first device's times as profiler_results.yml")
    _options.add_output(parser, "FILE", "write the whole profile, JSON")
