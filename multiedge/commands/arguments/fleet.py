"""What `multiedge fleet` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options
from multiedge.defaults import DEFAULT_LIVE_PORT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_hub(parser)
    parser.add_argument(
        "--join",
        metavar="TOKEN",
        help="first make the identity of a client in --identity, with a token for --name",
    )
    parser.add_argument("--name", metavar="NAME", help="with --join: the client's name, as in `multiedge hub token --client`")
    parser.add_argument("--keep", metavar="FILE", help="first add results that `multiedge run -o` wrote to those of the hub")
    parser.add_argument("--remove-model", metavar="NAME:VERSION", help="first remove a version of a model")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--live",
        metavar="PORT",
        nargs="?",
        type=int,
        const=DEFAULT_LIVE_PORT,
        help="serve a page of the fleet as it works to browsers on this machine, until Ctrl-C (default port: %(const)s)",
    )
    _options.add_json(shown, "all of it")
