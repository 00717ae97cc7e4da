"""What `multiedge run` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options
from multiedge.defaults import DEFAULT_EXECUTOR
from multiedge.executors import EXECUTORS
from multiedge.executors.flow.scenarios import SCENARIOS

ENDPOINT = "DEVICE=HOST:PORT[/MODEL]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan_dir", metavar="PLAN_DIR", help="folder that `multiedge split` or `plan -o` wrote")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--inputs", nargs="+", metavar="FILE", help=".npz files, one item each, or folders of them")
    source.add_argument("--random", type=int, metavar="N", help="N items of seeded random numbers")
    _options.add_devices(parser, default="every device is this machine, links are free")
    parser.add_argument("--scenario", metavar="NAME", default="offline", help=f"{', '.join(SCENARIOS)} (default: offline)")
    parser.add_argument("--rate", type=float, metavar="PER_S", help="items per second, for --scenario server")
    parser.add_argument(
        "--latency-bound", type=float, metavar="S", help="with --scenario server: what 99 %% of latencies must stay within"
    )
    parser.add_argument(
        "--repeat", type=int, metavar="N", default=1, help="run N times, each with new workers: medians and 95 %% intervals"
    )
    parser.add_argument("--name", metavar="NAME", help="name of the run in reports (default: that of PLAN_DIR)")
    names = ", ".join(EXECUTORS.names())
    parser.add_argument("--executor", metavar="NAME", default=DEFAULT_EXECUTOR, help=f"one of {names} (default: %(default)s)")
    _add_flags(parser.add_argument_group("options of executors", "an executor refuses those that it does not have"))
    parser.add_argument("--outputs", metavar="FOLDER", help="write each item's outputs to FOLDER/ITEM.npz (default: drop them)")
    _options.add_json(parser, "the results")
    _options.add_output(parser, "FILE", "write results and raw events for `multiedge report`, JSON")


def _add_flags(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--depth", type=int, metavar="N", help="items under way (default: enough for every stage)")
    parser.add_argument("--warmup", type=int, metavar="N", help="items before the clock starts (default: 2)")
    _options.add_seed(parser, "inputs, arrivals and links")
    _options.add_trace(parser, "what happens to the fleet while it runs")
    parser.add_argument(
        "--replan",
        action=argparse.BooleanOptionalAction,
        help="plan anew when the fleet of --devices changes (default: if the executor can, and the model is there)",
    )
    parser.add_argument(
        "--emulate",
        action=argparse.BooleanOptionalAction,
        help="slow down to the devices and links of the fleet (default: if the executor can)",
    )
    parser.add_argument(
        "--namespaces",
        action="store_const",
        const=True,
        help="links by the kernel: TCP between network namespaces; as root, with iproute2",
    )
    parser.add_argument("--transport", metavar="NAME", help="auto, shared-memory, pipe or tcp (default: auto)")
    parser.add_argument("--micro-batch", type=int, metavar="N", help="join up to N waiting items (default: 1)")
    parser.add_argument(
        "--keep-prepacked",
        action="store_const",
        const=True,
        help="keep packed weights in the plan's folder: less anonymous memory",
    )
    parser.add_argument("--endpoint", action="append", metavar=ENDPOINT, help="where the stages of a device are; repeatable")
    parser.add_argument("--hub", metavar="HOST:PORT", help="where the nodes of --executor fleet are known")
    parser.add_argument("--identity", metavar="DIR", help="folder of your certificate (default: $MULTIEDGE_IDENTITY)")
    _options.add_option(parser, "executor")
