"""An ONNX model as plain values: nodes in topological order and the tensors between them.

Weights are never held here, only their sizes. `multiedge.onnx_io.read_graph` makes a Graph from a file; a test
or a researcher can write one down by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from multiedge.errors import ModelError, did_you_mean

Dim = int | str | None
"""One dimension: a number, the name of a symbolic size, or None where nothing is known."""


@dataclass(frozen=True)
class Tensor:
    """A named value. `dtype` is numpy's name ('float32', 'int64', 'object' for strings) or 'sequence', 'map',
    'optional' and so on for values that are not tensors; `shape` is None if unknown; `nbytes` is None unless the
    shape is fully known."""

    name: str
    dtype: str | None = None
    shape: tuple[Dim, ...] | None = None
    nbytes: int | None = None


@dataclass(frozen=True)
class Node:
    """One operation. Names in `inputs` and `outputs` keep their positions; '' marks an optional one left out.
    `captures` are tensors of this graph that the node's sub-graphs (If, Loop, Scan bodies) read."""

    name: str
    op_type: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    domain: str = ""
    captures: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Numbers, strings and their tuples; sub-graphs are given as their number of nodes (int), tensors as shape tuples."""

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Every tensor that must be at hand before the node can run, without repeats."""
        return tuple(dict.fromkeys(name for name in (*self.inputs, *self.captures) if name))

    @cached_property
    def writes(self) -> tuple[str, ...]:
        return tuple(name for name in self.outputs if name)


@dataclass(frozen=True)
class Cut:
    """The boundary before node `after` (so `after` nodes come before it) and what must cross it.

    `nbytes` is None if the size of any crossing tensor is unknown."""

    after: int
    tensors: tuple[str, ...]
    nbytes: int | None


@dataclass(frozen=True)
class Graph:
    """A model: `nodes` in topological order, `tensors` by name (activations, inputs and outputs), `parameters` by
    name: initialisers, and tensors that nodes make from these alone. Parameters are known before any input is, so they
    never cross a cut: a part holds those that it reads."""

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    opsets: Mapping[str, int] = field(default_factory=dict)
    ir_version: int = 0
    model_hash: str = ""
    path: str | None = None

    @cached_property
    def producer(self) -> dict[str, int]:
        """Index of the node that makes each tensor; graph inputs and parameters are absent."""
        return {name: index for index, node in enumerate(self.nodes) for name in node.writes}

    @cached_property
    def consumers(self) -> dict[str, tuple[int, ...]]:
        """Indices of the nodes that read each tensor or parameter, ascending."""
        found: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for name in node.reads:
                found.setdefault(name, []).append(index)
        return {name: tuple(indices) for name, indices in found.items()}

    @cached_property
    def activations(self) -> tuple[tuple[str, ...], ...]:
        """What each node reads that is not a parameter."""
        parameters = self.parameters
        return tuple(tuple(name for name in node.reads if name not in parameters) for node in self.nodes)

    @cached_property
    def parameters_read(self) -> tuple[tuple[str, ...], ...]:
        """What each node reads that is a parameter."""
        parameters = self.parameters
        return tuple(tuple(name for name in node.reads if name in parameters) for node in self.nodes)

    @cached_property
    def tensor_bytes(self) -> dict[str, int]:
        """Bytes of each of `tensors`; a size that is not known counts as 0."""
        return {name: tensor.nbytes or 0 for name, tensor in self.tensors.items()}

    def activations_read(self, index: int) -> tuple[str, ...]:
        """What node `index` reads that is not a parameter."""
        return self.activations[index]

    @cached_property
    def cuts(self) -> tuple[Cut, ...]:
        """Every boundary of the order, `after` = 0 ... len(nodes), with the tensors live across it.

        A tensor is live at a boundary if it was made (or fed in) before it and is read after it. Boundary 0 carries
        the graph inputs that are read at all, the last one nothing: graph outputs go back to the caller from the
        stage that makes them. Linear in nodes plus total tensors listed.
        """
        live: dict[str, int | None] = {}
        unknown = 0
        total = 0
        last_read = {name: indices[-1] for name, indices in self.consumers.items()}

        def enter(name: str) -> None:
            nonlocal unknown, total
            nbytes = self.tensors[name].nbytes if name in self.tensors else None
            live[name] = nbytes
            unknown += nbytes is None
            total += nbytes or 0

        for name in self.inputs:
            if name in last_read and name not in self.parameters:
                enter(name)
        found = [Cut(0, tuple(live), None if unknown else total)]
        for index, node in enumerate(self.nodes):
            for name in node.reads:
                if name in live and last_read[name] == index:
                    nbytes = live.pop(name)
                    unknown -= nbytes is None
                    total -= nbytes or 0
            for name in node.writes:
                if name in last_read and name not in self.parameters:
                    enter(name)
            found.append(Cut(index + 1, tuple(live), None if unknown else total))
        return tuple(found)

    def boundary_at(self, tensors: Iterable[str]) -> int:
        """Number of nodes before the cut that `tensors` name: the end of the last node that makes one of them.

        Raises ModelError for a tensor that no node makes.
        """
        after = 0
        for name in tensors:
            if name not in self.producer:
                raise ModelError(f"{self.name}: no node makes a tensor '{name}'{did_you_mean(name, self.producer)}")
            after = max(after, self.producer[name] + 1)
        return after

    @property
    def parameter_bytes(self) -> int:
        return sum(tensor.nbytes or 0 for tensor in self.parameters.values())
