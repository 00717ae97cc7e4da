"""The search for the highest rate that a server keeps."""

from __future__ import annotations

import pytest

from multiedge.load.knee import Knee, find_knee, next_rate
from multiedge.measurements import Measurements
from multiedge.metrics.validity import Validity
from multiedge.report.results import RunResult


def at_most(limit_per_s: float):
    """Measures as a server does that keeps rates up to a limit."""
    return lambda rate: RunResult("r", {}, Validity(rate <= limit_per_s), measurements=Measurements((), (), 0.0, 1.0))


@pytest.mark.parametrize("limit", [130.0, 437.0, 1999.0])
def test_the_knee_is_found_to_within_five_percent(limit: float) -> None:
    knee = find_knee(at_most(limit), 100.0, 4000.0)
    assert knee.kept_per_s <= limit < knee.broken_per_s
    assert knee.broken_per_s <= 1.06 * knee.kept_per_s
    assert len(knee.steps) < 12
    assert str(knee) == f"the knee is between {knee.kept_per_s:g} and {knee.broken_per_s:g} requests/s"


def test_rates_end_at_the_most_where_all_are_kept_and_at_the_first_where_none_is() -> None:
    knee = find_knee(at_most(1e9), 100.0, 700.0)
    assert [step.rate_per_s for step in knee.steps] == [100.0, 200.0, 400.0, 700.0]
    assert str(knee) == "all rates were kept, up to 700/s"
    assert str(find_knee(at_most(5.0), 100.0, 700.0)) == "no rate was kept; the lowest one was 100/s"


def test_a_run_that_is_ended_ends_the_ramp_and_counts_for_nothing() -> None:
    asked: list[float] = []

    def measure(rate_per_s: float) -> RunResult:
        asked.append(rate_per_s)
        settings = {"is_whole": len(asked) < 2}
        return RunResult("r", {}, Validity(True), measurements=Measurements((), (), 0.0, 1.0, settings=settings))

    knee = find_knee(measure, 100.0, 4000.0)
    assert asked == [100.0, 200.0]
    assert [step.rate_per_s for step in knee.steps] == [100.0]


def test_a_ramp_whose_first_run_is_ended_has_no_knee() -> None:
    assert str(Knee(())) == "no rate was measured to its end"


def test_a_rate_that_was_kept_above_one_that_was_not_counts_for_nothing() -> None:
    assert next_rate({100.0: True, 200.0: False, 400.0: True}, 1000.0) == 141.0
