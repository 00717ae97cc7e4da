"""`multiedge split`: cut a model into parts, without devices."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from multiedge.commands import _options
from multiedge.commands._terminal import new_console, new_table
from multiedge.onnx_io import write_parts
from multiedge.onnx_io.cuts import boundaries_at, boundaries_for
from multiedge.onnx_io.manifest import to_json
from multiedge.plan import Manifest
from multiedge.quantity import counted, human_bytes
from multiedge.run import plan_cuts

if TYPE_CHECKING:
    from rich.console import Console


def run(args: argparse.Namespace) -> int:
    graph = _options.read_with_states(args, _options.parse_shapes(args.shape))
    inner = (
        boundaries_for(graph, args.parts) if args.parts is not None else boundaries_at(graph, [at.split(",") for at in args.at])
    )
    manifest = write_parts(graph, plan_cuts(graph, inner), args.output, copy_weights=args.copy_weights)
    if args.json:
        print(json.dumps(to_json(manifest), indent=1))
    else:
        show(manifest, new_console())
    return 0


def show(manifest: Manifest, console: Console) -> None:
    table = new_table(f"{counted(len(manifest.parts), 'part')} in {manifest.directory}, weights {manifest.weights}")
    for name in ("part", "takes", "gives"):
        table.add_column(name, overflow="fold")
    table.add_column("bytes it sends on", justify="right")
    for part in manifest.parts:
        sent = [move.nbytes for move in manifest.transfers if move.source == part.stage]
        known = [nbytes for nbytes in sent if nbytes is not None]
        size = human_bytes(sum(known)) if len(known) == len(sent) else "not known"
        table.add_row(part.file, "\n".join(part.inputs), "\n".join(part.outputs), size)
    console.print(table)
