"""VALID, or every reason why not."""

from __future__ import annotations

from typing import Any

import pytest

from multiedge.errors import ConfigError
from multiedge.measurements import Item, Measurements
from multiedge.metrics.validity import query_latencies_s, validity

NEVER = float("inf")


def run(*items: Item, **settings: Any) -> Measurements:
    return Measurements(items, (), 0.0, 10.0, settings=settings)


def steady(count: int, seconds: float = 1.0, **settings: Any) -> Measurements:
    """Items that are all due at the same time and take equally long."""
    return run(*(Item(number, 0.0, 0.0, seconds) for number in range(count)), **settings)


def spread(count: int, **settings: Any) -> Measurements:
    """Items that are due one after the other."""
    return run(*(Item(number, float(number), float(number), number + 1.0) for number in range(count)), **settings)


@pytest.mark.parametrize(
    "measurements",
    [
        pytest.param(steady(1), id="offline-without-a-word"),
        pytest.param(steady(1, scenario="Offline"), id="offline"),
        pytest.param(steady(64, scenario="SingleStream"), id="single-stream"),
        pytest.param(spread(662, scenario="MultiStream"), id="multi-stream"),
        pytest.param(steady(662, scenario="Server"), id="server-without-a-bound"),
        pytest.param(steady(662, scenario="Server", latency_bound_s=1.0), id="server-at-its-bound"),
    ],
)
def test_a_valid_run(measurements: Measurements) -> None:
    verdict = validity(measurements)
    assert (verdict.valid, verdict.reasons, str(verdict)) == (True, (), "VALID")


FAILED, LOST = Item(7, 0.0, 0.0, 1.0, "stage 1 failed"), Item(8, 0.0, 0.0, NEVER)


@pytest.mark.parametrize(
    ("measurements", "reasons"),
    [
        pytest.param(run(), ["no item was answered"], id="nothing"),
        pytest.param(run(Item(0, 0.0, 0.0, 1.0), FAILED), ["1 item failed"], id="one-failed"),
        pytest.param(run(Item(0, 0.0, 0.0, 1.0), LOST), ["1 item lost"], id="one-lost"),
        pytest.param(
            run(Item(0, 0.0, 0.0, 1.0), Item(0, 0.0, 0.0, 2.0), Item(0, 0.0, 0.0, 3.0)), ["2 items answered twice"], id="twice"
        ),
        pytest.param(run(FAILED, LOST), ["1 item failed", "1 item lost", "no item was answered"], id="everything-is-listed"),
        pytest.param(steady(63, scenario="SingleStream"), ["p90 needs 64 samples, got 63"], id="single-stream-too-few"),
        pytest.param(steady(700, scenario="MultiStream"), ["p99 needs 662 samples, got 1"], id="queries-and-not-items"),
        pytest.param(
            steady(700, 3.0, scenario="Server", latency_bound_s=2.0),
            ["p99 is 3 s, not backed to be within 2 s"],
            id="above-the-bound",
        ),
        pytest.param(
            steady(100, scenario="Server", latency_bound_s=2.0), ["p99 needs 662 samples, got 100"], id="server-too-few"
        ),
    ],
)
def test_an_invalid_run_lists_its_reasons(measurements: Measurements, reasons: list[str]) -> None:
    verdict = validity(measurements)
    assert not verdict.valid
    assert list(verdict.reasons) == reasons
    assert str(verdict) == f"INVALID: {'; '.join(reasons)}"


@pytest.mark.parametrize("scenario", ["Ofline", "", "server"])
def test_an_unknown_scenario_is_refused(scenario: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown scenario '{scenario}'"):
        validity(run(scenario=scenario))


def test_a_query_is_answered_with_the_last_of_its_items() -> None:
    items = (Item(0, 0.0, 0.0, 1.0), Item(1, 0.0, 0.5, 3.0), Item(2, 3.0, 3.0, 4.0), Item(3, 3.0, 3.0, 9.0, "failed"))
    assert query_latencies_s(run(*items)) == [3.0, 1.0]
