"""A model under names of its own, so that several models fit into one graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import onnx
from onnx import helper

from multiedge.onnx_io.inner_weights import bodies

Rename = Callable[[str], str]


def renamed_model(proto: Any, prefix: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> tuple[Any, Rename]:
    """A copy of a model whose nodes, tensors and functions have names that begin with `prefix/`.

    Args:
        proto: The model.
        prefix: What names begin with.
        inputs: New names of inputs.
        outputs: New names of outputs. One that is an input or an initialiser is made by a new node Identity.

    Returns:
        The copy, and the function that gives the new name of a tensor.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    made = {name for node in copy.graph.node for name in node.output}
    names = dict(inputs)
    for value in copy.graph.output:
        new = outputs[value.name]
        if value.name not in made:
            again = f"{value.name}/again"
            copy.graph.node.append(helper.make_node("Identity", [value.name], [again], again))
            value.name = again
        names[value.name] = new

    def rename(name: str) -> str:
        return names.get(name) or (f"{prefix}/{name}" if name else "")

    _rename_graph(copy.graph, rename, f"{prefix}/")
    _rename_functions(copy, prefix)
    return copy, rename


def _rename_graph(graph: Any, rename: Rename, prefix: str) -> None:
    """New names in a graph and in the bodies of its nodes, which read tensors of the graph around them."""
    for node in graph.node:
        node.name = f"{prefix}{node.name}" if node.name else ""
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = rename(name)
        for body in bodies(node):
            _rename_graph(body, rename, prefix)
    for tensor in graph.initializer:
        tensor.name = rename(tensor.name)
    for tensor in graph.sparse_initializer:
        tensor.values.name = rename(tensor.values.name)
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = rename(value.name)
    for item in graph.quantization_annotation:
        item.tensor_name = rename(item.tensor_name)
        for entry in item.quant_parameter_tensor_names:
            entry.value = rename(entry.value)


def _rename_functions(model: Any, prefix: str) -> None:
    """New domains for the model's own functions: another model may have others of the same names."""
    functions = {(function.domain, function.name) for function in model.functions}
    domains = {function.domain: f"{prefix}.{function.domain}" for function in model.functions}
    _rename_calls(model.graph.node, functions, domains)
    for function in model.functions:
        _rename_calls(function.node, functions, domains)
        function.domain = domains[function.domain]
    for user in (model, *model.functions):
        known = [item for item in user.opset_import if item.domain in domains]
        user.opset_import.extend(helper.make_opsetid(domains[item.domain], item.version) for item in known)


def _rename_calls(nodes: Iterable[Any], functions: set[tuple[str, str]], domains: Mapping[str, str]) -> None:
    for node in nodes:
        if (node.domain, node.op_type) in functions:
            node.domain = domains[node.domain]
        for body in bodies(node):
            _rename_calls(body.node, functions, domains)
