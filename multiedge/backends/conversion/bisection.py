"""The first node of a model that a conversion makes wrong, found by converting ever smaller beginnings of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from multiedge.backends.contract import Session, Tensors
from multiedge.backends.conversion.gate import compare
from multiedge.backends.conversion.samples import Sample
from multiedge.errors import MultiedgeError
from multiedge.files import temporary_folder
from multiedge.graph import Graph
from multiedge.onnx_io import write_parts
from multiedge.plan import Stage, unestimated_plan

Open = Callable[[Path], Session]
"""A session on an ONNX file, converted where that is necessary."""


@dataclass(frozen=True)
class WrongNode:
    """Where a conversion goes wrong.

    Attributes:
        name: Name of the node.
        op_type: Its operator.
        output: The tensor that is wrong.
        is_alone: Whether the node is wrong as a model of its own on the right inputs; otherwise only behind the nodes before
            it, with which the runtime may have fused it.
    """

    name: str
    op_type: str
    output: str
    is_alone: bool

    def __str__(self) -> str:
        alone = "also alone" if self.is_alone else "only together with the nodes before it"
        return f"first wrong node '{self.name}' ({self.op_type}), {alone}"


def first_wrong_node(graph: Graph, sample: Sample, tolerance: float, reference: Open, candidate: Open) -> WrongNode | None:
    """The first node, in the order of the model, whose outputs are not those of the reference for this sample.

    Takes about log2 of the number of nodes conversions. A beginning that is wrong is taken to make all longer ones wrong.
    Where the model cannot be cut between nodes, the last of them is named. None if the whole model is right for this sample in
    a session of its own: then no node is wrong, but what the runtime keeps between runs.

    Args:
        graph: The model, read from its file, with dimensions as the file declares them.
        sample: Inputs for which the whole is wrong.
        tolerance: The largest relative error that is right.
        reference: Opens a file in the reference backend.
        candidate: Opens a file in the backend whose conversion is wrong.
    """
    search = _Search(graph, sample, tolerance, reference, candidate)
    right, wrong, worst = 0, len(graph.nodes), None
    if search.is_right(wrong):
        return None
    while wrong - right > 1:
        middle = (right + wrong) // 2
        beginning = search.beginning(middle, right, wrong)
        if beginning is None:
            break
        stop, output = beginning
        if output is None:
            right = stop
        else:
            wrong, worst = stop, output
    return search.described(right, wrong, worst)


@dataclass(frozen=True)
class _Search:
    graph: Graph
    sample: Sample
    tolerance: float
    reference: Open
    candidate: Open

    def is_right(self, stop: int) -> bool:
        """Whether the first `stop` nodes are right; not, if that cannot be found out."""
        try:
            with temporary_folder("bisection-") as folder:
                return self._error(self._cut(stop, folder), self.sample.tensors) is None
        except MultiedgeError:
            return False

    def beginning(self, middle: int, right: int, wrong: int) -> tuple[int, str | None] | None:
        """The first `stop` nodes, as near to `middle` as the model can be cut, and the tensor that is wrong there, if any.

        None if the model can be cut nowhere between `right` and `wrong`."""
        for stop in sorted(range(right + 1, wrong), key=lambda each: abs(each - middle)):
            try:
                with temporary_folder("bisection-") as folder:
                    return stop, self._error(self._cut(stop, folder), self.sample.tensors)
            except MultiedgeError:  # the type of a tensor is not known there, or the reference cannot open the beginning
                continue
        return None

    def described(self, right: int, wrong: int, output: str | None) -> WrongNode:
        """The node after the first `right` ones, or if the model cannot be cut there the last of `wrong`."""
        node = self.graph.nodes[wrong - 1]
        return WrongNode(node.name, node.op_type, output or node.writes[0], self._is_wrong_alone(right, wrong))

    def _is_wrong_alone(self, right: int, wrong: int) -> bool:
        """Whether nodes [right, wrong) are wrong as a model of their own, on what the reference makes before them."""
        try:
            with temporary_folder("bisection-") as folder:
                held = dict(self.sample.tensors)
                if right:
                    held |= self._run_reference(self._cut(right, folder / "before"), held)
                alone = self._between(right, wrong, folder / "alone")
                return self._error(alone, held) is not None
        except MultiedgeError:
            return False

    def _run_reference(self, path: Path, tensors: Tensors) -> Tensors:
        session = self.reference(path)
        try:
            return session.run({name: tensors[name] for name in session.inputs})
        finally:
            session.close()

    def _cut(self, stop: int, folder: Path) -> Path:
        """A file of the first `stop` nodes, whose outputs are what the rest of the model and the caller read."""
        count = len(self.graph.nodes)
        spans = [Stage.span("d", 0, stop), *([Stage.span("d", stop, count)] if stop < count else [])]
        return self._written(spans, 0, folder)

    def _between(self, start: int, stop: int, folder: Path) -> Path:
        ends = sorted({0, start, stop, len(self.graph.nodes)})
        spans = [Stage.span("d", *pair) for pair in pairwise(ends)]
        return self._written(spans, ends.index(start), folder)

    def _written(self, spans: list[Stage], number: int, folder: Path) -> Path:
        plan = unestimated_plan("bisection", self.graph, spans)
        return folder / write_parts(self.graph, plan, folder).parts[number].file

    def _error(self, path: Path, tensors: Tensors) -> str | None:
        """Name of the tensor that is farthest from the reference's; None if all are within the tolerance."""
        reference = self.reference(path)
        try:
            sample = Sample(self.sample.name, {name: tensors[name] for name in reference.inputs})
            try:
                candidate = self.candidate(path)
            except MultiedgeError:
                return reference.outputs[0]
            try:
                worst = compare(reference, candidate, [sample], self.tolerance).worst
            finally:
                candidate.close()
        finally:
            reference.close()
        if worst is None or worst.relative <= self.tolerance:
            return None
        return worst.output or reference.outputs[0]
