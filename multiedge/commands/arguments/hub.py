"""What `multiedge hub` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options
from multiedge.commands._front import add_front
from multiedge.defaults import DEFAULT_HUB_PORT, LOOPBACK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    init = actions.add_parser("init", help="make a CA, and the identities of the hub and of a first client")
    _options.add_hub_data(init)
    run = actions.add_parser("run", help="run the hub until Ctrl-C")
    _options.add_hub_data(run)
    run.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default=f"{LOOPBACK}:{DEFAULT_HUB_PORT}",
        help="address to listen on, port 0 for a free one; beyond this machine only after `hub init` (default: %(default)s)",
    )
    run.add_argument("--pull", action="store_true", help="ask nodes for their states too, instead of waiting for reports")
    run.add_argument("--discover", action="store_true", help="make it known on this network (mDNS), for nodes with --discover")
    run.add_argument("--max-file", metavar="SIZE", default="64GiB", help="how large a file may be (default: %(default)s)")
    add_front(run)
    token = actions.add_parser("token", help="print a token with which one node or client can join")
    _options.add_hub_data(token)
    token.add_argument("--name", metavar="NAME", help="the name that it admits, also if it is taken (default: any new one)")
    token.add_argument("--client", action="store_true", help="admit a client, which deploys and runs; with --name")
    token.add_argument("--hours", type=float, metavar="H", default=1.0, help="how long it is good for (default: %(default)g)")
