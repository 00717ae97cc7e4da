"""`multiedge split`: cut a model into parts, without devices."""

from __future__ import annotations

import argparse
import json
from itertools import pairwise

from rich.console import Console
from rich.table import Table

from multiedge.commands.profile import parse_shapes
from multiedge.fleet import Device, Fleet
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph, write_parts
from multiedge.onnx_io.cuts import boundaries_at, boundaries_for
from multiedge.onnx_io.manifest import to_json
from multiedge.plan import Manifest, Plan, Stage, relay_transfers
from multiedge.planning import cost
from multiedge.quantity import human_bytes
from multiedge.run import profile_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="ONNX file")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--parts", type=int, metavar="K", help="so many parts, cut where little crosses")
    where.add_argument(
        "--at", action="append", metavar="TENSOR[,TENSOR...]", help="cut behind the node that makes it; repeatable"
    )
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="folder for sub_model_1.onnx ... and plan.json")
    parser.add_argument("--copy-weights", action="store_true", help="copy weights into the parts, for shipping, not link them")
    parser.add_argument("--shape", action="append", default=[], metavar="INPUT=1,3,224,224", help="size of a dynamic input")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON, not as a table")


def run(args: argparse.Namespace) -> int:
    graph = read_graph(args.model, parse_shapes(args.shape))
    inner = (
        boundaries_for(graph, args.parts) if args.parts is not None else boundaries_at(graph, [at.split(",") for at in args.at])
    )
    manifest = write_parts(graph, plan_at(graph, inner), args.output, copy_weights=args.copy_weights)
    if args.json:
        print(json.dumps(to_json(manifest), indent=1))
    else:
        show(manifest, Console())
    return 0


def plan_at(graph: Graph, inner: tuple[int, ...]) -> Plan:
    """A plan with one part between each two boundaries, each on a device of its own; its estimates are counted, as if every
    device were one core of a common server."""
    ends = (0, *inner, len(graph.nodes))
    names = [f"part_{number + 1}" for number in range(len(ends) - 1)]
    stages = [Stage.span(name, *span) for name, span in zip(names, pairwise(ends), strict=True)]
    fleet = Fleet(tuple(Device(name) for name in names), name="parts")
    profile = profile_model(graph, fleet)
    return cost.make_plan(
        "split", "throughput", profile, fleet, stages, relay_transfers(graph, stages, profile.cut_bytes.tolist())
    )


def show(manifest: Manifest, console: Console) -> None:
    table = Table(
        title=f"{len(manifest.parts)} parts in {manifest.directory}, weights {manifest.weights}", title_justify="left"
    )
    for name in ("part", "takes", "gives"):
        table.add_column(name, overflow="fold")
    table.add_column("bytes it sends on", justify="right")
    for part in manifest.parts:
        sent = sum(move.nbytes for move in manifest.transfers if move.source == part.stage)
        table.add_row(part.file, ", ".join(part.inputs), ", ".join(part.outputs), human_bytes(sent))
    console.print(table)
