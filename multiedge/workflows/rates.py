"""How often each step of a workflow computes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from multiedge.workflows.workflow import FirstOf, Source, Step, Workflow

_Gates = Mapping[str, float]
"""The rate of each condition that must hold, by the name of its step."""


def rates_of(workflow: Workflow) -> dict[str, float]:
    """The share of items for which each step computes.

    Conditions are taken as independent of each other; candidates of a soft join as excluding each other, so that the rate of
    the join is at most 1 and at least that of each candidate.

    Args:
        workflow: The workflow; a condition without a rate counts as 1.

    Returns:
        Shares from 0 to 1, by the name of the step.
    """
    gates: dict[str, _Gates] = {"": {}}
    for step in workflow.steps:
        gates[step.name] = _gates_of(step, gates)
    return {step.name: math.prod(gates[step.name].values()) for step in workflow.steps}


def _gates_of(step: Step, gates: Mapping[str, _Gates]) -> _Gates:
    if isinstance(step.work, FirstOf):
        rate = min(1.0, sum(_rate(source, gates) for source in step.work.candidates))
        return {step.name: rate} if rate < 1 else {}
    inherited: dict[str, float] = {}
    for source in step.sources:
        inherited.update(gates[source.step])
    return {**inherited, step.name: _own_rate(step)} if step.when else inherited


def _own_rate(step: Step) -> float:
    return 1.0 if step.when is None or step.when.rate is None else step.when.rate


def _rate(source: Source, gates: Mapping[str, _Gates]) -> float:
    return math.prod(gates[source.step].values())
