"""What `multiedge split` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_model(parser)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--parts", type=int, metavar="K", help="so many parts, cut where little crosses")
    where.add_argument(
        "--at", action="append", metavar="TENSOR[,TENSOR...]", help="cut behind the node that makes it; repeatable"
    )
    _options.add_output(parser, "DIR", "folder for sub_model_1.onnx ... and plan.json", required=True)
    parser.add_argument("--copy-weights", action="store_true", help="copy weights into the parts, for shipping, not link them")
    _options.add_shape(parser)
    _options.add_states(parser)
    _options.add_json(parser, "the manifest")
