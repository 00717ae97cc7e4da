"""What `multiedge convert` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options
from multiedge.defaults import CONVERSION_LIMIT_S


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL|DIR", help="ONNX file, or a folder that split, plan or run has written")
    what = parser.add_mutually_exclusive_group()
    _options.add_backend(what, "the converted model")
    about = "every installed runtime and precision; all are timed in turn, and devices with backend auto take the fastest"
    what.add_argument("--auto", action="store_true", help=about)
    _options.add_devices(parser, "with --auto, one thread of this machine")
    _options.add_type(parser, "with --auto and without --devices, the type of this machine")
    _options.add_precision(parser, "the backend's; with --auto, all")
    about = "with --auto, take int8 and int4 too, if this share of rows has its largest value in the same place"
    parser.add_argument("--min-agreement", type=float, metavar="SHARE", help=about)
    _options.add_option(parser, "backend")
    _options.add_inputs(parser, "to compare too; int8 is calibrated with them")
    parser.add_argument(
        "--report", metavar="URL", help="tell the controller at URL, of which this is a worker on Kubernetes (default: nobody)"
    )
    parser.add_argument("--again", action="store_true", help="convert again what is known to be right or wrong")
    parser.add_argument(
        "--limit",
        type=float,
        default=CONVERSION_LIMIT_S,
        metavar="S",
        help="seconds after which the conversion of a part is stopped (default: %(default)g)",
    )
    _options.add_json(parser, "the records")
