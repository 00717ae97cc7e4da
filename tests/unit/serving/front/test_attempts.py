from dataclasses import replace

import pytest

from multiedge.errors import ConfigError
from multiedge.serving.front.attempts import (
    Attempt,
    AttemptRules,
    Begin,
    GaveUp,
    GiveUp,
    Outcome,
    RowView,
    Wait,
    next_step,
)

RULES = AttemptRules(deadline_factor=4.0, least_deadline_s=0.25, unknown_deadline_s=5.0, pause_s=0.1, patience_s=60.0)
HEDGED = replace(RULES, hedge_factor=2.0)
A, B, C = RowView("a", 0.1), RowView("b", 0.2), RowView("c", None)
END_S = 50.0


def begun(row: str, at_s: float, limit_s: float = 1.0, failed_s: float | None = None, **fields) -> Attempt:
    outcome = Outcome.PENDING if failed_s is None else Outcome.ROW_FAILED
    return Attempt(row, at_s, limit_s, **{"outcome": outcome, "failed_s": failed_s, **fields})


def refused(row: str, at_s: float) -> Attempt:
    return begun(row, at_s, failed_s=at_s, outcome=Outcome.ITEM_FAILED)


def unusable(row: RowView) -> RowView:
    return replace(row, is_usable=False)


@pytest.mark.parametrize(
    ("rows", "attempts", "now_s", "expected"),
    [
        ((A, B), (), 0.0, "a"),
        ((unusable(A), B), (), 0.0, "b"),
        ((unusable(A), unusable(B)), (), 0.0, Wait(0.1)),
        ((A, B), (begun("a", 0.0),), 0.5, Wait(1.0)),
        ((A, B), (begun("a", 0.0),), 1.0, "b"),
        ((A, B), (begun("a", 0.0), begun("b", 1.0, 2.0)), 1.5, Wait(3.0)),
        ((A, B), (begun("a", 0.0), begun("b", 1.0)), 2.0, Wait(2.1)),
        ((A, B), (begun("a", 0.0, failed_s=0.2),), 0.2, "b"),
        ((A, B), (begun("a", 0.0, failed_s=0.2), begun("b", 0.2, failed_s=0.3)), 0.35, "a"),
        ((A,), (begun("a", 0.0, failed_s=0.2),), 0.2, Wait(0.3)),
        ((A,), (begun("a", 0.0, failed_s=0.2),), 0.31, "a"),
        ((A,), (begun("a", 0.0, failed_s=0.1), begun("a", 0.2, failed_s=0.3)), 0.45, Wait(0.5)),
        ((A, B), (refused("a", 0.1),), 0.1, "b"),
        ((A, B), (refused("a", 0.1), refused("b", 0.2)), 0.2, GiveUp(GaveUp.FAILED_EVERYWHERE)),
        ((A, B), (begun("a", 0.0), refused("b", 1.2)), 1.2, Wait(1.3)),
        ((A, B), (refused("a", 0.1), begun("b", 0.1, failed_s=0.2)), 0.2, Wait(0.3)),
        ((A, B), (begun("a", 49.9),), 50.0, GiveUp(GaveUp.TIME_OVER)),
        ((A,), (begun("a", 49.5),), 49.6, Wait(END_S)),
    ],
    ids=[
        "the first row is tried first",
        "a row whose breaker is open is left out",
        "if no row is usable it looks again soon",
        "an attempt has its time",
        "a late attempt is left for the next row",
        "and the next row has its own time",
        "if all are late they are waited for",
        "a row that failed is left immediately",
        "when all have failed the first is tried again",
        "but not before a pause",
        "it is tried again after the pause",
        "which doubles",
        "a row that cannot compute the item is left",
        "an item that fails everywhere fails",
        "unless an attempt may still answer",
        "or a row may come back",
        "the time of the request is over",
        "no wait is longer than the request's time",
    ],
)
def test_the_next_step(rows, attempts, now_s, expected):
    step = next_step(RULES, rows, attempts, now_s, END_S)
    if isinstance(expected, str):
        assert isinstance(step, Begin)
        assert (step.attempt.row, step.attempt.begun_s, step.is_hedge) == (expected, now_s, False)
    elif isinstance(expected, Wait):
        assert step == Wait(pytest.approx(expected.until_s))
    else:
        assert step == expected


def limit_of(row: RowView, rules: AttemptRules = RULES) -> float:
    step = next_step(rules, (row,), (), 0.0, END_S)
    assert isinstance(step, Begin)
    return step.attempt.limit_s


def test_an_attempt_may_take_a_multiple_of_the_p99_of_its_row():
    assert limit_of(B) == pytest.approx(0.8)
    assert limit_of(RowView("quick", 0.001)) == 0.25
    assert limit_of(C) == 5.0


@pytest.mark.parametrize(
    ("attempts", "now_s", "expected"),
    [
        ((begun("a", 0.0, hedge_s=0.2),), 0.1, Wait(0.2)),
        ((begun("a", 0.0, hedge_s=0.2),), 0.2, "b"),
        ((begun("a", 0.0, hedge_s=0.2), begun("b", 0.2)), 0.4, Wait(1.0)),
        ((begun("a", 0.0, hedge_s=0.2), begun("b", 0.2, failed_s=0.3)), 0.4, Wait(1.0)),
    ],
    ids=["not before its time", "beside a slow one", "one only", "and not on a row that has failed"],
)
def test_a_second_attempt_begins_beside_a_slow_one(attempts, now_s, expected):
    step = next_step(HEDGED, (A, B), attempts, now_s, END_S)
    if isinstance(expected, str):
        assert isinstance(step, Begin)
        assert (step.attempt.row, step.is_hedge) == (expected, True)
    else:
        assert step == expected


def test_hedging_is_off_unless_it_is_asked_for():
    step = next_step(RULES, (A,), (), 0.0, END_S)
    assert isinstance(step, Begin)
    assert step.attempt.hedge_s is None


@pytest.mark.parametrize(
    "values",
    [{"deadline_factor": 0.5}, {"pause_s": -1.0}, {"hedge_factor": 4.0}, {"hedge_factor": 0.0}, {"patience_s": -0.1}],
)
def test_rules_that_cannot_work_are_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        replace(RULES, **values)
