"""What each step of a workflow costs in each of its variants, on each kind of device and with each batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multiedge.composed import segment_of, step_of
from multiedge.errors import ConfigError, ProfileError, shape_text
from multiedge.fleet import Fleet
from multiedge.graph import Graph, Tensor
from multiedge.onnx_io import read_graph
from multiedge.onnx_io.model_file import open_model
from multiedge.plan import CALLER, Stage
from multiedge.planning.memory import stage_memory_bytes
from multiedge.planning.rates import without_rates
from multiedge.profile import Floats, Profile
from multiedge.simulation.presence import drawn_presence
from multiedge.workflows.adapters import result_of
from multiedge.workflows.model_step import BoundModel, bound_model, inputs_of
from multiedge.workflows.optimiser.choices import OWN, Choices
from multiedge.workflows.optimiser.problem import Demand, Edge, Kind, Problem, Step, Variant, kinds_of
from multiedge.workflows.optimiser.ways import steps_before, ways
from multiedge.workflows.reading import Checked, is_alike
from multiedge.workflows.workflow import Edge as Entry

Profiler = Callable[[Graph, Fleet], Profile]
Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Costed:
    """A problem, and what items take of the steps' times: by name of the step, (items,)."""

    problem: Problem
    shares: Mapping[str, Floats]


def costed(
    checked: Checked,
    composed: Graph,
    fleet: Fleet,
    choices: Choices,
    demand: Demand,
    batches: Sequence[int],
    profiler: Profiler,
    *,
    shares: Mapping[str, Floats] | None = None,
    seed: int = 0,
    progress: Progress = lambda step, share: None,
) -> Costed:
    """The problem of a workflow.

    Args:
        checked: The workflow.
        composed: The file that it is composed into.
        fleet: The devices.
        choices: What may replace models, and what devices cost.
        demand: What is demanded.
        batches: Most items in a run, ascending.
        profiler: What finds costs.
        shares: What measured items take of each step's times; None draws whether they pass from the rates.
        seed: Of the draws.
        progress: Called with what is timed, and the share that is done.

    Returns:
        The problem, and the shares.

    Raises:
        ConfigError: If no item passes a step, the choices name a step, a variant or a device that is not there, or a model
            cannot be timed.
    """
    choices.require_steps(checked.models)
    timing = _Timing(
        checked, fleet, kinds_of(fleet, choices.prices_per_h), batches, profiler, without_rates(profiler(composed, fleet))
    )
    before = steps_before(checked.workflow)
    taken = _shares(composed, before, shares, seed)
    steps = []
    for number, name in enumerate(before):
        progress(f"timing {name}", number / len(before))
        present = taken[name][taken[name] > 0]
        if not len(present):
            raise ConfigError(
                f"step '{name}': none of {len(taken[name])} items passes its condition, so nothing is known of its work;"
                " state a higher rate, or measure more items"
            )
        rate, least = float(taken[name].mean()), float(present.min())
        steps.append(Step(name, timing.variants(name, choices), rate, least, checked.workflow.step(name).timeout_s or None))
    number_of = {name: number for number, name in enumerate(before)}
    paths = tuple(tuple(number_of[name] for name in way) for way in ways(before, taken))
    edges = _edges(composed, number_of)
    sizes = (1, *(batch for batch in batches if batch > 1))
    measured = choices.measured_accuracy(before)
    problem = Problem(tuple(steps), timing.kinds, demand, edges, paths, fleet, sizes, timing.composed.pipeline, measured)
    return Costed(problem, taken)


def _shares(
    composed: Graph, before: Mapping[str, object], measured: Mapping[str, Floats] | None, seed: int
) -> dict[str, Floats]:
    if measured is None:
        drawn = drawn_presence(composed, seed)
        return {name: drawn[name].astype(np.float64) for name in before}
    missing = [name for name in before if name not in measured]
    if missing:
        raise ConfigError(f"measured items: expected what they take of step '{missing[0]}', got nothing; measure them again")
    return {name: measured[name] for name in before}


def _edges(composed: Graph, number_of: Mapping[str, int]) -> tuple[Edge, ...]:
    """The bytes that steps send to each other for an item that passes; joins belong to those that read them."""
    home = [number_of.get(step_of(segment_of(node.name))) for node in composed.nodes]
    sent: dict[tuple[int, int], dict[str, int]] = {}
    for node, target in zip(composed.nodes, home, strict=True):
        for name in node.reads:
            if name in composed.tensors and name not in composed.parameters:
                made_by = composed.producer.get(name)
                source = CALLER if made_by is None else home[made_by]
                if source is not None and target is not None and source != target:
                    sent.setdefault((source, target), {})[name] = composed.size_of(name)
    for name in composed.outputs:
        source = home[composed.producer[name]] if name in composed.producer else None
        if source is not None:
            sent.setdefault((source, CALLER), {})[name] = composed.size_of(name)
    return tuple(Edge(source, target, sum(each.values())) for (source, target), each in sorted(sent.items()))


@dataclass(frozen=True, eq=False)
class _Timing:
    checked: Checked
    fleet: Fleet
    kinds: tuple[Kind, ...]
    batches: Sequence[int]
    profiler: Profiler
    composed: Profile

    def variants(self, name: str, choices: Choices) -> tuple[Variant, ...]:
        """Every variant of a step; its own one as the workflow has it comes first."""
        own = self._own(name)
        if name not in self.checked.models:
            return (own,)
        path = self.checked.models[name].file.path
        own = self._timed(OWN, name, path, choices.accuracy.get(name, 1.0), own)
        others = choices.variants.get(name, {})
        return (own, *(self._timed(each, name, file.model, file.accuracy, None) for each, file in others.items()))

    def _own(self, name: str) -> Variant:
        """The step in the composed file, one item at a time."""
        nodes = tuple(i for i, node in enumerate(self.composed.graph.nodes) if step_of(segment_of(node.name)) == name)
        return Variant(OWN, self._seconds(self.composed, nodes, 1), memory_bytes=_memory_bytes(self.composed, nodes))

    def _timed(self, variant: str, step: str, path: Path, accuracy: float, alone: Variant | None) -> Variant:
        """A model with each batch that it takes; `alone` is what is known of one item."""
        shapes, is_free = self._input_shapes(step), self._bound(variant, step, path).has_free_rows
        seconds = dict(alone.seconds) if alone else {}
        memory = alone.memory_bytes if alone else 0
        for batch in self.batches if is_free else (1,):
            if batch == 1 and alone:
                continue
            sized = {name: (shape[0] * batch, *shape[1:]) for name, shape in shapes.items()} if is_free else shapes
            profile = self.profiler(read_graph(path, sized), self.fleet)
            nodes = tuple(range(len(profile)))
            seconds |= self._seconds(profile, nodes, batch)
            memory = max(memory, _memory_bytes(profile, nodes))
        return Variant(variant, seconds, accuracy, memory)

    def _bound(self, variant: str, step: str, path: Path) -> BoundModel:
        """The model at `path` in the place of that of the step; ConfigError if it takes or makes something else."""
        own = self.checked.models[step]
        if variant == OWN:
            return own
        model = open_model(path)
        given = {name: self._given(entry) for name, entry in self.checked.workflow.step(step).inputs.items()}
        place = f"choices: variants.{step}.{variant}: {path}"
        declared = inputs_of(model)
        if declared.keys() != given.keys():
            raise ConfigError(f"{place}: expected the inputs {', '.join(given)}, got {', '.join(declared)}; rename them")
        try:
            bound = bound_model(step, model, given)
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}") from error
        for name in self._read_of(step):
            if name not in bound.outputs:
                raise ConfigError(f"{place}: expected an output '{name}', got {', '.join(bound.outputs)}; rename it")
            if not is_alike(bound.outputs[name], own.outputs[name]):
                shown = [f"{each.dtype} {shape_text(each.shape)}" for each in (own.outputs[name], bound.outputs[name])]
                raise ConfigError(f"{place}: output '{name}': expected {shown[0]}, got {shown[1]}; export it so")
        return bound

    def _read_of(self, step: str) -> list[str]:
        """The outputs of a step that others or the caller read."""
        workflow = self.checked.workflow
        read = {*workflow.outputs.values(), *(source for each in workflow.steps for source in each.sources)}
        return sorted(source.tensor for source in read if source.step == step)

    def _seconds(self, profile: Profile, nodes: tuple[int, ...], batch: int) -> dict[tuple[str, int], float]:
        found = {}
        for kind in self.kinds:
            try:
                times = profile.seconds_on(kind.devices[0])
            except ProfileError as error:
                raise ConfigError(f"cannot time {profile.graph.name}: {error}") from error
            total = float(times[list(nodes)].sum()) + profile.overhead_s.get(kind.devices[0], 0.0)
            if math.isfinite(total):
                found[kind.name, batch] = total
        return found

    def _input_shapes(self, step: str) -> dict[str, tuple[int, ...]]:
        """The shapes of a step's inputs for one item; sizes that vary are their means, rounded up."""
        sizes = self.checked.workflow.sizes
        return {
            name: tuple(
                dim if isinstance(dim, int) else math.ceil(sizes.get(str(dim), 1)) for dim in self._given(entry).shape or ()
            )
            for name, entry in self.checked.workflow.step(step).inputs.items()
        }

    def _given(self, entry: Entry) -> Tensor:
        tensor = self.checked.tensors[entry.source]
        for adapter in entry.adapters:
            tensor = result_of(adapter, tensor)
        return tensor


def _memory_bytes(profile: Profile, nodes: tuple[int, ...]) -> int:
    """What the nodes take as one stage, besides the runtime."""
    return stage_memory_bytes(profile, Stage("", nodes), (), ()) if nodes else 0
