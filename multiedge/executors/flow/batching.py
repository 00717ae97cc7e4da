"""Which of the items that wait on a device are computed next, and which of them together.

A stage may wait for a batch of items. It waits from the moment at which the first of them is complete, and no longer than its
time; other stages of the device run meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from multiedge.backends.contract import Batching


class Ready(NamedTuple):
    """An item that is complete at a stage since `since_s`. One that does not join is computed alone, and waits for no other."""

    sequence: int
    stage: int
    since_s: float
    joins: bool = True


class Choice(NamedTuple):
    """The items that are computed now, all at one stage; if there are none, when to look again."""

    items: tuple[Ready, ...]
    due_s: float = math.inf


def choose(ready: Iterable[Ready], batching: Mapping[int, Batching], now_s: float) -> Choice:
    """The oldest item whose stage need not wait any more, at its latest stage, with those that are computed with it.

    Args:
        ready: What waits, in any order.
        batching: By number of the stage, how its items are computed together.
        now_s: The time.

    Returns:
        What to compute; nothing if all stages with items may still wait.
    """
    waiting: dict[int, list[Ready]] = {}
    ordered = sorted(ready, key=lambda item: (item.sequence, -item.stage))
    for item in ordered:
        if item.joins:
            waiting.setdefault(item.stage, []).append(item)
    due_s = math.inf
    for item in ordered:
        if not item.joins:
            return Choice((item,))
        group, wish = waiting[item.stage], batching[item.stage]
        until_s = min(each.since_s for each in group) + wish.wait_s
        if len(group) >= wish.most or now_s >= until_s:
            return Choice(tuple(group[: wish.most]))
        due_s = min(due_s, until_s)
    return Choice((), due_s)
