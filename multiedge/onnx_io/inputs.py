"""Seeded inputs that fit a model's signature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from multiedge.errors import ModelError
from multiedge.graph import Dim, Graph, Node, Tensor
from multiedge.onnx_io.states import step_shapes
from multiedge.states import BATCH as ROWS
from multiedge.states import SEQUENCE, Step

BATCH, LENGTH = 1, 8
"""What a dimension without a size gets: the first one is taken for a batch, others for a length."""

_PASSES_VALUES = frozenset(
    {"Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Expand", "Tile", "Slice", "Concat", "Gather", "Split"}
)
"""Operators whose output holds the values of their first input, so that indices stay indices."""
_LENGTHS = {"LSTM": 4, "GRU": 4, "RNN": 4, "ReverseSequence": 1}
"""Which input of an operator holds the length of each sequence of its first input."""


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, Any]:
    """Random inputs of a model: floats from N(0, 1), integers within the sizes of the tables that they index, and full lengths
    of sequences, so that recurrent operators work as long as they may.

    A dynamic dimension is 1 if it is the first and 8 otherwise, and the same for the same name; read the graph with `shapes` to
    choose other sizes.

    Args:
        graph: The model.
        seed: The same seed gives the same values.

    Returns:
        An array for each input, by name; a list of arrays for an input that is a sequence.

    Raises:
        ModelError: If the type or shape of an input is unknown.
    """
    generator = np.random.default_rng(seed)
    sizes: dict[str, int] = {}
    made = {name: _value(graph, graph.tensors[name], generator, sizes) for name in graph.inputs if name != SEQUENCE}
    made.update({each.input: np.ones_like(made[each.input]) for each in graph.extended})
    return {**made, SEQUENCE: _step(graph).array()} if graph.states else made


def random_feed(graph: Graph, seed: int = 0) -> dict[str, Any]:
    """Random inputs of a model's file: as `random_inputs`, with values for states, too, and all of masks. Open dimensions of a
    model with states are those of a step of 8 tokens behind 8 others.

    Args:
        graph: The model.
        seed: The same seed gives the same values.

    Returns:
        An array for each input of the file, by name.

    Raises:
        ModelError: If the type or shape of an input is unknown.
    """
    file = graph.of_file()
    if graph.states and not all(tensor.known_shape for tensor in graph.file_inputs.values()):
        shapes = step_shapes(graph, 2 * LENGTH, LENGTH, BATCH)
        file = replace(file, tensors={**file.tensors, **{n: replace(file.tensors[n], shape=s) for n, s in shapes.items()}})
    return random_inputs(file, seed)


def _step(graph: Graph) -> Step:
    """A step alone, of the rows and tokens that the shapes of the graph have."""
    shapes = [(state.start, graph.parameters[state.input].shape or state.start) for state in graph.states]
    rows = [size for start, shape in shapes for kind, size in zip(start, shape, strict=True) if kind == ROWS]
    tokens = [(graph.tensors[each.input].shape or {each.axis: 1})[each.axis] for each in graph.extended]
    return Step(batch=_first_known(rows), tokens=_first_known(tokens))


def _first_known(sizes: Sequence[Dim]) -> int:
    return next((size for size in sizes if isinstance(size, int) and size > 0), 1)


def _value(graph: Graph, tensor: Tensor, generator: np.random.Generator, sizes: dict[str, int]) -> Any:
    if tensor.dtype is None or tensor.shape is None:
        if tensor.dtype == "sequence":
            return [generator.standard_normal((2, 3)).astype(np.float32) for _ in range(2)]
        raise ModelError(f"{graph.name}: input '{tensor.name}' has no known type or shape, so none can be made up; give one")
    return _array(graph, tensor, _shape(tensor, sizes), generator)


def _shape(tensor: Tensor, sizes: dict[str, int]) -> tuple[int, ...]:
    found = []
    for axis, dim in enumerate(tensor.shape or ()):
        default = BATCH if axis == 0 else LENGTH
        found.append(dim if isinstance(dim, int) else sizes.setdefault(dim, default) if dim else default)
    return tuple(found)


def _array(graph: Graph, tensor: Tensor, shape: tuple[int, ...], generator: np.random.Generator) -> npt.NDArray[Any]:
    if tensor.dtype == "object":
        return np.array([f"text {index}" for index in range(int(np.prod(shape)))], dtype=object).reshape(shape)
    try:
        dtype = np.dtype(str(tensor.dtype))
    except TypeError:
        raise ModelError(f"{graph.name}: input '{tensor.name}' of type {tensor.dtype} cannot be made up; give one") from None
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        length = _full_length(graph, tensor.name)
        if length is not None:
            return np.full(shape, length, dtype)
        return generator.integers(0, _bound(graph, tensor.name), shape).astype(dtype)
    if dtype.kind == "c":
        return (generator.standard_normal(shape) + 1j * generator.standard_normal(shape)).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)


def _bound(graph: Graph, name: str) -> int:
    """Below what the values of an integer input must stay: the smallest table that they index, or 2 (a mask, a flag)."""
    tables = [
        _size(graph, node.inputs[0], int(node.attributes.get("axis", 0)))
        for node, reading in _readers(graph, name)
        if node.op_type == "Gather" and node.inputs[1] == reading
    ]
    return min((rows or 2 for rows in tables), default=2)


def _full_length(graph: Graph, name: str) -> int | None:
    """The most that each value may be if the input holds the lengths of sequences; None if it does not."""
    for node, reading in _readers(graph, name):
        place = _LENGTHS.get(node.op_type)
        if place is not None and len(node.inputs) > place and node.inputs[place] == reading:
            return _size(graph, node.inputs[0], _time_axis(node))
    return None


def _time_axis(node: Node) -> int:
    if node.op_type == "ReverseSequence":
        return int(node.attributes.get("time_axis", 0))
    return int(node.attributes.get("layout", 0))


def _readers(graph: Graph, name: str) -> Iterator[tuple[Node, str]]:
    """The nodes that read the values of a tensor, also behind others that pass them on, and the name that each reads."""
    pending, seen = [name], {name}
    while pending:
        reading = pending.pop()
        for index in graph.consumers.get(reading, ()):
            node = graph.nodes[index]
            yield node, reading
            if node.op_type in _PASSES_VALUES and node.inputs[0] == reading:
                passed = [output for output in node.writes if output not in seen]
                seen.update(passed)
                pending += passed


def _size(graph: Graph, name: str, axis: int) -> int | None:
    """The size of a tensor along an axis; None if it is not known, or zero."""
    tensor = graph.parameters.get(name) or graph.tensors.get(name)
    shape = tensor.shape if tensor is not None and tensor.shape is not None else ()
    size = shape[axis] if -len(shape) <= axis < len(shape) else None
    return size if isinstance(size, int) and size > 0 else None
