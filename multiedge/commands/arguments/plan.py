"""What `multiedge plan` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options
from multiedge.defaults import DEFAULT_STRATEGY
from partitioners import OBJECTIVES, PARTITIONERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_model(parser)
    _options.add_devices(parser)
    costs = parser.add_mutually_exclusive_group()
    _options.add_profile(costs)
    _options.add_reference(costs)
    costs.add_argument(
        "--time-segments",
        action="store_true",
        help="time the parts that the plan would use on this machine, and plan again until the plan stays the same",
    )
    parser.add_argument(
        "--strategy", metavar="NAME", help=f"one of {', '.join(PARTITIONERS.names())} (default: the objective's own)"
    )
    parser.add_argument("--objective", choices=OBJECTIVES, help=f"what to make best (default: {DEFAULT_STRATEGY})")
    _options.add_max_latency(parser)
    _options.add_pins(parser)
    accuracy = parser.add_argument_group("precision", "a runtime and a precision for each device, measured on inputs")
    accuracy.add_argument(
        "--max-accuracy-loss",
        metavar="SHARE",
        help="choose them with the placement, such as 1%%: of right answers with --labels, otherwise of equal ones",
    )
    _options.add_inputs(accuracy, "on which the loss is measured; int8 is calibrated with them")
    accuracy.add_argument(
        "--variants",
        metavar="LIST",
        help="what devices may use besides their own, BACKEND:PRECISION by commas (default: onnxruntime:int8)",
    )
    accuracy.add_argument("--pareto", metavar="FILE", help="draw throughput against accuracy of the plans, SVG")
    parser.add_argument(
        "--batch", metavar="N|auto", help="samples in an item, where the model leaves them open; auto: the best of 1, 2, 4, 8"
    )
    parser.add_argument(
        "--rate", type=float, metavar="PER_S", help="with --batch: samples that come per second; the first waits for the last"
    )
    _options.add_sequences(parser)
    parser.add_argument(
        "--prompt",
        type=int,
        metavar="N",
        help="with --context: prompts have up to N tokens; states times to the first token and per token, counts their memory",
    )
    parser.add_argument(
        "--phase",
        choices=("token", "prompt", "text"),
        help="with --prompt: what the objective is for: a further token (default), the prompt, or the mean step of a text",
    )
    _options.add_option(parser, "strategy")
    _options.add_sizes(parser)
    _options.add_json(parser, "the plan")
    parser.add_argument("--copy-weights", action="store_true", help="with -o: copy weights into the folder, not link them")
    _options.add_output(parser, "DIR", "write the parts and plan.json there")
