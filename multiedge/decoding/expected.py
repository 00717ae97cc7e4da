"""What the steps of texts are expected to take on a plan: costs of the model at several sizes of a step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Protocol

from multiedge.backends.sizes import measure_sizes
from multiedge.backends.stages import resolved_fleet
from multiedge.errors import ConfigError, InfeasibleError
from multiedge.files import cache_folder
from multiedge.fleet import Device, Fleet
from multiedge.graph import Graph, Tensor
from multiedge.meters.cpu import own_processors
from multiedge.onnx_io import read_graph
from multiedge.onnx_io.reader import declared_graph
from multiedge.onnx_io.states import step_shapes
from multiedge.plan import DeviceMemory, Estimate, Plan
from multiedge.planning import cost
from multiedge.planning.kept import with_kept_states
from multiedge.profile import Profile
from multiedge.quantity import human_bytes
from multiedge.states import BATCH
from multiedge.step_costs import StepCost, StepSize
from profilers.engine.host import Host
from profilers.engine.reference import Reference
from profilers.measured import MeasuredProfiler
from profilers.segments import STAGE_ACCURACY, SegmentTimer, rescale
from profilers.static import StaticProfiler

Progress = Callable[[str, float], None]
BUDGET_S = 2.0
"""For timing the nodes at one size, and again for the parts of the plan."""
MOST_PAUSE_S = 0.05
"""A part waits for the others between two steps of one sequence; more than so long changes nothing any more."""
PAUSE_ROUNDS, PAUSE_SHARE = 2, 0.15
"""How often the pause between two steps is estimated, and the share of the budget for each estimate."""
ROUNDS = 4
"""How often a plan is made until the memory of each device suffices for all steps."""


class Phase(Enum):
    """The step that the objective of a plan is for: one token, a prompt, or the mean step of a text."""

    TOKEN = "token"
    PROMPT = "prompt"
    TEXT = "text"


class StepProfiler(Protocol):
    """Where the costs of steps come from."""

    def profile(self, graph: Graph, fleet: Fleet) -> Profile:
        """Costs of the nodes at the sizes that the graph has."""
        ...

    def corrected(self, profile: Profile, graph: Graph, fleet: Fleet, plan: Plan, *, is_full: bool) -> Profile:
        """The same with what is known of the stages of a plan; `graph` is the model as it was read. In a full pipeline, stages
        wait less between two steps than with one sequence."""
        ...


@dataclass(frozen=True)
class Counted:
    """Costs that are counted."""

    reference: Reference | None = None

    def profile(self, graph: Graph, fleet: Fleet) -> Profile:
        return StaticProfiler(self.reference).profile(graph, fleet)

    def corrected(self, profile: Profile, graph: Graph, fleet: Fleet, plan: Plan, *, is_full: bool) -> Profile:
        return profile


@dataclass(frozen=True)
class Timed:
    """Costs of nodes that are timed on this machine, with those of the parts of the plan; these are kept, unless the machine's
    pace of now is asked for."""

    budget_s: float = BUDGET_S
    keeps: bool = True

    def profile(self, graph: Graph, fleet: Fleet) -> Profile:
        return MeasuredProfiler(budget_s=self.budget_s).profile(graph, fleet)

    def corrected(self, profile: Profile, graph: Graph, fleet: Fleet, plan: Plan, *, is_full: bool) -> Profile:
        fleet = resolved_fleet(fleet, graph.path)
        hosts = [Host.of(fleet.device(stage.device)) for stage in plan.stages]
        quick = replace(STAGE_ACCURACY, budget_s=PAUSE_SHARE * self.budget_s, least=2, warmup=1)
        exact = replace(STAGE_ACCURACY, budget_s=self.budget_s)
        folders = [None] * PAUSE_ROUNDS + [cache_folder("segments") if self.keeps else None]
        # A longer pause makes steps longer, and those make the pause longer.
        for accuracy, folder in zip([quick] * PAUSE_ROUNDS + [exact], folders, strict=True):
            pause_s = pause_between(profile, plan, hosts, is_full=is_full, cores=len(own_processors()))
            timer = SegmentTimer(folder, replace(accuracy, pause_s=min(MOST_PAUSE_S, pause_s)))
            profile = rescale(profile, fleet, plan.stages, hosts, timer.times(graph, plan, hosts))
        return profile


def pause_between(profile: Profile, plan: Plan, hosts: Sequence[Host], *, is_full: bool, cores: int) -> float:
    """How long a processor of this machine waits between two steps that it computes, where it stands for all devices.

    Every stage, and the caller, wakes a processor once per step. With fewer processors than these, each of them is woken more
    often than a stage computes; in a full pipeline, the other stages then have the caches meanwhile, which counts as much.

    Args:
        profile: Costs of the nodes, also of those of this machine.
        plan: The plan.
        hosts: What of this machine computes each stage.
        is_full: Whether every stage always has a step to compute. Otherwise one sequence has one step under way.
        cores: Processors of this machine.

    Returns:
        Seconds.
    """
    busy_s = defaultdict[str, float](float)
    for stage in plan.stages:
        busy_s[stage.device] += cost.stage_compute_s(profile, stage)
    own_s = (profile.seconds[host.name][list(stage.nodes)].sum() for host, stage in zip(hosts, plan.stages, strict=True))
    woken_s = max(busy_s.values()) if is_full else sum(busy_s.values()) * min(1.0, cores / (len(plan.stages) + 1))
    return max(0.0, woken_s - float(min(own_s)))


def plan_for_texts(
    planned: Callable[[Fleet], Plan],
    profile: Profile,
    fleet: Fleet,
    sizes: Sequence[StepSize],
    profiler: StepProfiler,
    progress: Progress = lambda step, share: None,
) -> Plan:
    """A plan whose devices have the memory for steps of all these sizes, with what such steps cost.

    A strategy knows one size of a step. Where another one takes more memory than a device has, the strategy plans again for as
    much less memory of that device.

    Args:
        planned: Makes a plan for devices with their memory.
        profile: The costs that it is made with.
        fleet: The devices.
        sizes: Sizes of steps.
        profiler: Finds the costs of the model at a size.
        progress: Called with the step and the share that is done.

    Returns:
        The Plan. Where memory was taken away, no bound is proven.

    Raises:
        InfeasibleError: If no such plan was found.
        ConfigError: If the model's file is not known.
    """
    limited, missing = fleet, dict[str, int]()
    for _ in range(ROUNDS):
        try:
            plan = planned(limited).with_names(profile.graph)
        except InfeasibleError:
            if not missing:
                raise
            break
        before = plan.estimate.planned_bytes
        if limited is not fleet:
            expected = cost.estimate(profile, fleet, plan.stages, plan.transfers, plan.paths)
            note = "planned for less memory than there is, so that the step of a prompt fits"
            plan = replace(plan, estimate=expected, lower_bound=None, scope=None, notes=(*plan.notes, note))
        plan = with_step_costs(plan, profile, fleet, sizes, profiler, progress)
        missing = {each.device: each.missing_bytes for each in plan.estimate.memory if each.missing_bytes}
        if not missing:
            return plan
        limited = _with_less_memory(limited, {device: before[device] - nbytes for device, nbytes in missing.items()})
    device, nbytes = max(missing.items(), key=lambda pair: pair[1])
    raise InfeasibleError(
        f"no plan fits: the longest step of a text needs {human_bytes(nbytes)} more than '{device}' has; plan for a shorter"
        " prompt, or raise its memory"
    )


def _with_less_memory(fleet: Fleet, planned_bytes: Mapping[str, int]) -> Fleet:
    """The fleet whose devices have memory for plans that take no more than so much."""

    def less(device: Device) -> Device:
        if device.name not in planned_bytes:
            return device
        return replace(device, memory_bytes=max(1, int(planned_bytes[device.name] * (1 + device.memory_margin))))

    return replace(fleet, devices=tuple(map(less, fleet.devices)))


def with_step_costs(
    plan: Plan,
    profile: Profile,
    fleet: Fleet,
    sizes: Sequence[StepSize],
    profiler: StepProfiler,
    progress: Progress = lambda step, share: None,
) -> Plan:
    """The plan with the costs of steps of these sizes, and with the memory of those among them that take most.

    Args:
        plan: A plan of a model with states that grow.
        profile: The costs that it was made with.
        fleet: The devices.
        sizes: Sizes of steps.
        profiler: Finds the costs of the model at a size.
        progress: Called with the step and the share that is done.

    Returns:
        A new Plan.

    Raises:
        ConfigError: If the model's file is not known.
    """
    costs, memory = [], plan.estimate.memory
    for number, size in enumerate(sizes):
        progress(f"step of {size.tokens} of {size.context} tokens", number / len(sizes))
        own = graph_at(size, profile.graph)
        sized = profile_of(own, profile, fleet, profiler)
        alone = full = expected_of(profiler.corrected(sized, own, fleet, plan, is_full=False), fleet, plan)
        if profile.graph.sequences > 1:
            full = expected_of(_never_rests(profiler.corrected(sized, own, fleet, plan, is_full=True)), fleet, plan)
        latency_s = alone.expected_latency_s or alone.latency_s
        turn_s = alone.pipeline.turn_after(latency_s) if alone.pipeline else 0.0
        full_latency_s = full.expected_latency_s or full.latency_s
        costs.append(StepCost(size, latency_s + turn_s, full.expected_s or full.bottleneck_s, full_latency_s))
        memory = _larger(memory, alone.memory)
    return replace(plan, steps=tuple(costs), estimate=replace(plan.estimate, memory=memory))


def _never_rests(profile: Profile) -> Profile:
    """The costs where no process waits for long between two messages."""
    return replace(profile, pipeline=replace(profile.pipeline, rested_hop_s=None)) if profile.pipeline else profile


def expected_of(sized: Profile, fleet: Fleet, plan: Plan) -> Estimate:
    """What the cost model says of the plan with the costs of another size of a step."""
    moves = [replace(move, nbytes=sized.graph.bytes_of(move.tensors)) for move in plan.transfers]
    return cost.estimate(sized, fleet, plan.stages, moves, plan.paths)


def profile_of_phase(phase: Phase, profile: Profile, fleet: Fleet, prompt: int, profiler: StepProfiler) -> Profile:
    """The costs with which a plan is made.

    Args:
        phase: The step that the plan's objective is for.
        profile: Costs of one token behind the others of a context.
        fleet: The devices.
        prompt: Tokens of a prompt.
        profiler: Finds the costs of the model at a size.

    Returns:
        The Profile: of the prompt, of one token, or of the mean step of a text that has the prompt and fills the context.

    Raises:
        ConfigError: If the model's file is not known, or times do not add up over nodes.
    """
    size = profile.graph.step_size
    if phase is Phase.TOKEN or size is None:
        return profile
    of_prompt = profile_of(graph_at(StepSize(prompt, prompt), profile.graph), profile, fleet, profiler)
    return of_prompt if phase is Phase.PROMPT else mean_of(of_prompt, profile, size.context - prompt)


def mean_of(prompt: Profile, token: Profile, tokens: int) -> Profile:
    """The mean costs of the steps of a text: one of its prompt, and so many of one token each."""
    if prompt.spans or token.spans:
        raise ConfigError(f"{token.graph.name}: times that do not add up over nodes have no mean; plan for one phase")

    def mean(of_prompt: Any, of_token: Any) -> Any:
        return (of_prompt + tokens * of_token) / (1 + tokens)

    def sized(tensor: Tensor) -> Tensor:
        sizes = prompt.graph.size_of(tensor.name), token.graph.size_of(tensor.name)
        return replace(tensor, nbytes=round(mean(*sizes)))

    tensors = {name: sized(tensor) for name, tensor in token.graph.tensors.items()}
    overheads = prompt.overhead_s.keys() | token.overhead_s.keys()
    return replace(
        token,
        graph=replace(token.graph, tensors=tensors),
        seconds={name: mean(prompt.seconds_on(name), seconds) for name, seconds in token.seconds.items()},
        overhead_s={name: mean(prompt.overhead_s.get(name, 0.0), token.overhead_s.get(name, 0.0)) for name in overheads},
    )


def graph_at(size: StepSize, graph: Graph) -> Graph:
    """The model of a graph with the shapes of a step of that size, read again from its file."""
    if graph.path is None:
        raise ConfigError(f"{graph.name}: costs at other sizes need the model's file")
    pairs = [(state.input, state.output) for state in graph.states]
    shapes = step_shapes(declared_graph(graph.path, pairs), size.context, size.tokens, _rows_of(graph))
    sized = read_graph(graph.path, shapes, pairs)
    return measure_sizes(sized) if graph.measured_sizes else sized


def profile_of(own: Graph, profile: Profile, fleet: Fleet, profiler: StepProfiler) -> Profile:
    """The costs of the model with other shapes, with states of the context of `profile` and what stages compute again."""
    graph = profile.graph
    kept = with_kept_states(profiler.profile(own, fleet), fleet, graph.sequences, graph.recomputed)
    held = {name: graph.parameters[name] for name in graph.held if name in graph.parameters}
    whole = replace(kept.graph, parameters={**kept.graph.parameters, **held})
    return replace(kept, graph=whole, memory_use=profile.memory_use, pipeline=profile.pipeline)


def _rows_of(graph: Graph) -> int:
    """The rows of the sequences that a graph was read for."""
    for state in graph.states:
        if BATCH in state.start:
            rows = (graph.parameters[state.input].shape or state.start)[state.start.index(BATCH)]
            return rows if isinstance(rows, int) and rows > 0 else 1
    return 1


def _larger(one: Iterable[DeviceMemory], other: Iterable[DeviceMemory]) -> tuple[DeviceMemory, ...]:
    """The larger of both for each device."""
    known = {each.device: each.planned_bytes for each in other}
    return tuple(replace(each, planned_bytes=max(each.planned_bytes, known.get(each.device, 0))) for each in one)
