"""What `multiedge compare` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_model(parser)
    _options.add_devices(parser)
    costs = parser.add_mutually_exclusive_group()
    _options.add_profile(costs)
    _options.add_reference(costs)
    parser.add_argument("--strategies", metavar="A,B", help="some of them; default: all")
    _options.add_max_latency(parser)
    _options.add_sizes(parser)
    _options.add_json(parser, "the rows")
    _options.add_output(parser, "DIR", "draw the Pareto pictures and each plan's graph there, SVG")
