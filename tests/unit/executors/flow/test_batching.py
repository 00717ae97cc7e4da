"""Which items are computed next, and which of them together."""

from __future__ import annotations

import math

import pytest

from multiedge.backends.contract import Batching
from multiedge.executors.flow.batching import Choice, Ready, choose

ALONE, PAIRS, WAITING = 0, 1, 2
BATCHING = {ALONE: Batching(), PAIRS: Batching(2), WAITING: Batching(3, wait_s=0.5)}


def alone(sequence: int, stage: int = WAITING) -> Ready:
    return Ready(sequence, stage, 0.0, joins=False)


@pytest.mark.parametrize(
    ("ready", "now_s", "chosen", "due_s"),
    [
        pytest.param([], 0.0, [], math.inf, id="nothing waits"),
        pytest.param([(4, ALONE, 0.0), (3, ALONE, 0.0)], 0.0, [3], math.inf, id="the oldest item first, alone"),
        pytest.param([(3, ALONE, 0.0), (3, PAIRS, 0.0)], 0.0, [3], math.inf, id="its latest stage first"),
        pytest.param([(5, PAIRS, 0.0), (3, PAIRS, 0.0), (4, PAIRS, 0.0)], 0.0, [3, 4], math.inf, id="as many as fit"),
        pytest.param([(3, PAIRS, 0.0)], 0.0, [3], math.inf, id="without a time nobody waits"),
        pytest.param([(3, WAITING, 1.0), (4, WAITING, 1.2)], 1.3, [], 1.5, id="a batch that is not full waits"),
        pytest.param([(3, WAITING, 1.2), (4, WAITING, 1.0)], 1.5, [3, 4], math.inf, id="until its first item has waited"),
        pytest.param([(n, WAITING, 1.0) for n in range(5)], 1.0, [0, 1, 2], math.inf, id="a full batch does not wait"),
        pytest.param([(3, WAITING, 1.0), (9, ALONE, 1.2)], 1.3, [9], math.inf, id="another stage runs meanwhile"),
    ],
)
def test_which_items_are_computed(ready: list[tuple[int, int, float]], now_s: float, chosen: list[int], due_s: float) -> None:
    choice = choose([Ready(*each) for each in ready], BATCHING, now_s)
    assert ([each.sequence for each in choice.items], choice.due_s) == (chosen, due_s)
    assert len({each.stage for each in choice.items}) <= 1


def test_an_item_that_joins_no_others_neither_waits_nor_lets_others_wait() -> None:
    waiting = Ready(2, WAITING, 0.0)
    assert choose([waiting, alone(3)], BATCHING, 0.1) == Choice((alone(3),))
    assert choose([waiting, alone(1)], BATCHING, 0.1) == Choice((alone(1),))


def test_the_time_to_look_again_is_that_of_the_stage_that_waits_least() -> None:
    batching = {1: Batching(4, 0.5), 2: Batching(4, 0.1)}
    assert choose([Ready(0, 1, 1.0), Ready(1, 2, 1.0)], batching, 1.0).due_s == pytest.approx(1.1)
