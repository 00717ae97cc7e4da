"""What `multiedge check` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options
from multiedge.defaults import DEFAULT_TOLERANCE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="folder that split, plan or run has written")
    _options.add_seed(parser, "the random inputs")
    _options.add_shape(parser)
    _options.add_backend(parser, "whole and parts")
    _options.add_option(parser, "backend")
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
        metavar="X",
        help=f"largest relative error that passes (default: {DEFAULT_TOLERANCE:g}; more for models in float16)",
    )
    _options.add_json(parser, "the reports")
