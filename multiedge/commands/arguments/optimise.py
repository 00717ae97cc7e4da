"""What `multiedge optimise` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options

COST, ENERGY = OBJECTIVES = ("cost", "energy")
BATCHES = "1,2,4,8"
SIMULATIONS, SECONDS, ITEMS = 400, 60.0, 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workflow", metavar="WORKFLOW", help="workflow.yaml (docs/workflows.md)")
    _options.add_devices(parser)
    demand = parser.add_argument_group("demand")
    demand.add_argument("--rate", type=float, metavar="PER_S", required=True, help="items that come per second, at random")
    demand.add_argument("--p99", metavar="TIME", required=True, help="99 %% of them are answered within it, such as 200ms")
    demand.add_argument(
        "--accuracy", type=float, metavar="SHARE", default=0.0, help="least accuracy of the workflow (default: 0)"
    )
    demand.add_argument(
        "--objective", choices=OBJECTIVES, default=COST, help="what is to be least: price per hour, or joules per item"
    )
    choices = parser.add_argument_group("choices")
    choices.add_argument(
        "--choices", metavar="FILE", help="other models of steps, accuracies and prices, yaml (docs/optimiser.md)"
    )
    choices.add_argument("--batches", metavar="LIST", default=BATCHES, help="most items in a run (default: %(default)s)")
    choices.add_argument("--profiler", metavar="NAME", help="what finds the times of models (default: static)")
    choices.add_argument(
        "--measured",
        metavar="FILE",
        help="what items take of each step, as `multiedge run -o` wrote it; default: drawn from the rates",
    )
    search = parser.add_argument_group("search")
    search.add_argument(
        "--simulations", type=int, metavar="N", default=SIMULATIONS, help="simulated runs at most (default: %(default)s)"
    )
    search.add_argument("--seconds", type=float, metavar="S", default=SECONDS, help="time at most (default: %(default)g)")
    search.add_argument("--items", type=int, metavar="N", default=ITEMS, help="items of a simulated run (default: %(default)s)")
    search.add_argument("--heuristics", action="store_true", help="compare with the planners of InferLine and IPA")
    _options.add_seed(search, "arrivals and items")
    _options.add_json(parser, "the choice and the comparison")
    _options.add_output(parser, "DIR", "write the workflow as chosen, and its plan and parts")
