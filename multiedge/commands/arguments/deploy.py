"""What `multiedge deploy` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options
from multiedge.defaults import DEFAULT_STRATEGY, ROW_KINDS
from partitioners import OBJECTIVES, PARTITIONERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", help=f"{_options.MODEL}, or the folder of a plan for these nodes")
    _options.add_hub(parser)
    parser.add_argument("--name", metavar="NAME", help="name of the deployment (default: that of MODEL)")
    _options.add_devices(parser, default="what the nodes measured; values in the file take their place")
    costs = parser.add_mutually_exclusive_group()
    _options.add_profile(costs)
    _options.add_reference(costs)
    parser.add_argument(
        "--strategy", metavar="NAME", help=f"one of {', '.join(PARTITIONERS.names())} (default: the objective's own)"
    )
    parser.add_argument("--objective", choices=OBJECTIVES, help=f"what to make best (default: {DEFAULT_STRATEGY})")
    _options.add_max_latency(parser)
    _options.add_pins(parser)
    parser.add_argument("--source", metavar="NODE", help="the calling device: where items start and results return")
    _options.add_option(parser, "strategy")
    _options.add_sizes(parser)
    _options.add_sequences(parser)
    parser.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="of a language model: the tokenizer.json that goes along with the settings beside it (default: beside MODEL)",
    )
    parser.add_argument("--table", action="store_true", help="deploy several plans, of which each request takes one")
    parser.add_argument(
        "--rows", metavar="KIND,KIND", help=f"the plans of such a table, the most important first: {', '.join(ROW_KINDS)}"
    )
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="the model in another precision, with the same inputs and outputs, for a row of that name; repeatable",
    )
    parser.add_argument("--show-plans", action="store_true", help="print the table of plans, and deploy nothing")
    parser.add_argument(
        "--accuracy",
        action="append",
        default=[],
        metavar="[ROW=]SHARE",
        help="right answers as you measured them, from 0 to 1: of the model, or of a row that rounds; repeatable",
    )
    parser.add_argument("--timeout", type=float, metavar="S", default=600.0, help="how long to wait (default: %(default)g)")
    parser.add_argument("--remove", metavar="NAME", help="end the deployment of this name, and deploy nothing")
    _options.add_json(parser, "the deployment and its plans")
    _options.add_output(
        parser,
        "DIR",
        "keep the parts and plan.json there, for `multiedge run DIR --executor fleet`; Pareto pictures of a table",
    )
