"""The choice of a runtime and a precision for each device, together with the placement, at a limited loss of accuracy.

A plan is made with the times of all variants, and its loss is measured by running its parts on the given items. If that is too
much, one device may no longer use its variant, the one that costs the most accuracy for the time that it saves, and the plan is
made again. It ends: without approximate variants there is nothing to lose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from multiedge.backends.automatic import fits, resolved_fleet
from multiedge.backends.conversion.inputs import PartInputs, keep_inputs
from multiedge.backends.conversion.ready import ready
from multiedge.backends.stages import CONVERTED, device_backend, runtime_of
from multiedge.errors import ConfigError, InfeasibleError, ModelError, MultiedgeError
from multiedge.fleet import REFERENCE_BACKEND
from multiedge.planning.cost import held_nodes
from multiedge.run import profile_model
from multiedge.variants.costs import Allowed, Variant, VariantCosts, chosen_variants, joint_profile, with_variants
from multiedge.variants.measuring import Measuring
from multiedge.variants.task import Task, Tried

DEFAULT_VARIANTS = (Variant(REFERENCE_BACKEND, "int8"),)
LEAST_GAIN_S = 1e-9
ROUNDING = 1e-12


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        task: What was planned, with the runtimes that `auto` stands for.
        best: The best plan within the limit.
        tried: All plans that were measured, in that order.
        left_out: Why a variant has no costs, by its name.
    """

    task: Task
    best: Tried
    tried: tuple[Tried, ...]
    left_out: Mapping[str, str]


def choose_variants(task: Task, variants: Sequence[Variant] = ()) -> Choice:
    """The best plan that loses at most the limit.

    Args:
        task: What is to be planned.
        variants: What devices may use besides their own runtime and precision, of which at least one must be usable here; none
            for DEFAULT_VARIANTS, if they are.

    Returns:
        The Choice. Its plan has the runtimes that were chosen and what they cost.

    Raises:
        ConfigError: If there are no items, the model gives no rows to compare, a variant does not exist, or none of them can be
            used.
        InfeasibleError: If no plan fits the fleet, or none within the limit.
    """
    if not task.items:
        raise ConfigError("inputs: expected at least one item on which accuracy is measured")
    for variant in variants:
        variant.require_known()
    task = replace(task, fleet=resolved_fleet(task.fleet, task.graph.path))
    costs, left_out = _costs(task, variants or DEFAULT_VARIANTS)
    if variants and not any(variant in costs for variant in variants):
        raise ConfigError(f"variants: none can be used: {'; '.join(f'{name}: {reason}' for name, reason in left_out.items())}")
    waiting, refused = _planned(task, costs, _starts(task, costs))
    tried: list[Tried] = []
    failed: list[Tried] = []
    best: Tried | None = None
    with Measuring.of(task) as measuring:
        while waiting and (best is None or task.measures_all):
            first = min(waiting, key=_preference)
            waiting.remove(first)
            task.progress(f"measuring {first.name}", 1 - 1 / (2 + len(tried)))
            try:
                measured = measuring.measured(first)
            except ModelError as error:  # a part does not pass the comparison, although the whole model does
                left_out[first.name] = str(error)
                failed.append(first)
                more, _ = _planned(task, costs, _without_each(first, task))
                waiting += [each for each in more if not any(each.is_same_as(other) for other in (*waiting, *tried, *failed))]
                continue
            if not any(measured.is_same_as(other) for other in tried):
                tried.append(measured)
            if measured.loss <= task.limit + ROUNDING:
                best = best or measured
                continue
            more, _ = _planned(task, costs, _without_worst(measured, measuring, task))
            waiting += [each for each in more if not any(each.is_same_as(other) for other in (*waiting, *tried, *failed))]
    if best is not None:
        return Choice(task, best, tuple(tried), left_out)
    if refused and not tried and not failed:
        raise refused
    if failed and not tried:
        raise ModelError(left_out[failed[-1].name])
    raise InfeasibleError(f"no plan of {task.graph.name} loses at most {task.limit:.1%} of its answers")


def _preference(tried: Tried) -> tuple[float, int]:
    """What is best first: the objective, and of equal plans the one whose memory is known more exactly."""
    return tried.plan.value, max(tried.plan.estimate.planned_bytes.values())


def _costs(task: Task, variants: Sequence[Variant]) -> tuple[dict[Variant, VariantCosts], dict[str, str]]:
    """What the model costs in the devices' own variants and in the others; why there are no costs of some."""
    costs: dict[Variant, VariantCosts] = {}
    left_out: dict[str, str] = {}
    own = set(_own(task).values())
    for variant in sorted({*own, *variants}):
        task.progress(f"timing {variant}", len(costs) / (len(own) + len(variants)))
        able = {each.name: variant for each in task.fleet.devices if fits(each, variant.backend, variant.precision)}
        if not able:
            left_out[str(variant)] = "no device of the fleet has a processor for it"
            continue
        try:
            costs[variant] = _costs_of(task, variant, able)
        except (MultiedgeError, ImportError) as error:
            if variant in own:
                raise
            left_out[str(variant)] = str(error)
    return {variant: _with_cuts(each, costs, _own(task)) for variant, each in costs.items()}, left_out


def _with_cuts(costs: VariantCosts, known: Mapping[Variant, VariantCosts], own: Mapping[str, Variant]) -> VariantCosts:
    """The costs with at least what a stage takes on top in each device's own variant: what cuts cost others is not measured."""
    profile = costs.profile
    overhead_s = {
        name: max(profile.overhead_s.get(name, 0.0), known[own[name]].profile.overhead_s.get(name, 0.0))
        for name in profile.seconds
    }
    return replace(costs, profile=replace(profile, overhead_s=overhead_s))


def _costs_of(task: Task, variant: Variant, able: Mapping[str, Variant]) -> VariantCosts:
    """Measured costs; the whole model is converted for it first, and must pass."""
    share = _weights_share(task, variant)
    profile = profile_model(task.graph, with_variants(task.fleet, able), "measured", budget_s=task.budget_s)
    seconds = {name: profile.seconds[name] for name in able}
    return VariantCosts(replace(profile, seconds=seconds), share)


def _weights_share(task: Task, variant: Variant) -> float:
    """Bytes of the weights in the file of an approximate variant over those of the model's; 1 for other variants."""
    device = variant.on(task.fleet.devices[0])
    backend, model = device_backend(device), Path(task.graph.path or "")
    if not backend.is_approximate:
        return 1.0
    if not model.is_file():
        raise ModelError(f"{task.graph.name}: variants need the file of the model, {task.graph.path or 'which is not known'}")
    keep = model.parent / CONVERTED
    keep_inputs(model, keep, PartInputs(tuple(task.items), tuple(task.labels)))
    made = ready(backend, model, keep)
    whole = task.graph.parameter_bytes or 0
    return min(1.0, sum(each.stat().st_size for each in made.parent.iterdir()) / whole) if whole else 1.0


def _own(task: Task) -> dict[str, Variant]:
    """The variant that each device has without a choice."""
    return {each.name: Variant(each.backend, device_backend(each).numbers) for each in task.fleet.devices}


def _starts(task: Task, costs: Mapping[Variant, VariantCosts]) -> Iterator[Allowed]:
    """Every device with all its variants, then all devices with the same one, where memory is that of its weights, and each
    device with its own."""
    own = _own(task)
    able = {variant: set(each.profile.seconds) for variant, each in costs.items()}
    yield {name: (first, *(each for each in costs if each != first and name in able[each])) for name, first in own.items()}
    for variant, each in costs.items():
        if each.weights_share < 1.0 and able[variant] >= own.keys():
            yield dict.fromkeys(own, (variant,))
    yield {name: (each,) for name, each in own.items()}


def _planned(
    task: Task, costs: Mapping[Variant, VariantCosts], starts: Iterator[Allowed]
) -> tuple[list[Tried], InfeasibleError | None]:
    """A plan for each of the permitted variants, and why there is none of the first without one."""
    plans, refused = [], None
    for allowed in starts:
        profile = joint_profile(costs, allowed)
        try:
            plan = task.planner(profile, task.fleet)
        except InfeasibleError as error:
            refused = refused or error
            continue
        held = {name: (start, stop - 1) for name, (start, stop) in held_nodes(profile, plan.stages).items()}
        used = {name: held.get(name, (0, 0)) for stage in plan.stages for name in stage.devices}
        variants = chosen_variants(profile, allowed, used)
        fleet = with_variants(task.fleet, variants)
        plan = replace(plan, runtimes={name: runtime_of(fleet.device(name)) for name in variants})
        plans.append(Tried(plan, profile, allowed, variants))
    return plans, refused


def _without_worst(tried: Tried, measuring: Measuring, task: Task) -> Iterator[Allowed]:
    """The permitted variants without that of the device that costs the most accuracy for the time that it saves."""
    own, changed = _own(task), _changed(tried, task)

    def price(name: str) -> float:
        without = measuring.loss_of(tried, {**tried.variants, name: own[name]})
        return (tried.loss - without) / max(tried.gain_s(name, own[name]), LEAST_GAIN_S)

    if changed:
        yield _without(tried, max(changed, key=price) if len(changed) > 1 else changed[0])


def _without_each(tried: Tried, task: Task) -> Iterator[Allowed]:
    """The permitted variants without that of one device, for each device that has another one."""
    yield from (_without(tried, name) for name in _changed(tried, task))


def _without(tried: Tried, device: str) -> Allowed:
    return {**tried.allowed, device: tuple(each for each in tried.allowed[device] if each != tried.variants[device])}


def _changed(tried: Tried, task: Task) -> list[str]:
    """The devices that have another variant than their own, which they may have."""
    own = _own(task)
    return [name for name, variant in tried.variants.items() if variant != own[name] and own[name] in tried.allowed[name]]
