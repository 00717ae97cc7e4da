"""`multiedge inspect`: what a model is made of, and where it is cheapest to cut."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from multiedge.commands import _options
from multiedge.commands._terminal import new_console, new_table, print_line
from multiedge.errors import require_least, shape_text
from multiedge.fleet import Device, Fleet
from multiedge.graph import Cut, Graph, Tensor
from multiedge.onnx_io.cuts import cheapest_cuts
from multiedge.quantity import human_bytes
from multiedge.report.plan_text import batch_lines
from multiedge.run import profile_model

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def run(args: argparse.Namespace) -> int:
    require_least("--top", args.top, 1)
    graph = _options.read_sized(args)
    facts = describe(graph)
    unknown = graph.size_error(graph.unsized) if graph.unsized else None
    facts |= costs(graph, args.top) if unknown is None else {"needs": str(unknown)}
    if args.json:
        print(json.dumps(facts, indent=1))
    else:
        show(graph, facts, new_console())
    return 0 if unknown is None else 1


def describe(graph: Graph) -> dict[str, Any]:
    """What is known without sizes, as JSON data."""
    return {
        "model": graph.name,
        "path": graph.path,
        "model_hash": graph.model_hash,
        "ir_version": graph.ir_version,
        "opsets": dict(graph.opsets),
        "nodes": len(graph.nodes),
        "parameters": sum(_count(tensor) for tensor in graph.stored_parameters),
        "parameter_bytes": graph.parameter_bytes,
        "inputs": [_tensor(graph.tensors[name]) for name in graph.inputs],
        "outputs": [_tensor(graph.tensors[name]) for name in graph.outputs if name in graph.tensors],
        "free_batch": list(graph.free_batch),
        "operators": dict(Counter(node.op_type for node in graph.nodes).most_common()),
    }


def costs(graph: Graph, top: int) -> dict[str, Any]:
    """What follows from the sizes, as JSON data."""
    profile = profile_model(graph, Fleet((Device("any", speed=1.0),), name="one device"), reference="declared")
    return {
        "macs": int(profile.macs.sum()),
        "uncounted": list(profile.uncounted),
        "cheapest_cuts": [_cut(graph, cut) for cut in cheapest_cuts(graph, top)],
    }


def _count(tensor: Tensor) -> int:
    count = 1
    for size in tensor.shape or ():
        count *= size if isinstance(size, int) else 1
    return count


def _tensor(tensor: Tensor) -> dict[str, Any]:
    shape = None if tensor.shape is None else list(tensor.shape)
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": shape, "nbytes": tensor.nbytes}


def _cut(graph: Graph, cut: Cut) -> dict[str, Any]:
    return {
        "after": cut.after,
        "after_node": graph.nodes[cut.after - 1].name,
        "tensors": list(cut.tensors),
        "nbytes": cut.nbytes,
    }


def show(graph: Graph, facts: dict[str, Any], console: Console) -> None:
    opsets = ", ".join(f"{domain} {version}" for domain, version in facts["opsets"].items())
    size = "size not known" if facts["parameter_bytes"] is None else human_bytes(facts["parameter_bytes"])
    work = f" {_macs(facts['macs'])}," if "macs" in facts else ""
    line = (
        f"{facts['model']}: {facts['nodes']} nodes, {_parameters(facts['parameters'])} ({size}),"
        f"{work} opset {opsets}, IR {facts['ir_version']}"
    )
    print_line(console, line)
    for kind in ("inputs", "outputs"):
        named = [f"{item['name']} {item['dtype']} {shape_text(item['shape'])}" for item in facts[kind]]
        print_line(console, f"{kind}: {'; '.join(named)}")
    operators = [f"{count} {name}" for name, count in facts["operators"].items()]
    print_line(console, f"operators: {', '.join(operators)}")
    for line in batch_lines(facts["free_batch"]):
        print_line(console, line)
    if "needs" in facts:
        print_line(console, facts["needs"], style="red")
        return
    if facts["uncounted"]:
        print_line(console, f"not counted: {', '.join(facts['uncounted'])}")
    console.print(_cut_table(graph, facts["cheapest_cuts"]))


def _parameters(count: int) -> str:
    """
    >>> _parameters(1_235_496), _parameters(12_288), _parameters(0)
    ('1.2 M parameters', '12,288 parameters', '0 parameters')
    """
    return f"{count / 1e6:.1f} M parameters" if count >= 1e6 else f"{count:,} parameters"


def _macs(count: int) -> str:
    """
    >>> _macs(351_000_000), _macs(12_288), _macs(0)
    ('0.35 GMACs', '0.0123 MMACs', '0 MACs')
    """
    if count >= 1e7:
        return f"{count / 1e9:.2f} GMACs"
    return f"{count / 1e6:.3g} MMACs" if count else "0 MACs"


def _cut_table(graph: Graph, cuts: list[dict[str, Any]]) -> Table:
    table = new_table("cheapest cuts, in order of the model")
    table.add_column("after node", justify="right")
    table.add_column("of", justify="right")
    table.add_column("name", overflow="fold")
    table.add_column("crossing", justify="right")
    table.add_column("tensors (for --at)", overflow="fold")
    for cut in cuts:
        row = (str(cut["after"] - 1), str(len(graph.nodes)), cut["after_node"], human_bytes(cut["nbytes"]))
        table.add_row(*row, ",".join(name for name in cut["tensors"] if name not in graph.inputs))
    return table
