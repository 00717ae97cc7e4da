"""The audit of a plan: each figure that it states, beside the one that is computed here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from math import isclose

from multiedge.defaults import AUDIT_TIME_LIMIT_S
from multiedge.fleet import Fleet
from multiedge.plan import Plan
from multiedge.profile import Profile
from multiedge.spans import FastestSpans
from multiedge.verification.bounds import lower_bound
from multiedge.verification.figures import Figures, figures_of
from multiedge.verification.model import Model
from multiedge.verification.structure import fused_errors, memory_errors, structure_errors

_SAME = 1e-6
"""Relative difference of two figures that are the same: plans state them with all digits, sums differ in their last ones."""
_PROVEN = 1e-6


class Verdict(Enum):
    """What an audit says of one statement of a plan."""

    CONFIRMED = "confirmed"
    WRONG = "wrong"
    OPEN = "not confirmed"
    """Neither confirmed nor refuted: the checker's own bound is weaker."""


@dataclass(frozen=True)
class Finding:
    """One statement of a plan and what became of it.

    Attributes:
        what: What is stated, such as 'bottleneck_s'.
        verdict: Whether it holds.
        stated: The plan's figure; None if the statement is not a figure.
        computed: The checker's figure.
        detail: How it was computed, or what is wrong.
    """

    what: str
    verdict: Verdict
    stated: float | None = None
    computed: float | None = None
    detail: str = ""


def audit(plan: Plan, profile: Profile, fleet: Fleet, time_limit_s: float = AUDIT_TIME_LIMIT_S) -> tuple[Finding, ...]:
    """Checks a plan's structure, memory, figures and bound.

    Args:
        plan: The plan.
        profile: The costs with which it was made.
        fleet: The devices for which it was made.
        time_limit_s: The search for a bound ends after this time.

    Returns:
        The findings; if the structure is wrong, only that one.
    """
    model = Model(profile)
    errors = structure_errors(plan, model, fleet)
    structure = _of_errors("structure", errors)
    if errors:
        return (structure,)
    computed = figures_of(plan, model, fleet)
    return (
        structure,
        _of_errors("fused nodes are whole", fused_errors(plan, model)),
        _of_errors("memory fits", memory_errors(computed, fleet)),
        *_figures(plan, computed),
        *_runtimes(plan, profile),
        *_bound(plan, model, fleet, time_limit_s),
    )


def _of_errors(what: str, errors: list[str]) -> Finding:
    return Finding(what, Verdict.WRONG if errors else Verdict.CONFIRMED, detail="; ".join(errors))


def _figures(plan: Plan, computed: Figures) -> Iterator[Finding]:
    expected = plan.estimate
    yield _figure("bottleneck_s", expected.bottleneck_s, computed.bottleneck_s)
    yield _figure("latency_s", expected.latency_s, computed.latency_s)
    yield _figure("energy_j", expected.energy_j, computed.energy_j)
    yield _figure("network_bytes", expected.network_bytes, round(computed.network_bytes))
    yield _figure(f"value ({plan.objective})", plan.value, computed.value(plan.objective))


def _runtimes(plan: Plan, profile: Profile) -> Iterator[Finding]:
    """Whether each device with several variants has the fastest for its nodes, and whether the loss is within its limit."""
    errors = []
    for name, cost in profile.spans.items():
        nodes = sorted({node for stage in plan.stages if name in stage.devices for node in stage.nodes})
        if not isinstance(cost, FastestSpans) or not nodes:
            continue
        taken_s = [float(row[nodes].sum() + more_s) for row, more_s in zip(cost.rows, cost.more_s, strict=True)]
        fastest = [
            way for way, seconds in zip(cost.names, taken_s, strict=True) if isclose(seconds, min(taken_s), rel_tol=_SAME)
        ]
        runtime = plan.runtimes.get(name)
        stated = f"{runtime.backend} {runtime.precision}" if runtime else "none"
        if stated not in fastest:
            errors.append(f"device '{name}' has the runtime {stated}; the fastest for its nodes is {' or '.join(fastest)}")
    if plan.accuracy is not None:
        yield _of_errors("runtimes", errors)
        accuracy = plan.accuracy
        is_within = accuracy.loss <= accuracy.limit + _SAME
        detail = f"{accuracy.kind} as it was measured on {accuracy.items} items; it is not measured again"
        verdict = Verdict.CONFIRMED if is_within else Verdict.WRONG
        yield Finding(f"loss of {accuracy.kind}", verdict, max(0.0, accuracy.loss), accuracy.limit, detail)


def _figure(what: str, stated: float | None, computed: float | None) -> Finding:
    if stated is None or computed is None:
        is_same = stated is computed
    else:
        is_same = isclose(stated, computed, rel_tol=_SAME, abs_tol=0.0)
    return Finding(what, Verdict.CONFIRMED if is_same else Verdict.WRONG, stated, computed)


def _bound(plan: Plan, model: Model, fleet: Fleet, time_limit_s: float) -> Iterator[Finding]:
    """Whether no plan of the stated scope is below the stated bound."""
    stated = plan.lower_bound
    if stated is None or plan.scope is None:
        return
    if stated > plan.value * (1 + _SAME):
        yield Finding("lower bound", Verdict.WRONG, stated, plan.value, "the plan itself is below it")
        return
    bound = lower_bound(plan.objective, plan.scope, model, fleet, stated, time_limit_s)
    if bound.value > plan.value * (1 + _SAME):
        detail = f"the checker's bound is above the plan, which is then not among {plan.scope}; {bound.method}"
        yield Finding("lower bound", Verdict.OPEN, stated, bound.value, detail)
        return
    is_proven = bound.value >= stated * (1 - _PROVEN)
    yield Finding("lower bound", Verdict.CONFIRMED if is_proven else Verdict.OPEN, stated, bound.value, bound.method)
