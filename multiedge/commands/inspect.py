"""`multiedge inspect`: what a model is made of, and where it is cheapest to cut."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from multiedge.commands import _options
from multiedge.commands._terminal import Column, fits, new_console, print_columns, print_line, shorten
from multiedge.composed import Composition
from multiedge.errors import ModelError, require_least, shape_text
from multiedge.files import write_text
from multiedge.fleet import Device, Fleet
from multiedge.graph import Cut, Graph, Tensor
from multiedge.onnx_io.cuts import cheapest_cuts
from multiedge.plan import Stage
from multiedge.quantity import human_bytes, human_macs
from multiedge.report.plan_text import batch_lines, measured_lines
from multiedge.run import profile_model

if TYPE_CHECKING:
    from rich.console import Console

LONGEST_NAME = 32
"""Characters of a node's name that the table shows."""


def run(args: argparse.Namespace) -> int:
    require_least("--top", args.top, 1)
    graph = _options.read_sized(args)
    if args.svg:
        write_text(args.svg, drawn(graph))
    facts = describe(graph)
    needs = missing(graph)
    facts |= {"needs": needs} if needs else costs(graph, args.top)
    if args.json:
        print(json.dumps(facts, indent=1))
    else:
        show(graph, facts, new_console())
    return 1 if needs else 0


def missing(graph: Graph) -> str | None:
    """What must be given before costs can be stated; None if nothing is missing."""
    try:
        graph.require_sizes()
    except ModelError as error:
        return str(error)
    return None


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
        "states": [{"input": state.input, "output": state.output} for state in graph.states],
        "free_batch": list(graph.free_batch),
        "measured_sizes": list(graph.measured_sizes),
        **({"steps": steps(graph, graph.composition)} if graph.composition else {}),
        "operators": dict(Counter(node.op_type for node in graph.nodes).most_common()),
    }


def steps(graph: Graph, composition: Composition) -> list[dict[str, Any]]:
    """The steps of a workflow, in order, as JSON data; a rate that is not known is null."""
    from multiedge.report.workflow_svg import boxes_of

    return [
        {
            "step": name,
            "kind": box.kind,
            "does": box.detail,
            "condition": box.condition or None,
            "rate": None if name in composition.assumed else box.rate,
            "batch": composition.segments[name].batch,
            "timeout_s": composition.segments[name].timeout_s,
            "opsets": dict(composition.segments[name].opsets),
        }
        for name, box in boxes_of(graph).items()
        if name in composition.segments
    ]


def drawn(graph: Graph) -> str:
    """The steps of a workflow, or the nodes of a model, as the text of an SVG file."""
    from multiedge.report.graph_svg import draw_graph, standalone
    from multiedge.report.workflow_svg import WORKFLOW_STYLE, draw_workflow

    if graph.composition:
        return standalone(draw_workflow(graph), WORKFLOW_STYLE)
    return standalone(draw_graph(graph, [Stage.span(graph.name, 0, len(graph.nodes))], []))


def costs(graph: Graph, top: int) -> dict[str, Any]:
    """What follows from the sizes, as JSON data."""
    profile = profile_model(graph, Fleet((Device("any", speed=1.0),), name="one device"), reference="declared")
    return {
        "macs": int(profile.macs.sum()),
        "uncounted": list(profile.uncounted),
        "cheapest_cuts": [_cut(graph, cut) for cut in cheapest_cuts(profile.graph, top)],
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
    work = f" {human_macs(facts['macs'], is_whole=not facts['uncounted'])}," if "macs" in facts else ""
    line = (
        f"{facts['model']}: {facts['nodes']} nodes, {_parameters(facts['parameters'])} ({size}),"
        f"{work} opset {opsets}, IR {facts['ir_version']}"
    )
    print_line(console, line)
    for kind in ("inputs", "outputs"):
        named = [f"{item['name']} {item['dtype']} {shape_text(item['shape'])}" for item in facts[kind]]
        print_line(console, f"{kind}: {'; '.join(named)}")
    if graph.states:
        first, *others = (f"{state.input} -> {state.output}" for state in graph.states)
        print_line(console, f"states: {first}{f' and {len(others)} more' if others else ''}")
    if "steps" in facts:
        show_steps(facts["steps"], console)
    operators = [f"{count} {name}" for name, count in facts["operators"].items()]
    print_line(console, f"operators: {', '.join(operators)}")
    for line in (
        *batch_lines([name for name in facts["free_batch"] if name in graph.inputs]),
        *measured_lines(facts["measured_sizes"]),
    ):
        print_line(console, line)
    if "needs" in facts:
        print_line(console, facts["needs"], style="red")
        return
    if facts["uncounted"]:
        print_line(console, f"not counted: {', '.join(facts['uncounted'])}")
    show_cuts(graph, facts["cheapest_cuts"], console)


def show_steps(steps: list[dict[str, Any]], console: Console) -> None:
    """Prints the table of the steps of a workflow."""
    columns = [
        Column("step", [step["step"] for step in steps], is_number=False),
        Column("does", [step["does"] for step in steps], is_number=False),
        Column("if", [step["condition"] or "" for step in steps], is_number=False),
        Column("for", ["unknown" if step["rate"] is None else f"{step['rate']:.0%}" for step in steps]),
        Column("opset", [str(step["opsets"].get("ai.onnx", "-")) for step in steps], leaves=1),
    ]
    print_columns(console, "steps, and the share of the items for which each computes", columns)


def _parameters(count: int) -> str:
    """
    >>> _parameters(1_235_496), _parameters(12_288), _parameters(1)
    ('1.2 M parameters', '12,288 parameters', '1 parameter')
    """
    return f"{count / 1e6:.1f} M parameters" if count >= 1e6 else f"{count:,} parameter{'' if count == 1 else 's'}"


def show_cuts(graph: Graph, cuts: list[dict[str, Any]], console: Console) -> None:
    """Prints the table of cuts. Names that do not fit are printed behind it, unbroken: they are there to be copied."""
    given = [",".join(name for name in cut["tensors"] if name not in graph.inputs) for cut in cuts]
    after = [str(cut["after"] - 1) for cut in cuts]
    columns = [
        Column("after node", after),
        Column("of", [str(len(graph.nodes))] * len(cuts), leaves=1),
        Column("name", [shorten(cut["after_node"], LONGEST_NAME) for cut in cuts], leaves=2, is_number=False),
        Column("crossing", [human_bytes(cut["nbytes"]) for cut in cuts]),
        Column("tensors (for --at)", given, is_number=False),
    ]
    in_table = fits(console, columns)
    print_columns(console, "cheapest cuts, in order of the model", columns if in_table else columns[:-1])
    if not in_table:
        print_line(console, "tensors (for --at), by node:")
        for node, names in zip(after, given, strict=True):
            print_line(console, f"{node}  {names}")
