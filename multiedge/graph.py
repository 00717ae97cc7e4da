"""An ONNX model as plain values: nodes in topological order and the tensors between them.

A Graph has the sizes of weights, never the weights. `multiedge.onnx_io.read_graph` makes one from a file; one can also be built
by hand, as tests do.
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
    """A named value.

    Attributes:
        name: Unique in its graph.
        dtype: numpy's name ('float32', 'int64', 'object' for strings), or 'sequence', 'map', 'optional' and so on for values
            that are not tensors. None if unknown.
        shape: The dimensions; None if unknown.
        nbytes: None unless the whole shape is known.
    """

    name: str
    dtype: str | None = None
    shape: tuple[Dim, ...] | None = None
    nbytes: int | None = None


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name: Unique in its graph.
        op_type: The operator, such as 'Conv'.
        inputs: Tensor names by position; '' is an optional input that is left out.
        outputs: Tensor names by position; '' is an optional output that is left out.
        domain: The operator's domain; '' is ONNX's own.
        captures: Tensors of this graph that the node's sub-graphs (bodies of If, Loop, Scan) read.
        attributes: Numbers, strings and tuples of them. A sub-graph is its number of nodes, a tensor its shape.
    """

    name: str
    op_type: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    domain: str = ""
    captures: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Every tensor that the node needs before it can run, without repeats."""
        return tuple(dict.fromkeys(filter(None, (*self.inputs, *self.captures))))

    @cached_property
    def writes(self) -> tuple[str, ...]:
        """Every tensor that the node makes."""
        return tuple(filter(None, self.outputs))


@dataclass(frozen=True)
class Cut:
    """A boundary of the node order, and the tensors that cross it.

    Attributes:
        after: Number of nodes before the boundary.
        tensors: Names of the tensors that cross it.
        nbytes: Their bytes; None if the size of any of them is unknown.
    """

    after: int
    tensors: tuple[str, ...]
    nbytes: int | None


@dataclass(frozen=True)
class Graph:
    """A model.

    Parameters are known before any input is, so they never cross a cut: a part contains those that it reads.

    Attributes:
        name: Name of the model.
        nodes: The operations, in topological order.
        inputs: Names of the tensors that the caller gives.
        outputs: Names of the tensors that the caller gets.
        tensors: Activations, inputs and outputs, by name.
        parameters: Initialisers, and tensors that nodes make from initialisers alone, by name.
        opsets: Version by operator domain.
        ir_version: Version of the ONNX format; 0 if unknown.
        model_hash: Hash of the structure and of the sizes and ends of the weights; '' if unknown. Plans have it, too.
        path: The file that it was read from; None if there is none.
    """

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
        """Names of the tensors that each node reads, without parameters."""
        parameters = self.parameters
        return tuple(tuple(name for name in node.reads if name not in parameters) for node in self.nodes)

    @cached_property
    def parameters_read(self) -> tuple[tuple[str, ...], ...]:
        """Names of the parameters that each node reads."""
        parameters = self.parameters
        return tuple(tuple(name for name in node.reads if name in parameters) for node in self.nodes)

    @cached_property
    def tensor_bytes(self) -> dict[str, int]:
        """Bytes of each of `tensors`; an unknown size counts as 0."""
        return {name: tensor.nbytes or 0 for name, tensor in self.tensors.items()}

    def activations_read(self, index: int) -> tuple[str, ...]:
        """The tensors that a node reads, without parameters.

        Args:
            index: The node's position in `nodes`.

        Returns:
            Names of tensors, without repeats.
        """
        return self.activations[index]

    @cached_property
    def cuts(self) -> tuple[Cut, ...]:
        """Every boundary of the node order, `after` = 0 ... len(nodes), with the tensors that are live across it.

        A tensor is live at a boundary if it is made (or is an input) before it and is read after it. Boundary 0 has the graph
        inputs that are read at all; the last one has none, since graph outputs are sent to the caller by the stage that makes
        them. The time is linear in the number of nodes and of listed tensors.
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
        """The boundary after the last node that makes one of these tensors.

        Args:
            tensors: Names of tensors.

        Returns:
            The number of nodes before the boundary.

        Raises:
            ModelError: If no node makes one of the tensors.
        """
        after = 0
        for name in tensors:
            if name not in self.producer:
                raise ModelError(f"{self.name}: no node makes a tensor '{name}'{did_you_mean(name, self.producer)}")
            after = max(after, self.producer[name] + 1)
        return after

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all parameters; one of unknown size counts as 0."""
        return sum(tensor.nbytes or 0 for tensor in self.parameters.values())
