"""Small graphs written down in one line."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from multiedge.graph import Dim, Graph, Node, Tensor

Size = int | tuple[Dim, ...] | Tensor | None
"""A number of bytes, the shape of a float32 tensor, a tensor, or None for a size that is not known."""


def tensor(name: str, size: Size) -> Tensor:
    """The tensor `name` of that size; a shape gives bytes where each of its dimensions is a number."""
    if isinstance(size, Tensor):
        return size
    if isinstance(size, tuple):
        numbers = [dim for dim in size if isinstance(dim, int)]
        return Tensor(name, "float32", size, 4 * prod(numbers) if len(numbers) == len(size) else None)
    return Tensor(name, nbytes=size)


def graph_of(
    *nodes: Node | str,
    inputs: tuple[str, ...] = ("x",),
    outputs: tuple[str, ...] | None = None,
    tensors: Mapping[str, Size] | Size = 10,
    parameters: Mapping[str, Size] | None = None,
    name: str = "graph",
    model_hash: str = "",
) -> Graph:
    """A graph of nodes, or of lines such as 'y: a b' (node 'n2', operator 'Op', reads a and b, makes y).

    `tensors` is the size of every tensor, or sizes by name, in which a missing one is not known. `outputs` are the
    tensors that no node reads, if not stated.
    """
    made = tuple(_node(index, node) if isinstance(node, str) else node for index, node in enumerate(nodes))
    parameters = parameters or {}
    read = {name for node in made for name in node.reads}
    names = dict.fromkeys([*inputs, *(name for node in made for name in (*node.reads, *node.writes))])
    sizes = tensors if isinstance(tensors, Mapping) else dict.fromkeys(names, tensors)
    return Graph(
        name,
        made,
        inputs,
        tuple(name for node in made for name in node.writes if name not in read) if outputs is None else outputs,
        {name: tensor(name, sizes.get(name)) for name in names if name not in parameters},
        {name: tensor(name, size) for name, size in parameters.items()},
        model_hash=model_hash,
    )


def _node(index: int, line: str) -> Node:
    writes, _, reads = line.partition(":")
    return Node(f"n{index}", "Op", tuple(reads.split()), tuple(writes.split()))


def chain_graph(
    count: int,
    *,
    sizes: Size | list[int] = 10,
    weight_bytes: int | None = None,
    op_type: str = "Op",
    model_hash: str = "",
) -> Graph:
    """t0 -> n0 -> t1 -> n1 -> ...; `sizes` of all tensors, or of each of the count + 1; with weights node i reads wi."""
    weights = {} if weight_bytes is None else {f"w{i}": weight_bytes for i in range(count)}
    reads = [(f"t{i}",) if weight_bytes is None else (f"t{i}", f"w{i}") for i in range(count)]
    nodes = [Node(f"n{i}", op_type, names, (f"t{i + 1}",)) for i, names in enumerate(reads)]
    tensors = {f"t{i}": size for i, size in enumerate(sizes)} if isinstance(sizes, list) else sizes
    return graph_of(*nodes, inputs=("t0",), tensors=tensors, parameters=weights, name="chain", model_hash=model_hash)


def fork_graph(branches: int = 2, length: int = 1, *, nbytes: int = 10) -> Graph:
    """x -> h, then `branches` chains of `length` nodes, then one node that joins them into y; branch by branch."""
    lines = ["h: x"]
    for branch in range(branches):
        made = ["h", *(f"b{branch}.{step}" for step in range(length))]
        lines += [f"{made[step + 1]}: {made[step]}" for step in range(length)]
    ends = " ".join(f"b{branch}.{length - 1}" for branch in range(branches))
    return graph_of(*lines, f"y: {ends}", tensors=nbytes, name="fork")
