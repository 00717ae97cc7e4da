"""What `multiedge node` takes."""

from __future__ import annotations

import argparse

from multiedge.commands._front import add_front, add_offload
from multiedge.defaults import DEFAULT_HUB_PORT, DEFAULT_NODE_PORT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    hub = parser.add_mutually_exclusive_group(required=True)
    hub.add_argument("--hub", metavar="HOST[:PORT]", help=f"the hub of the fleet (default port: {DEFAULT_HUB_PORT})")
    hub.add_argument("--discover", action="store_true", help="look for the hub on this network (mDNS)")
    parser.add_argument("--join", metavar="TOKEN", help="get a certificate with a token of `multiedge hub token`; once")
    parser.add_argument("--name", help="name of the device in plans (default: that of the machine)")
    parser.add_argument(
        "--data", metavar="FOLDER", help="certificate and fetched files (default: ~/.local/share/multiedge/nodes/NAME)"
    )
    about = f"where callers and nodes connect (default: port {DEFAULT_NODE_PORT} of the address that leads to the hub)"
    parser.add_argument("--listen", metavar="HOST:PORT", help=about)
    limits = parser.add_argument_group("limits", "what the workers on this device may take")
    limits.add_argument("--memory", metavar="SIZE", help="memory of all workers (default: all of the machine)")
    limits.add_argument("--threads", type=int, metavar="N", help="threads of a worker (default: one for each processor)")
    limits.add_argument(
        "--cpu-share", type=float, default=1.0, metavar="SHARE", help="share of their time, such as 0.5 (default: 1, all)"
    )
    limits.add_argument("--cache", metavar="SIZE", default="16GiB", help="space for fetched files (default: %(default)s)")
    limits.add_argument(
        "--probe",
        metavar="SIZE",
        default="4MiB",
        help="most that is sent to each other node to measure the connection, 0 for none (default: %(default)s)",
    )
    front = add_front(parser)
    front.add_argument(
        "--identity",
        metavar="DIR",
        help="certificate of a client, as which the front end uses other nodes (default: $MULTIEDGE_IDENTITY)",
    )
    add_offload(parser)
