"""What `multiedge calibrate` takes."""

from __future__ import annotations

import argparse
import platform

from multiedge.commands import _options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the runtime (default: 1)")
    _options.add_backend(parser, "the device")
    parser.add_argument("--name", default=platform.node() or "host", help="name of the device (default: this host's name)")
    _options.add_json(parser, "the figures")
