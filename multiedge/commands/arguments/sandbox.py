"""What `multiedge sandbox` takes."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--nodes", type=int, metavar="N", help="nodes with links of 20, 50, 100 and 1000 Mbit/s in turn (default: 4)"
    )
    which.add_argument("--devices", metavar="FILE", help="a node for each device of this devices.yaml, with its links")
    parser.add_argument("--data", metavar="FOLDER", help="keep the data of hub and nodes here (default: removed at the end)")
