"""What `multiedge verify` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options
from multiedge.defaults import AUDIT_TIME_LIMIT_S


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", metavar="PLAN", help="folder that plan has written, or a file of `multiedge plan --json`")
    _options.add_devices(parser)
    _options.add_profile(parser)
    parser.add_argument(
        "--time-limit",
        type=float,
        default=AUDIT_TIME_LIMIT_S,
        metavar="S",
        help="the search for a bound ends after this time (default: %(default)s)",
    )
    _options.add_json(parser, "the findings")
