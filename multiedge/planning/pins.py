"""Plans whose first stage, last stage or both are on a device that the caller names.

The *first* nodes are those that read inputs of the model, and what comes before the first of them; the *last* nodes are those
that make its results, and what comes after the last of them. If the first nodes are on a device, the caller sends inputs to no
other one; if the last nodes are, results come from no other one.

Nodes that must be on one device get no time on the others, so that a strategy places them there by its own search, and its
proof holds for the plans that do so. Where first and last nodes must be on the *same* device with others in between, strategies
that give each device one stage see it as two devices with a free link between them, each with the device's whole memory and
time. No plan is worse there than on the one device, except the whole model on it, which is planned by itself: so bounds hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from multiedge.errors import ConfigError, InfeasibleError, PlanError
from multiedge.fleet import Fleet, Link, Power
from multiedge.graph import Graph
from multiedge.plan import Plan, Stage
from multiedge.planning import cost
from multiedge.planning.checks import violations
from multiedge.profile import Floats, Profile
from multiedge.spans import SpansWithout

AGAIN = " (again)"
"""Ends the name of the second device that stands for one."""

ROUNDING = 1e-9
"""Relative: of sums in another order."""

Planner = Callable[[Profile, Fleet], Plan]


@dataclass(frozen=True)
class Pins:
    """The devices that must have the first and the last nodes; '' for any."""

    first_on: str = ""
    last_on: str = ""

    def __bool__(self) -> bool:
        return bool(self.first_on or self.last_on)

    def require(self, fleet: Fleet) -> None:
        """ConfigError for a device that is not in the fleet."""
        for name in filter(None, (self.first_on, self.last_on)):
            fleet.device(name)

    def violations(self, graph: Graph, stages: Sequence[Stage]) -> list[str]:
        """What is on another device than it must be, one text for each end of the model; empty if nothing is."""
        wrong = []
        for what, nodes, device in (
            ("first", first_nodes(graph), self.first_on),
            ("last", last_nodes(graph), self.last_on),
        ):
            elsewhere = {name for stage in stages if nodes & set(stage.nodes) for name in stage.devices} - {device}
            if device and elsewhere:
                wrong.append(f"{what} nodes are on device '{min(elsewhere)}', not on '{device}'")
        return wrong


def first_nodes(graph: Graph) -> frozenset[int]:
    """Nodes that read inputs of the model, and what comes before the first of them."""
    return frozenset(_readers(graph) | _head(graph))


def last_nodes(graph: Graph) -> frozenset[int]:
    """Nodes that make results of the model, and what comes after the last of them."""
    return frozenset(_makers(graph) | _tail(graph))


def _readers(graph: Graph) -> set[int]:
    """Nodes that read inputs; the first node of a model without inputs."""
    inputs = set(graph.inputs)
    return {node for node, names in enumerate(graph.activations) if not inputs.isdisjoint(names)} or {0}


def _makers(graph: Graph) -> set[int]:
    return {graph.producer[name] for name in graph.outputs if name in graph.producer} or {len(graph.nodes) - 1}


def _head(graph: Graph) -> set[int]:
    return set(range(min(_readers(graph)) + 1))


def _tail(graph: Graph) -> set[int]:
    return set(range(max(_makers(graph)), len(graph.nodes)))


def without_times(profile: Profile, devices: Iterable[str], nodes: Collection[int]) -> Profile:
    """The profile with no time for these nodes on these devices: no strategy places them there."""
    seconds, spans = dict(profile.seconds), dict(profile.spans)
    excluded = np.zeros(len(profile), dtype=np.bool_)
    excluded[list(nodes)] = True
    made: dict[int, Floats] = {}  # devices with equal times share one array, and so one table of spans
    for name in devices:
        if name in spans:
            spans[name] = SpansWithout(spans[name], excluded)
        else:
            before = profile.seconds_on(name)
            seconds[name] = made.setdefault(id(before), np.where(excluded, np.inf, before))
    return replace(profile, seconds=seconds, spans=spans)


def pinned_profile(profile: Profile, pins: Pins) -> Profile:
    """The profile with no time for the first and last nodes on devices where they must not be."""
    for nodes, device in ((first_nodes(profile.graph), pins.first_on), (last_nodes(profile.graph), pins.last_on)):
        if device:
            profile = without_times(profile, [name for name in profile.seconds if name != device], nodes)
    return profile


def plan_pinned(plan: Planner, profile: Profile, fleet: Fleet, pins: Pins) -> Plan:
    """A strategy's plan that keeps the pins.

    Args:
        plan: The strategy's own `plan`, which gives no node to a device on which it has no finite time.
        profile: Costs of the model.
        fleet: The devices.
        pins: The devices that must have the first and the last nodes.

    Returns:
        The Plan, with figures and bound for the fleet as it is.

    Raises:
        ConfigError: If a device is not in the fleet.
        InfeasibleError: If no plan fits that keeps the pins.
        PlanError: If the strategy's plan does not keep them.
    """
    pins.require(fleet)
    candidates = [_as_it_is, _as_two] if pins.first_on and pins.first_on == pins.last_on else [_as_it_is]
    plans, refused = [], None
    for candidate in candidates:
        try:
            plans.append(candidate(plan, profile, fleet, pins))
        except InfeasibleError as error:
            refused = refused or error
    usable = [each for each in plans if _is_usable(each, profile, fleet)]
    if not usable:
        raise InfeasibleError(f"{_words(pins)}: {refused or f'no plan was found that fits {fleet.name}'}") from refused
    best = min(usable, key=lambda each: each.value)
    wrong = pins.violations(profile.graph, best.stages)
    if wrong:
        raise PlanError(f"plan of strategy '{best.strategy}' cannot run: {'; '.join(wrong)}", wrong)
    proven = [each.lower_bound for each in plans if each.lower_bound is not None]
    bound = min([best.value, *proven]) if len(proven) == len(plans) else None
    scope = best.scope and replace(best.scope, first_on=pins.first_on, last_on=pins.last_on)
    return replace(best, lower_bound=bound, scope=scope, solve_s=sum(each.solve_s for each in plans))


def _is_usable(plan: Plan, profile: Profile, fleet: Fleet) -> bool:
    """Whether a plan can run and keeps the limits for which it was made: two devices may promise more than the one has."""
    least_fps, most_latency_s = (plan.scope.least_fps, plan.scope.most_latency_s) if plan.scope else (None, None)
    return (
        not violations(profile, fleet, plan.stages, plan.transfers, plan.paths)
        and (least_fps is None or plan.estimate.fps_bound >= least_fps * (1 - ROUNDING))
        and (most_latency_s is None or plan.estimate.latency_s <= most_latency_s * (1 + ROUNDING))
    )


def _as_it_is(plan: Planner, profile: Profile, fleet: Fleet, pins: Pins) -> Plan:
    found = plan(pinned_profile(profile, pins), fleet)
    return _evaluated(found, profile, fleet, found.stages)


def _as_two(plan: Planner, profile: Profile, fleet: Fleet, pins: Pins) -> Plan:
    """The plan on a fleet where the device is there twice: the one has what comes first, the other what comes last, and both
    may have other first and last nodes."""
    device, again = pins.first_on, pins.first_on + AGAIN
    graph = profile.graph
    if _head(graph) & _tail(graph):
        raise InfeasibleError(f"first and last nodes of {graph.name} are the same")
    others = [name for name in profile.seconds if name != device]
    split = without_times(profile, others, first_nodes(graph) | last_nodes(graph))
    split = without_times(_with_copy(split, device, again), [again], _head(graph))
    found = plan(without_times(split, [device], _tail(graph)), _twice(fleet, device, again))
    stages = tuple(replace(stage, device=device) if stage.device == again else stage for stage in found.stages)
    return _evaluated(found, profile, fleet, stages)


def _with_copy(profile: Profile, device: str, again: str) -> Profile:
    """The profile with the times of a device under a second name, too."""
    seconds = {**profile.seconds, again: profile.seconds_on(device)}
    overhead_s = {**profile.overhead_s, again: profile.overhead_s.get(device, 0.0)}
    spans = {**profile.spans, again: profile.spans[device]} if device in profile.spans else profile.spans
    known = {**profile.known, again: profile.known[device]} if device in profile.known else profile.known
    return replace(profile, seconds=seconds, overhead_s=overhead_s, spans=spans, known=known)


def _twice(fleet: Fleet, device: str, again: str) -> Fleet:
    """The fleet with a copy of a device. It idles for nothing, since the device itself does so, and its runtime is that of the
    device."""
    if again in fleet.by_name:
        raise ConfigError(f"{fleet.name}: expected no device of the name '{again}', which stands for '{device}'; rename it")
    one = fleet.device(device)
    power = one.power and Power(0.0, one.power.busy_w - one.power.idle_w, one.power.source)
    other = replace(one, name=again, power=power)
    links = dict(fleet.links)
    for (source, target), link in fleet.links.items():
        if device in (source, target):
            links[again if source == device else source, again if target == device else target] = link
    links[device, again] = links[again, device] = Link()
    return replace(fleet, devices=(*fleet.devices, other), links=links)


def _evaluated(found: Plan, profile: Profile, fleet: Fleet, stages: tuple[Stage, ...]) -> Plan:
    """The plan with these stages, and its figures for the fleet and the costs as they are."""
    used = {device for stage in stages for device in stage.devices}
    made = cost.make_plan(
        found.strategy,
        found.objective,
        profile,
        fleet,
        stages,
        found.transfers,
        lower_bound=found.lower_bound,
        scope=found.scope,
        solve_s=found.solve_s,
        left_out={name: reason for name, reason in found.left_out.items() if name in fleet.by_name and name not in used},
        paths=found.paths,
    )
    return replace(made, notes=found.notes)


def _words(pins: Pins) -> str:
    ends = [f"{what} stage on '{name}'" for what, name in (("first", pins.first_on), ("last", pins.last_on)) if name]
    return " and ".join(ends)
