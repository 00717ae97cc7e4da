"""A strategy's plan beside the best of all plans that an oracle tried."""

from __future__ import annotations

import pytest

from multiedge.errors import InfeasibleError
from multiedge.plan import Plan
from partitioners.engine.contract import Partitioner
from tests.builders.oracle import Oracle

ROUNDING = 1 + 1e-12
EXACT, ENERGY = 1e-9, 3e-6
"""Relative tolerances: of sums in another order, and of the search for the least energy."""


def planned(strategy: Partitioner, oracle: Oracle) -> Plan | None:
    """The strategy's plan, sound; None if it says that there is none."""
    try:
        plan = strategy.plan(oracle.profile, oracle.fleet)
    except InfeasibleError:
        return None
    oracle.require_sound(plan)
    return plan


def require_optimum(plan: Plan | None, optimum: float | None, seed: int, *, rel: float = EXACT) -> None:
    """The plan is as good as the best of all and says so; there is none if there is none."""
    assert (plan is None) == (optimum is None), seed
    if plan is not None:
        assert plan.value == pytest.approx(optimum, rel=rel, abs=0), seed
        assert plan.gap == pytest.approx(0.0, abs=rel), seed


def require_honest(plan: Plan | None, optimum: float | None, seed: int, *, rel: float = EXACT) -> None:
    """The bound is not above the optimum, and the plan is not better than it."""
    assert (plan is None) == (optimum is None), seed
    if plan is not None:
        assert plan.lower_bound <= optimum * (1 + rel), seed
        assert plan.value >= optimum * (1 - rel), seed
