"""A workflow that can be composed: its steps in order, what each tensor is, and every mistake that the models show."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

from multiedge.composed import Measure
from multiedge.errors import ConfigError, MultiedgeError, did_you_mean, shape_text
from multiedge.formats.documents import read_yaml
from multiedge.formats.fields import Field
from multiedge.graph import Tensor
from multiedge.onnx_io.manifest import read_manifest
from multiedge.onnx_io.model_file import open_model
from multiedge.workflows.adapters import result_of
from multiedge.workflows.document import KIND, Draft, read_draft
from multiedge.workflows.functions import check_function
from multiedge.workflows.mistakes import Mistakes
from multiedge.workflows.model_step import BoundModel, bound_model, fitted, inputs_of
from multiedge.workflows.workflow import (
    FIRST_OF_OUTPUT,
    Edge,
    FirstOf,
    Function,
    Model,
    Source,
    Step,
    When,
    Workflow,
)


@dataclass(frozen=True)
class Checked:
    """A workflow without mistakes.

    Attributes:
        workflow: The workflow.
        tensors: Every tensor that an edge can begin at.
        models: The models of steps, by the name of the step.
    """

    workflow: Workflow
    tensors: Mapping[Source, Tensor]
    models: Mapping[str, BoundModel]


def read_workflow(path: str | os.PathLike[str]) -> Checked:
    """The workflow in a workflow.yaml, checked together with the models that it names.

    Args:
        path: The file. Paths in it begin at its folder.

    Returns:
        The Checked workflow.

    Raises:
        WorkflowError: If it has mistakes; all of them, each with its line and the remedy.
        ConfigError: If the file cannot be read as YAML.
    """
    path = Path(path)
    mistakes = Mistakes()
    draft = read_draft(read_yaml(path, KIND, with_lines=True), path.parent, mistakes)
    checker = _Checker(draft, mistakes)
    checker.check()
    mistakes.require_none()
    outputs = {name: checker.resolved(source) for name, source in draft.outputs.items() if source}
    inputs = {name: tensor for name, tensor in draft.inputs.items() if tensor}
    workflow = Workflow(draft.name, inputs, tuple(checker.steps.values()), outputs, draft.sizes, path)
    return Checked(workflow, checker.tensors, checker.models)


class _Checker:
    """Goes through the steps in order. A step with a mistake has no outputs, and what reads them is not looked at."""

    def __init__(self, draft: Draft, mistakes: Mistakes) -> None:
        self._draft = draft
        self._mistakes = mistakes
        self._always: dict[str, bool] = {}
        self.steps: dict[str, Step] = {}
        self.models: dict[str, BoundModel] = {}
        self.tensors: dict[Source, Tensor] = {}
        self._made: dict[str, tuple[str, ...]] = {}

    def check(self) -> None:
        """Fills `steps`, `models` and `tensors`."""
        self.tensors |= {Source(name): tensor for name, tensor in self._draft.inputs.items() if tensor}
        self._check_cycles()
        for step in self._in_order():
            self._check_step(step)
        for name, source in self._draft.outputs.items():
            if source:
                self._known(source, self._draft.document["outputs"][name])
        self._check_use()

    def resolved(self, source: Source) -> Source:
        """The source with its tensor, which is the only one of its step where the file does not name it."""
        return source if source.tensor else Source(self._made[source.step][0], source.step)

    def _field(self, step: str) -> Field:
        return self._draft.document["steps"][step]

    def _in_order(self) -> list[Step]:
        """The steps in the order of the file, each after those that it reads, without those on a circle and behind one."""
        waiting = {name: step for name, step in self._draft.steps.items() if step}
        order: list[Step] = []
        done = {name for name, step in self._draft.steps.items() if not step}
        while ready := next((step for step in waiting.values() if _steps_read(step) <= done), None):
            order.append(waiting.pop(ready.name))
            done.add(ready.name)
        return order

    def _check_cycles(self) -> None:
        """Tells of steps that read each other in a circle."""
        reads = {name: _steps_read(step) if step else frozenset() for name, step in self._draft.steps.items()}
        told: set[str] = set()
        for name in reads:
            circle = _circle(name, reads)
            if circle and told.isdisjoint(circle):
                told |= set(circle)
                way = " -> ".join((*circle, circle[0]))
                self._mistakes.at(self._field(name), f"reads what is made of its own result: {way}; remove one of these edges")

    def _known(self, source: Source, place: Field) -> Tensor | None:
        """What a source is; None if it is not known, or there is no such output, which is a mistake."""
        if not source.step:
            return self.tensors.get(source)
        if source.step not in self._made:
            return None
        names = self._made[source.step]
        if source.tensor and source.tensor not in names:
            self._mistakes.at(place, f"'{source.step}' has no output '{source.tensor}'{did_you_mean(source.tensor, names)}")
            return None
        if not source.tensor and len(names) > 1:
            shown = ", ".join(names)
            self._mistakes.at(
                place, f"'{source.step}' has several outputs ({shown}); write one such as '{source.step}.{names[0]}'"
            )
            return None
        return self.tensors[self.resolved(source)]

    def _check_step(self, step: Step) -> None:
        field = self._field(step.name)
        given = {name: self._adapted(edge, field["inputs"][name]) for name, edge in step.inputs.items()}
        condition = self._known(step.when.source, field["when"]["tensor"]) if step.when else None
        if step.when and condition:
            self._check_condition(step.when, condition, field["when"])
        outputs = self._outputs(step, given)
        if outputs is None or (step.when and condition is None):
            return
        self.tensors |= {Source(name, step.name): tensor for name, tensor in outputs.items()}
        self._made[step.name] = tuple(outputs)
        self.steps[step.name] = self._with_tensors(step)
        self._always[step.name] = self._is_always_there(step)

    def _adapted(self, edge: Edge, place: Field) -> Tensor | None:
        """What an edge gives; None if that is not known or an adapter cannot be applied."""
        reference = place["from"] if edge.adapters else place
        tensor = self._known(edge.source, reference)
        if tensor is None:
            return None
        try:
            return reduce(lambda before, adapter: result_of(adapter, before), edge.adapters, tensor)
        except ConfigError as error:
            self._mistakes.at(place, str(error))
            return None

    def _check_condition(self, when: When, tensor: Tensor, place: Field) -> None:
        shape = tensor.known_shape
        if when.condition.measure is Measure.VALUE and shape is not None and any(size != 1 for size in shape):
            self._mistakes.at(place["value"], f"expected a tensor of one value, got {shape_text(shape)}; use max, min or count")

    def _outputs(self, step: Step, given: Mapping[str, Tensor | None]) -> Mapping[str, Tensor] | None:
        """What the step makes, by name; None if that is not known."""
        work = step.work
        if isinstance(work, FirstOf):
            return self._first_of(step, work)
        if isinstance(work, Model):
            return self._run_model(step, work, given)
        if isinstance(work, Function):
            try:
                check_function(work, step.inputs)
            except ConfigError as error:
                self._mistakes.at(self._field(step.name)["transform"], str(error))
                return None
        return work.results if None not in given.values() else None

    def _first_of(self, step: Step, work: FirstOf) -> Mapping[str, Tensor] | None:
        places = self._field(step.name)["first_of"].items()
        tensors = [self._known(source, place) for source, place in zip(work.candidates, places, strict=True)]
        right = [tensor for tensor in tensors if tensor]
        if len(right) < len(tensors):
            return None
        first = right[0]
        for tensor, place in zip(right[1:], places[1:], strict=True):
            if not is_alike(first, tensor):
                shown = [f"{each.dtype} {shape_text(each.shape)}" for each in (tensor, first)]
                finding = f"is {shown[0]}, and the first candidate {shown[1]}"
                self._mistakes.at(place, f"{finding}; all candidates need one type and shape: change one by a transform")
                return None
        for source, place in zip(work.candidates[:-1], places, strict=False):
            if self._always.get(source.step, True):
                self._mistakes.at(place, "is there for every item, so that later candidates have no effect; name it last")
        return {FIRST_OF_OUTPUT: replace(first, name=FIRST_OF_OUTPUT)}

    def _run_model(self, step: Step, work: Model, given: Mapping[str, Tensor | None]) -> Mapping[str, Tensor] | None:
        field = self._field(step.name)
        place = field["plan" if work.plan else "model"]
        try:
            path = Path(read_manifest(work.plan).model) if work.plan else work.path
            model = open_model(path)
        except MultiedgeError as error:
            self._mistakes.at(place, str(error))
            return None
        declared = inputs_of(model)
        for name in given.keys() - declared.keys():
            self._mistakes.at(field["inputs"][name], f"{path.name} has no input '{name}'{did_you_mean(name, declared)}")
        for name in declared.keys() - given.keys():
            shown = f"{declared[name].dtype} {shape_text(declared[name].shape)}"
            self._mistakes.at(
                field["inputs"], f"nothing gives input '{name}' of {path.name}, {shown}; add '{name}: STEP.TENSOR'"
            )
        tensors = {name: tensor for name, tensor in given.items() if tensor}
        if given.keys() != declared.keys() or tensors.keys() != given.keys() or not self._fits(field, declared, tensors):
            return None
        bound = bound_model(step.name, model, tensors)
        if step.batch > 1 and not bound.has_free_rows:
            self._mistakes.at(field["batch"], f"{path.name} takes one item at a time; export it with an open first dimension")
        self.models[step.name] = bound
        return bound.outputs

    def _fits(self, field: Field, declared: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
        """Whether the model takes what it is given; what it does not take is a mistake."""
        sizes: dict[str, int | str | None] = {}
        right = True
        for name, tensor in given.items():
            try:
                fitted(declared[name], tensor, sizes)
            except ConfigError as error:
                self._mistakes.at(field["inputs"][name], str(error))
                right = False
        return right

    def _with_tensors(self, step: Step) -> Step:
        """The step with the tensor of each of its sources."""
        work = step.work
        if isinstance(work, FirstOf):
            work = FirstOf(tuple(self.resolved(source) for source in work.candidates))
        if isinstance(work, Model) and step.name in self.models:
            work = replace(work, path=self.models[step.name].file.path)
        inputs = {name: replace(edge, source=self.resolved(edge.source)) for name, edge in step.inputs.items()}
        when = replace(step.when, source=self.resolved(step.when.source)) if step.when else None
        return replace(step, work=work, inputs=inputs, when=when)

    def _is_always_there(self, step: Step) -> bool:
        """Whether what the step makes is there for every item."""
        there = [self._always.get(source.step, True) for source in step.sources]
        return any(there) if isinstance(step.work, FirstOf) else step.when is None and all(there)

    def _check_use(self) -> None:
        """Tells of steps and inputs that no output depends on. Where a step is not understood, that is not known."""
        outputs = self._draft.outputs.values()
        if not outputs or None in outputs or len(self.steps) < len(self._draft.steps):
            return
        wanted = {source for source in outputs if source}
        for step in reversed(self.steps.values()):
            if any(source.step == step.name for source in wanted):
                wanted |= set(step.sources)
            else:
                self._mistakes.at(self._field(step.name), "no output depends on this step; read from it, or remove it")
        for name in self._draft.inputs:
            if Source(name) not in wanted:
                self._mistakes.at(
                    self._draft.document["inputs"][name], "no output depends on this input; read it, or remove it"
                )


def _steps_read(step: Step) -> frozenset[str]:
    return frozenset(source.step for source in step.sources if source.step)


def _circle(start: str, reads: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The steps on a shortest way from `start` back to itself, against the edges; () if there is none."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    while ways:
        way = ways.pop(0)
        for name in sorted(reads.get(way[-1], ())):
            if name == start:
                return way
            if name not in seen:
                seen.add(name)
                ways.append((*way, name))
    return ()


def is_alike(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors may take each other's place, as far as their sizes are known."""
    if a.dtype != b.dtype:
        return False
    if a.shape is None or b.shape is None:
        return True
    return len(a.shape) == len(b.shape) and all(
        x == y or not (isinstance(x, int) and isinstance(y, int)) for x, y in zip(a.shape, b.shape, strict=True)
    )
