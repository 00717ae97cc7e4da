"""A plan in lines: what it promises, what is proven, and what is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.report.plan_text import plan_lines, value_text
from tests.builders.reports import plan

PLAN = plan("exact", (0.05, 0.04, 0.03))


@pytest.mark.parametrize(
    ("objective", "text"),
    [("throughput", "12.5 ms per item"), ("latency", "12.5 ms"), ("energy", "0.0125 J per item")],
)
def test_a_value_has_the_unit_of_its_objective(objective: str, text: str) -> None:
    assert value_text(objective, 0.0125) == text


def test_objective_and_proof_come_first() -> None:
    first = plan_lines(PLAN)[0]
    assert first == "throughput: 48 ms per item; bound 48 ms per item, gap 0.00% among contiguous plans; solved in 0.01 s"


def test_without_a_bound_nothing_is_proven() -> None:
    assert "; no bound proven; " in plan_lines(replace(PLAN, lower_bound=None))[0]


def test_energy_that_is_not_known_is_not_zero() -> None:
    assert plan_lines(PLAN)[1].endswith("3.1 J per item")
    unknown = replace(PLAN, estimate=replace(PLAN.estimate, energy_j=None))
    assert plan_lines(unknown)[1].endswith("energy not known (a device declares no power)")


def test_devices_left_out_and_notes_come_last() -> None:
    lines = plan_lines(replace(PLAN, left_out={"phone": "too slow"}, notes=("seed 7",)))
    assert lines[2:] == ["left out: phone: too slow", "note: seed 7"]
