from __future__ import annotations

import pytest

from multiedge.composed import Condition, Measure, Relation
from multiedge.graph import Tensor
from multiedge.workflows.rates import rates_of
from multiedge.workflows.workflow import Edge, FirstOf, Function, Source, Step, When, Workflow

CONDITION = Condition(Measure.MAX, Relation.BELOW, 0.5)
IMAGE = Source("image")


def step(name: str, *reads: str, rate: float | None = None, on: str = "") -> Step:
    """A step with one output `y`; with `on` a condition on the output of that step."""
    inputs = {f"x{number}": Edge(Source("y", read) if read else IMAGE) for number, read in enumerate(reads or ("",))}
    when = When(Source("y", on), CONDITION, rate) if on else None
    return Step(name, Function("m:f", {"y": Tensor("y", "float32", (1,))}), inputs, when)


def join(name: str, *candidates: str) -> Step:
    return Step(name, FirstOf(tuple(Source("y", each) for each in candidates)))


def rates(*steps: Step) -> dict[str, float]:
    return rates_of(Workflow("w", {"image": Tensor("image", "float32", (1,))}, steps, {}))


ROWS = {
    "a step without a condition": ([step("a")], {"a": 1}),
    "a step behind a condition, and one behind it": (
        [step("a"), step("b", on="a", rate=0.3), step("c", "b")],
        {"a": 1, "b": 0.3, "c": 0.3},
    ),
    "a condition behind a condition": (
        [step("a"), step("b", on="a", rate=0.3), step("c", "b", on="b", rate=0.5)],
        {"a": 1, "b": 0.3, "c": 0.15},
    ),
    "both ways from one condition": (
        [step("a"), step("b", on="a", rate=0.3), step("c", "b"), step("d", "b"), step("e", "c", "d")],
        {"a": 1, "b": 0.3, "c": 0.3, "d": 0.3, "e": 0.3},
    ),
    "two conditions at a hard join": (
        [step("a"), step("b", on="a", rate=0.3), step("c", on="a", rate=0.5), step("d", "b", "c")],
        {"a": 1, "b": 0.3, "c": 0.5, "d": 0.15},
    ),
    "a soft join with one that is always there": (
        [step("a"), step("b", on="a", rate=0.3), join("j", "b", "a"), step("c", "j")],
        {"a": 1, "b": 0.3, "j": 1, "c": 1},
    ),
    "a soft join of either way": (
        [step("a"), step("b", on="a", rate=0.3), step("c", on="a", rate=0.5), join("j", "b", "c"), step("d", "j")],
        {"a": 1, "b": 0.3, "c": 0.5, "j": 0.8, "d": 0.8},
    ),
    "a condition whose rate is not known": ([step("a"), step("b", on="a")], {"a": 1, "b": 1}),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_step_computes_for_the_share_that_its_conditions_leave(name: str) -> None:
    steps, expected = ROWS[name]
    assert rates(*steps) == pytest.approx(expected)
