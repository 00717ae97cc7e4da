"""The ways of items through the steps of a workflow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from multiedge.profile import Bools, Floats
from multiedge.workflows.workflow import FirstOf, Workflow

PASSED = 0.01
"""The share of items on which the 99th percentile does not depend."""


def steps_before(workflow: Workflow) -> dict[str, tuple[str, ...]]:
    """The steps that compute something before each such step may begin; joins are looked through."""
    made_by: dict[str, tuple[str, ...]] = {"": ()}
    before: dict[str, tuple[str, ...]] = {}
    for step in workflow.steps:
        reached = tuple(dict.fromkeys(name for source in step.sources for name in made_by[source.step]))
        is_join = isinstance(step.work, FirstOf)
        made_by[step.name] = reached if is_join else (step.name,)
        if not is_join:
            before[step.name] = reached
    return before


def ways(before: Mapping[str, tuple[str, ...]], shares: Mapping[str, Floats | Bools]) -> tuple[tuple[str, ...], ...]:
    """Steps one after another, from the first to a last one, all of which more than 1 % of the items pass.

    Args:
        before: As `steps_before` finds them, in topological order.
        shares: What each item takes of each step; 0 where it does not pass.

    Returns:
        Names of steps; a way that fewer items pass ends before the step that few of them reach.
    """
    ending: dict[str, list[tuple[tuple[str, ...], Bools]]] = {}
    followed: set[tuple[str, ...]] = set()
    for name, reached in before.items():
        present = np.asarray(shares[name], dtype=np.float64) > 0
        starts = [each for step in reached for each in ending[step]] or [((), np.ones(len(present), dtype=np.bool_))]
        ending[name] = [((*way, name), items & present) for way, items in starts if (items & present).mean() > PASSED]
        followed |= {way[:-1] for way, _ in ending[name]}
    every = [way for found in ending.values() for way, _ in found]
    return tuple(way for way in every if way not in followed)
