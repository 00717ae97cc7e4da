"""VALID, DEGRADED or INVALID, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from multiedge.errors import ConfigError
from multiedge.measurements import Event, Fault, HostLoad, Item, Measurements
from multiedge.metrics.validity import FaultCount, MovedStage, query_latencies_s, validity
from multiedge.plan import CALLER, Estimate, Plan, Stage, StageEstimate, Transfer

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
        pytest.param(steady(662, scenario="Server", is_whole=True), id="server-to-its-end"),
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
        pytest.param(
            steady(662, scenario="Server", is_whole=False),
            ["the run was ended before all of its requests were sent and answered"],
            id="ended-before",
        ),
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


PLAN = Plan("exact", "throughput", (Stage("a", (0,)), Stage("b", (1,))), (), Estimate((), 2.0, "b", 3.0, None, 300), 2.0)


def test_faults_degrade_a_run_and_a_return_is_none() -> None:
    faults = (Fault("memory", "b", 1.0), Fault("return", "b", 2.0), Fault("memory", "b", 3.0), Fault("crash", "a", 4.0, 5.0))
    verdict = validity(replace(steady(1), faults=faults))
    assert verdict.valid
    assert verdict.faults == (FaultCount("memory", "b", 2, 2), FaultCount("crash", "a", 1, 0))
    assert str(verdict) == "DEGRADED: memory of b 2 times, not recovered; crash of a"


def test_a_device_that_only_returned_degrades_nothing() -> None:
    assert validity(replace(steady(1), faults=(Fault("return", "b", 2.0),))).verdict == "VALID"


def test_a_stage_on_another_device_than_planned_degrades_a_run() -> None:
    ran = [(0, "a"), (1, "b"), (1, "c"), (2, "c")]
    measurements = replace(steady(1), events=tuple(Event("compute", 0, stage, device, 0.0, 1.0) for stage, device in ran))
    verdict = validity(measurements, PLAN)
    assert verdict.moved == (MovedStage(1, ("b",), ("c",)), MovedStage(2, (), ("c",)))
    assert str(verdict) == "DEGRADED: stage 2 ran on c, planned on b; stage 3 ran on c, which the plan does not have"
    assert validity(measurements).verdict == "VALID"


@pytest.mark.parametrize(
    ("busy_s", "steal_s", "share"),
    [
        pytest.param(10.0, 0.0, None, id="only-the-run"),
        pytest.param(11.9, 0.0, None, id="a-little-else"),
        pytest.param(14.0, 0.0, None, id="much-else-and-processors-to-spare"),
        pytest.param(18.0, 0.0, 0.40, id="much-else-and-few-processors-to-spare"),
        pytest.param(19.0, 0.0, 0.45, id="a-busy-host"),
        pytest.param(10.0, 9.0, 0.45, id="a-busy-neighbour"),
    ],
)
def test_a_host_that_is_busy_with_other_work_degrades_a_run(busy_s: float, steal_s: float, share: float | None) -> None:
    host = HostLoad(2, 10.0, busy_s, steal_s, 1.0, {"a": 4.0, "b": 5.0})
    verdict = validity(replace(steady(1), host=host))
    assert verdict.busy_share == share
    said = "VALID" if share is None else f"DEGRADED: other work took {share:.0%} of this machine's processors"
    assert str(verdict) == said


@pytest.mark.parametrize(
    ("processors", "workers_s", "other_s", "said"),
    [
        pytest.param(2, 100.0, 8.0, "VALID", id="a-little-else"),
        pytest.param(16, 100.0, 1300.0, "VALID", id="a-busy-host-with-processors-to-spare"),
        pytest.param(
            2,
            100.0,
            100.0,
            "DEGRADED: other work took 33% of this machine's processors, which lowered the rate by about 33%",
            id="a-busy-loop",
        ),
    ],
)
def test_other_work_degrades_a_run_whose_rate_it_lowered(processors: int, workers_s: float, other_s: float, said: str) -> None:
    """Two stages of 0.1 s, 1000 items, each on a processor of its own if there is one."""
    devices = {name: {"speed": 1.0, "threads": 1} for name in "ab"}
    settings = {"emulated": {"devices": devices, "processors": processors}, "depth": 20}
    wall_s = 150.0 if processors == 2 and other_s > 10 else 104.0
    host = HostLoad(processors, wall_s, 2 * workers_s + other_s, 0.0, 0.0, {"a": workers_s, "b": workers_s})
    ran = replace(steady(1000), host=host, settings=settings)
    costs = tuple(StageEstimate(0.1, 0.0, 0, None, 1.0) for _ in "ab")
    moves = (Transfer(CALLER, 0, ("x",), 4), Transfer(0, 1, ("y",), 4), Transfer(1, CALLER, ("z",), 4))
    planned = replace(PLAN, transfers=moves, estimate=Estimate(costs, 0.1, "device 'a'", 0.2, None, 4))
    assert str(validity(ran, planned)) == said


def test_an_invalid_run_also_names_what_degraded_it() -> None:
    verdict = validity(replace(run(), faults=(Fault("crash", "a", 4.0),)))
    assert str(verdict) == "INVALID: no item was answered; crash of a, not recovered"


def test_a_load_that_was_sent_late_is_invalid_and_says_what_waited() -> None:
    late = [Item(n, n * 1e-3, n * 1e-3 + (0.0 if n % 50 else 0.004), n * 1e-3 + 0.01) for n in range(1000)]
    settings = {"scenario": "Server", "lag_bound_s": 1e-3}
    verdict = validity(run(*late, **settings))
    assert str(verdict) == "INVALID: requests were sent late: the p99 of the lag is 4 ms, at most 1 ms is valid"
    assert "7 of them waited for a connection" in str(validity(run(*late, **settings, waited_for_connection=7)))
    assert validity(run(*late, scenario="Server")).valid
    in_time = [replace(item, issued_s=item.due_s + 0.9e-3) for item in late]
    assert validity(run(*in_time, **settings)).valid
