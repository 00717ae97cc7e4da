"""What `multiedge attach` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkout",
        metavar="PATH_TO_IANVS",
        nargs="?",
        help="folder that holds core/, of a checkout or an installation (default: the one that the command ianvs imports)",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--detach", action="store_true", help="restore the original files")
    action.add_argument("--status", action="store_true", help="only show what is there")
    _options.add_json(parser, "the outcome")
