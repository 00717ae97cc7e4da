"""What `multiedge fleet` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_hub(parser)
    parser.add_argument(
        "--join",
        metavar="TOKEN",
        help="first make the identity of a client in --identity, with a token for --name",
    )
    parser.add_argument("--name", metavar="NAME", help="with --join: the client's name, as in `multiedge hub token --client`")
    _options.add_json(parser, "nodes, deployments and the hub")
