"""What `multiedge controller` takes."""

from __future__ import annotations

import argparse

from multiedge.defaults import DEFAULT_CONTROLLER_PORT, LOOPBACK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default=f"{LOOPBACK}:{DEFAULT_CONTROLLER_PORT}",
        help="where workers report, port 0 for a free one (default: %(default)s)",
    )
    parser.add_argument("--url", metavar="URL", help="where workers reach it, such as http://HOST:8480 (default: as --listen)")
    parser.add_argument("--image", metavar="IMAGE", required=True, help="image of workers where a resource names none")
    about = "where to look for resources; repeatable (default: all namespaces)"
    parser.add_argument("--namespace", metavar="NAME", action="append", default=[], help=about)
