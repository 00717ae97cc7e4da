"""What `multiedge simulate` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options
from multiedge.defaults import DEFAULT_STRATEGY, REPLAN_TOLERANCE

CONSTANT, POISSON = ARRIVALS = ("constant", "poisson")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL|PLAN_DIR", help=f"{_options.MODEL}, or a folder that `multiedge plan -o` wrote")
    _options.add_devices(parser)
    _options.add_trace(parser, "what happens to the fleet")
    costs = parser.add_mutually_exclusive_group()
    _options.add_profile(costs)
    _options.add_reference(costs)
    parser.add_argument("--strategy", metavar="NAME", help=f"for a MODEL (default: {DEFAULT_STRATEGY})")
    parser.add_argument("--items", type=int, default=100, metavar="N", help="timed items (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=0, metavar="N", help="items before the timed ones (default: 0)")
    parser.add_argument("--rate", type=float, metavar="PER_S", help="items due per second; default: as fast as they go")
    parser.add_argument(
        "--arrivals",
        choices=ARRIVALS,
        help="with --rate: evenly spaced, or at random as in `multiedge run --scenario server` (default: constant)",
    )
    parser.add_argument(
        "--measured",
        metavar="FILE",
        help="items take what those of a run took, which `multiedge run -o` wrote; default: what the profile says",
    )
    _options.add_seed(parser, "--arrivals poisson, and of the order of items of --measured")
    parser.add_argument("--in-flight", type=int, metavar="N", help="items under way at most; default: as many as fill it")
    parser.add_argument("--adaptive", action="store_true", help="with --trace: also with a new plan after each event")
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="X",
        help=f"with --adaptive: what a plan may lose to spare moves (default: {REPLAN_TOLERANCE})",
    )
    parser.add_argument("--detect", type=float, metavar="S", help="with --trace: seconds until an event is known (default: 0)")
    _options.add_sizes(parser)
    _options.add_json(parser, "figures and faults")
