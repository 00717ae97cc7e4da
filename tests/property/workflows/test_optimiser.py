"""The optimiser against every configuration there is."""

from __future__ import annotations

import math

import pytest

from multiedge.errors import InfeasibleError
from multiedge.workflows.optimiser.search import Budget, optimise
from multiedge.workflows.optimiser.simulated import Simulated
from tests.builders.workflow_problems import Congested, least_value, random_problem

BUDGET = Budget(simulations=20_000, seconds=600)


def optimised(problem, evaluate) -> float:
    """The optimiser's value, which it must prove; inf if it says that there is no configuration."""
    try:
        outcome = optimise(problem, evaluate, budget=BUDGET)
    except InfeasibleError as error:
        return math.inf if "no configuration keeps" in str(error) or "no variant fits" in str(error) else math.nan
    assert outcome.gap <= 1e-9
    return outcome.best.value


@pytest.mark.parametrize("seed", range(120))
def test_no_configuration_is_better_than_the_optimisers(seed):
    problem = random_problem(seed)
    evaluate = Congested(problem)

    assert optimised(problem, evaluate) == pytest.approx(least_value(problem, evaluate), rel=1e-7)


@pytest.mark.parametrize("seed", range(40))
def test_no_configuration_is_better_where_accuracies_of_combinations_were_measured(seed):
    problem = random_problem(seed, steps=3, variants=3, batches=(1, 2), combinations=6)
    evaluate = Congested(problem)

    assert optimised(problem, evaluate) == pytest.approx(least_value(problem, evaluate), rel=1e-7)


@pytest.mark.parametrize("seed", range(8))
def test_no_configuration_is_better_by_the_simulator(seed):
    problem = random_problem(seed, steps=2, variants=2, batches=(1, 4))
    evaluate = Simulated(problem, items=150, warmup=5)

    assert optimised(problem, evaluate) == pytest.approx(least_value(problem, evaluate), rel=1e-7)
