"""The ways of items through the stages of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from multiedge.plan import CALLER, Path, Transfer


@dataclass(frozen=True)
class Way:
    """Stages and transfers of one item.

    Attributes:
        share: Share of all items that take this way.
        stages: Numbers of its stages, ascending.
        transfers: The transfers between them, from and to the caller.
    """

    share: float
    stages: tuple[int, ...]
    transfers: tuple[Transfer, ...]


def ways_of(stages: int, transfers: Sequence[Transfer], paths: Sequence[Path]) -> tuple[Way, ...]:
    """The ways of a plan: its paths, or one through all stages.

    Args:
        stages: Number of stages.
        transfers: The transfers of the plan.
        paths: The paths of the plan.

    Returns:
        At least one Way; their shares sum to 1.
    """
    if not paths:
        return (Way(1.0, tuple(range(stages)), tuple(transfers)),)
    rate = sum(path.items_per_s for path in paths)
    return tuple(Way(path.items_per_s / rate, path.stages, _along(path.stages, transfers)) for path in paths)


def _along(stages: Sequence[int], transfers: Sequence[Transfer]) -> tuple[Transfer, ...]:
    """The transfers of an item that passes these stages one after another; each of them returns its own results."""
    hops = {(CALLER, stages[0]), *pairwise(stages), *((stage, CALLER) for stage in stages)}
    return tuple(move for move in transfers if (move.source, move.target) in hops)
