"""An ONNX model as plain values: nodes in topological order and the tensors between them.

A Graph has the sizes of weights, never the weights. `multiedge.onnx_io.read_graph` makes one from a file; one can also be built
by hand, as tests do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from multiedge.composed import Composition
from multiedge.errors import ModelError, UnknownSizeError, did_you_mean
from multiedge.states import FIELDS, KEPT_ANSWERS, SEQUENCE, Extended, State
from multiedge.step_costs import StepSize

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
        rate: The share of items for which it is there; below 1 behind a condition of a workflow.
    """

    name: str
    dtype: str | None = None
    shape: tuple[Dim, ...] | None = None
    nbytes: int | None = None
    rate: float = 1.0

    @property
    def is_array(self) -> bool:
        """Whether it is a tensor of numbers or text, as far as is known, and not a sequence, a map or the like."""
        return self.dtype not in ("sequence", "map", "optional", "sparse tensor")

    @property
    def known_shape(self) -> tuple[int, ...] | None:
        """The shape; None if any dimension is unknown."""
        sizes = tuple(size for size in self.shape or () if isinstance(size, int))
        return sizes if self.shape is not None and len(sizes) == len(self.shape) else None


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
        bodies: For each sub-graph, the tensors of this graph that its own nodes read, by their type of operator; what deeper
            sub-graphs read is in `captures` only.
    """

    name: str
    op_type: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    domain: str = ""
    captures: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    bodies: tuple[Mapping[str, tuple[str, ...]], ...] = ()

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

    Parameters are known before any input is, so they never cross a cut: a part contains those that it reads. So it is with the
    inputs of states, which are parameters, too: the stage that reads them keeps them. Nodes that read states also read
    SEQUENCE.

    Attributes:
        name: Name of the model.
        nodes: The operations, in topological order.
        inputs: Names of the tensors that the caller gives; SEQUENCE is one of them if there are states.
        outputs: Names of the tensors that the caller gets.
        tensors: Activations, inputs and outputs, by name.
        parameters: Initialisers, tensors that nodes make from initialisers alone, and inputs of states, by name.
        opsets: Version by operator domain.
        ir_version: Version of the ONNX format; 0 if unknown.
        model_hash: Hash of the structure and of the sizes and ends of the weights; '' if unknown. Plans have it, too.
        path: The file that it was read from; None if there is none.
        free_batch: Inputs whose first dimension the model leaves open; it is taken as 1.
        measured_sizes: Tensors whose size depends on the data, or is not known from the file; theirs is that of one run.
        states: What loops from one step of a sequence to the next.
        extended: Inputs of which items have the values of their own tokens alone; `tensors` has them so.
        whole_inputs: The tensors of `extended` as the nodes read them, by name.
        recomputed: Tensors that each stage which reads them makes for itself: they are among `parameters`, and who reads them
            captures what they are made from.
        growing: Tensors whose size grows with the sequence.
        sequences: Sequences for whose states `parameters` count memory.
        refusal: Why its states cannot be kept; '' if they can.
        composition: Of what the file is composed, if it is that of a workflow.
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
    free_batch: tuple[str, ...] = ()
    measured_sizes: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    extended: tuple[Extended, ...] = ()
    whole_inputs: Mapping[str, Tensor] = field(default_factory=dict)
    recomputed: tuple[str, ...] = ()
    growing: tuple[str, ...] = ()
    sequences: int = 1
    refusal: str = ""
    composition: Composition | None = None

    @property
    def file_inputs(self) -> dict[str, Tensor]:
        """The tensors that the model's file takes, by name: `inputs` as its nodes read them, and the inputs of states."""
        given = {name: self.whole_inputs.get(name) or self.tensors[name] for name in self.inputs if name != SEQUENCE}
        return {**given, **{state.input: self.parameters[state.input] for state in self.states}}

    def of_file(self) -> Graph:
        """The model as its file is: states are inputs and outputs as others are.

        Returns:
            A new Graph; this one if it has no states.
        """
        if not self.states:
            return self
        given = self.file_inputs
        tensors = {name: tensor for name, tensor in self.tensors.items() if name != SEQUENCE}
        return replace(
            self,
            nodes=tuple(
                replace(node, captures=tuple(name for name in node.captures if name not in (SEQUENCE, KEPT_ANSWERS)))
                for node in self.nodes
            ),
            inputs=tuple(given),
            outputs=(*self.outputs, *(state.output for state in self.states)),
            tensors={**tensors, **given},
            parameters={name: tensor for name, tensor in self.parameters.items() if name not in {*given, KEPT_ANSWERS}},
            states=(),
            whole_inputs={},
        )

    @property
    def held(self) -> frozenset[str]:
        """Parameters that are no weights: inputs of states, and what is kept of answers."""
        return frozenset({KEPT_ANSWERS, *(state.input for state in self.states)})

    @cached_property
    def inside_states(self) -> frozenset[int]:
        """Boundaries between nodes of one state, where no stage may end."""
        spans = [range(nodes[0] + 1, nodes[-1] + 1) for nodes in self.state_nodes.values()]
        return frozenset(after for span in spans for after in span)

    @cached_property
    def closed_boundaries(self) -> frozenset[int]:
        """Boundaries where strategies end no stage of a model with states: those inside a state; where a tensor crosses that
        grows with the sequence; and of those from one layer's states to the next one's all where more crosses than must."""
        if not self.states:
            return frozenset()
        growing = frozenset(self.growing) - self.parameters.keys()
        closed = self.inside_states | {cut.after for cut in self.cuts if not growing.isdisjoint(cut.tensors)}
        made = sorted({self.producer[state.output] for state in self.states})
        stream = 0.0
        for before, following in pairwise(made):
            between = [self.cuts[after] for after in range(before + 1, following + 1) if after not in closed]
            least = min((math.inf if cut.nbytes is None else cut.nbytes for cut in between), default=0)
            closed |= {cut.after for cut in between if cut.nbytes is None or cut.nbytes > least}
            stream = max(stream, least)
        ends = [*self.cuts[1 : made[0] + 1], *self.cuts[made[-1] + 1 : -1]] if stream else []
        return closed | {cut.after for cut in ends if cut.nbytes is None or cut.nbytes >= stream + SMALL_BYTES}

    @cached_property
    def state_nodes(self) -> dict[str, tuple[int, ...]]:
        """Indices of the nodes that read or make each state, ascending, by the name of its input; they are in one stage."""
        made = {state.input: {self.producer[state.output]} for state in self.states}
        return {name: tuple(sorted({*made[name], *self.consumers.get(name, ())})) for name in made}

    @property
    def step_size(self) -> StepSize | None:
        """The size of the step whose shapes the graph has; None if no state grows, or they are not known."""
        for state in self.states:
            shape = self.parameters[state.input].known_shape
            if state.axis is not None and shape is not None and state.length > shape[state.axis]:
                return StepSize(state.length - shape[state.axis], state.length)
        return None

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each input of the model's file whose dimensions are all known, by name."""
        given = self.file_inputs if self.states else {name: self.tensors[name] for name in self.inputs if name in self.tensors}
        shapes = {name: tensor.known_shape for name, tensor in given.items()}
        return {name: shape for name, shape in shapes.items() if shape is not None}

    @cached_property
    def unsized(self) -> tuple[str, ...]:
        """Names of inputs, activations and parameters whose bytes are not known, in the order of the model."""
        read = [name for names in self.parameters_read for name in names if self.parameters[name].nbytes is None]
        made = [name for name, tensor in self.tensors.items() if tensor.nbytes is None and name not in self.parameters]
        return tuple(dict.fromkeys((*made, *read)))

    @property
    def is_input_known(self) -> bool:
        """Whether the shape of each input is known, as far as it is a tensor."""
        return not any(_is_open(self.tensors[name]) for name in self.inputs if name in self.tensors)

    def require_inputs(self) -> None:
        """Checks that each input is a tensor whose shape is known.

        Raises:
            ModelError: If one is no tensor, such as a sequence or an optional, or the model has states that cannot be kept.
            UnknownSizeError: If one is not; it has a shape to give for each of these inputs.
        """
        if self.refusal:
            raise ModelError(f"{self.name}: {self.refusal}")
        for tensor in (self.tensors[name] for name in self.inputs if name in self.tensors):
            if not tensor.is_array:
                raise ModelError(f"{self.name}: input '{tensor.name}' is of type {tensor.dtype}; items can hold tensors only")
        asked = [name for name in self.inputs if name in self.tensors and _is_open(self.tensors[name])]
        if asked:
            raise self.size_error(asked)

    def require_sizes(self) -> None:
        """Checks that the size of each tensor and parameter is known.

        Raises:
            ModelError: If an input is no tensor.
            UnknownSizeError: If one is not.
        """
        self.require_inputs()
        if self.unsized:
            raise self.size_error(self.unsized)

    def size_error(self, names: Sequence[str]) -> UnknownSizeError:
        """The error for tensors whose size must be known and is not.

        Args:
            names: Names of the tensors.

        Returns:
            The error, with a shape to give for each input that has none.
        """
        asked = [self.tensors[name] for name in self.inputs if name in self.tensors and _is_open(self.tensors[name])]
        return UnknownSizeError(
            self.name, tuple(names), _examples(asked), {each.name: each.shape for each in asked}, bool(self.states)
        )

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
        """Bytes of each of `tensors` whose size is known."""
        return {name: tensor.nbytes for name, tensor in self.tensors.items() if tensor.nbytes is not None}

    def size_of(self, name: str) -> int:
        """Bytes of one tensor or parameter.

        Args:
            name: Its name.

        Returns:
            Its bytes.

        Raises:
            UnknownSizeError: If they are not known.
        """
        tensor = self.parameters.get(name) or self.tensors.get(name)
        if tensor is None or tensor.nbytes is None:
            raise self.size_error((name,))
        return tensor.nbytes

    def bytes_of(self, names: Iterable[str]) -> int | None:
        """Bytes of tensors or parameters together.

        Args:
            names: Names of tensors or parameters.

        Returns:
            The sum; None if the size of any of them is unknown.
        """
        total = 0
        for name in names:
            tensor = self.parameters.get(name) or self.tensors.get(name)
            if tensor is None or tensor.nbytes is None:
                return None
            total += tensor.nbytes
        return total

    @cached_property
    def has_rates(self) -> bool:
        """Whether there are tensors that are not there for every item."""
        return any(tensor.rate != 1 for tensor in self.tensors.values())

    @cached_property
    def node_rates(self) -> tuple[float, ...]:
        """The share of items for which each node computes: the largest rate of what it makes."""
        made = ([self.tensors[name].rate for name in node.writes if name in self.tensors] for node in self.nodes)
        return tuple(max(rates, default=1.0) for rates in made)

    def sent_bytes_of(self, names: Iterable[str]) -> int | None:
        """Bytes of tensors that are sent together, in the mean over all items.

        Args:
            names: Names of tensors.

        Returns:
            The sum, each with the share of items for which it is there; None if the size of any of them is unknown.
        """
        names = tuple(names)
        total = self.bytes_of(names)
        if total is None or not self.has_rates:
            return total
        return round(sum(self.size_of(name) * self.tensors[name].rate if name in self.tensors else 0 for name in names))

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

    @cached_property
    def stored_parameters(self) -> tuple[Tensor, ...]:
        """The parameters that hold values of their own: initialisers, and what nodes make from fewer values (ConstantOfShape).

        What a node makes from as many values (DequantizeLinear, Transpose, Cast) repeats them, and is left out.
        """
        made_from = {name: node.reads for node in self.nodes for name in node.writes}
        kept = {*self.recomputed, *self.held}

        def count(name: str, unknown: float) -> float:
            tensor = self.parameters.get(name)
            shape = tensor.known_shape if tensor else ()
            return unknown if shape is None else math.prod(shape) if tensor else 0

        def repeats(name: str) -> bool:
            return name in made_from and count(name, math.inf) <= sum(count(read, 0) for read in made_from[name])

        return tuple(tensor for name, tensor in self.parameters.items() if name not in kept and not repeats(name))

    @property
    def parameter_bytes(self) -> int | None:
        """Bytes of all stored parameters; None if the size of any of them is unknown."""
        sizes = [tensor.nbytes for tensor in self.stored_parameters]
        known = [nbytes for nbytes in sizes if nbytes is not None]
        return sum(known) if len(known) == len(sizes) else None


SMALL_BYTES = 1024
"""Before the first states of a model and behind the last ones, so much more may cross than between layers: ids and
positions."""
SEQUENCE_TENSOR = Tensor(SEQUENCE, "int64", (FIELDS,), 8 * FIELDS)
"""What says which step of which sequence an item is."""
GIVEN_SEQUENCE_TENSOR = Tensor(SEQUENCE, "int64", (None,))
"""The same as clients may give it: a step that cuts states has one value more."""

_LENGTH, _SIDE, _SAMPLES, _FRAMES = 128, 640, 16000, 100
"""Examples of sizes: tokens of a text, pixels of an image's side, samples of a second of speech, frames of it."""
_CHANNELS = (1, 3, 4)


def _is_open(tensor: Tensor) -> bool:
    """Whether a tensor is one of numbers or text and has dimensions that are not known."""
    return tensor.is_array and tensor.nbytes is None and tensor.known_shape is None


def _examples(tensors: Sequence[Tensor]) -> dict[str, tuple[int, ...]]:
    """A shape to give for each tensor; equal names of dimensions get equal sizes."""
    sizes: dict[str, int] = {}
    examples = {}
    for tensor in tensors:
        shape = tensor.shape if tensor.shape is not None else (1, None)
        examples[tensor.name] = tuple(
            dim
            if isinstance(dim, int)
            else sizes.setdefault(
                dim or f"{tensor.name}[{axis}]", 1 if axis == 0 and len(shape) > 1 else _example(tensor, shape)
            )
            for axis, dim in enumerate(shape)
        )
    return examples


def _example(tensor: Tensor, shape: tuple[Dim, ...]) -> int:
    if len(shape) == 4 and not {shape[1], shape[3]}.isdisjoint(_CHANNELS):
        return _SIDE
    if tensor.dtype is not None and "int" in tensor.dtype:
        return _LENGTH
    return _SAMPLES if len(shape) <= 2 else _FRAMES
