"""What `multiedge inspect` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_model(parser)
    _options.add_sizes(parser)
    parser.add_argument("--top", type=int, default=10, metavar="N", help="rows of each table (default: 10)")
    parser.add_argument("--svg", metavar="FILE", help="draw it, SVG: the steps of a workflow, or the nodes of a model")
    _options.add_json(parser, "the facts")
