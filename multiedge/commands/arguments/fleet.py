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
    parser.add_argument("--keep", metavar="FILE", help="first add results that `multiedge run -o` wrote to those of the hub")
    parser.add_argument("--remove-model", metavar="NAME:VERSION", help="first remove a version of a model")
    _options.add_json(parser, "all of it")
