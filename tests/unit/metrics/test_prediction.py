"""What a plan predicts for a run on devices that share this machine."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from multiedge.fleet import Device, Fleet
from multiedge.measurements import Fault, HostLoad, Item, Measurements, Memory
from multiedge.metrics import MetricValue, compute
from multiedge.metrics.prediction import SharedRun
from multiedge.pipeline_cost import PipelineCost
from multiedge.plan import CALLER, Estimate, Plan, Stage, StageEstimate, Transfer

NAMES = ["fps_predicted", "fps_predicted_at_pace", "prediction_error", "prediction_error_at_pace"]


def plan(*compute_s: float, **changes: Any) -> Plan:
    """Stages in a row on devices a, b, c..."""
    devices = "abcdef"[: len(compute_s)]
    stages = tuple(Stage(device, (number,)) for number, device in enumerate(devices))
    ends = [CALLER, *range(len(devices)), CALLER]
    moves = tuple(Transfer(source, target, ("x",), 4) for source, target in pairwise(ends))
    costs = tuple(StageEstimate(seconds, 0.0, 0, None, 1.0) for seconds in compute_s)
    estimate = Estimate(costs, max(compute_s), "device 'a'", sum(compute_s), None, 8)
    return Plan("hand", "throughput", stages, moves, replace(estimate, **changes), max(compute_s))


def settings(*speeds: float, processors: int = 2, threads: int = 1, **others: Any) -> dict[str, Any]:
    devices = {
        device: {"speed": min(1.0, speed), "declared_speed": speed, "threads": threads}
        for device, speed in zip("abcdef", speeds, strict=False)
    }
    return {"emulated": {"devices": devices, "processors": processors}, "scenario": "Offline", "depth": 20, **others}


def ran(count: int, seconds: float, host: HostLoad | None = None, **kept: Any) -> Measurements:
    """So many items in so many seconds."""
    return Measurements(tuple(Item(n, 0.0, 0.0, seconds) for n in range(count)), (), 0.0, seconds, settings=kept, host=host)


def host(seconds: float, *workers_s: float, other_s: float = 0.0, caller_s: float = 0.0) -> HostLoad:
    return HostLoad(
        2, seconds, sum(workers_s) + other_s + caller_s, 0.0, caller_s, dict(zip("abcdef", workers_s, strict=False))
    )


def values(measurements: Measurements, planned: Plan | None) -> dict[str, MetricValue]:
    return compute(measurements, NAMES, plan=planned)


def test_devices_with_processors_of_their_own_run_as_planned() -> None:
    found = values(ran(1000, 100.1, **settings(1.0, 1.0)), plan(0.1, 0.1))
    assert found["fps_predicted"].value == pytest.approx(1000 / 100.1)
    assert found["fps_predicted"].note == ""
    assert found["prediction_error"].value == pytest.approx(0.0, abs=1e-9)


OWN = PipelineCost(caller_s=0.03, caller_byte_s=0.0, worker_s=0.02, worker_byte_s=0.0, hop_s=0.02, switching=1.5)
TINY = {"pipeline": OWN, "expected_s": 0.03}


def test_tiny_stages_take_what_the_executor_takes() -> None:
    """On four processors the caller limits; without the executor's cost, 1,000 items/s were predicted."""
    found = values(ran(1000, 31.0, **settings(1.0, 1.0, processors=4)), plan(0.001, 0.001, **TINY))
    assert found["fps_predicted"].value == pytest.approx(1 / 0.03, rel=0.02)


def test_more_processes_than_processors_lose_time_to_switching() -> None:
    """Per item two workers and the caller take 21 + 21 + 30 ms and half as much again for 70 ms of them, on two processors."""
    found = values(ran(1000, 53.5, **settings(1.0, 1.0)), plan(0.001, 0.001, **TINY))
    assert found["fps_predicted"].value == pytest.approx(2 / (0.002 + 1.5 * 0.07), rel=0.03)


def test_the_pace_counts_processor_time_without_what_is_lost() -> None:
    """The workers used what was planned, so the second prediction is the first one."""
    load = host(53.5, 21.0, 21.0, caller_s=30.0)
    found = values(ran(1000, 53.5, load, **settings(1.0, 1.0)), plan(0.001, 0.001, **TINY))
    assert found["fps_predicted_at_pace"].value == pytest.approx(found["fps_predicted"].value, rel=0.01)


def test_stages_that_take_turns_take_longer_and_the_pace_has_that_already() -> None:
    """Three stages of 0.1 s on two processors, where work in turns takes a fifth more processor time."""
    own = PipelineCost(0.0, 0.0, 0.0, 0.0, 0.0, in_turns=1.2)
    planned = plan(0.1, 0.1, 0.1, pipeline=own, expected_s=0.1)
    load = host(180.0, 120.0, 120.0, 120.0)
    found = values(ran(1000, 180.0, load, **settings(1.0, 1.0, 1.0)), planned)
    assert found["fps_predicted"].value == pytest.approx(20 / 3 / 1.2, rel=0.01)
    assert found["fps_predicted_at_pace"].value == pytest.approx(20 / 3 / 1.2, rel=0.01)


def test_elsewhere_the_expected_rate_is_predicted() -> None:
    assert values(ran(10, 1.0), plan(0.001, 0.001, **TINY))["fps_predicted"].value == pytest.approx(1 / 0.03)


def test_a_plan_is_predicted_as_it_would_run_on_one_machine() -> None:
    fleet = Fleet((Device("a", speed=1.0), Device("b", speed=0.5)))
    alone = SharedRun.planned(plan(0.1, 0.2), fleet, 4)
    assert alone.fps == pytest.approx(5.0, rel=0.01)
    assert SharedRun.planned(plan(0.1, 0.1), fleet, 1).fps == pytest.approx(1 / 0.15, rel=0.01)


def test_three_devices_on_two_processors_are_predicted_to_share_them() -> None:
    found = values(ran(1000, 150.0, **settings(1.0, 1.0, 1.0)), plan(0.1, 0.1, 0.1))
    assert found["fps_predicted"].value == pytest.approx(20 / 3, rel=0.01)
    assert found["fps_predicted"].note == "3 devices share 2 processors; 10 without"
    assert found["prediction_error"].value == pytest.approx(0.0, abs=0.01)


def test_slow_devices_need_processors_only_while_they_compute() -> None:
    """They compute for 50, 25 and 25 ms. All begin together: the short ones end after 37.5 ms, the long one after 62.5 ms."""
    found = values(ran(1000, 112.5, **settings(0.5, 0.25, 0.25)), plan(0.1, 0.1, 0.1))
    assert found["fps_predicted"].value == pytest.approx(1 / 0.1125, rel=0.01)


def test_a_speed_above_one_is_predicted_as_it_is_emulated() -> None:
    found = values(ran(1000, 100.0, **settings(2.0)), plan(0.1))
    assert found["fps_predicted"].value == pytest.approx(5.0, rel=0.01)


def test_a_link_that_limits_the_plan_limits_the_prediction() -> None:
    found = values(ran(1000, 100.0, **settings(1.0, 1.0)), plan(0.1, 0.1, bottleneck_s=0.4, latency_s=0.6))
    assert found["fps_predicted"].value == pytest.approx(2.5, rel=0.01)


def test_one_item_at_a_time_has_the_latency_of_the_plan() -> None:
    kept = settings(1.0, 1.0, scenario="SingleStream")
    found = values(ran(100, 25.0, **kept), plan(0.1, 0.1, latency_s=0.25))
    assert found["fps_predicted"].value == pytest.approx(4.0)


def test_items_that_are_due_at_a_rate_come_at_that_rate() -> None:
    kept = settings(1.0, 1.0, scenario="Server", rate_per_s=3.0)
    found = values(ran(1000, 300.0, **kept), plan(0.1, 0.1))
    assert (found["fps_predicted"].value, found["fps_predicted"].note) == (3.0, "the rate at which items are due")


def test_a_machine_that_computes_slower_explains_the_error() -> None:
    """Items took 1.25 times the planned processor time, and the rate was a fifth lower."""
    measured = ran(1000, 125.0, host(125.0, 125.0, 125.0), **settings(1.0, 1.0))
    found = values(measured, plan(0.1, 0.1))
    assert found["prediction_error"].value == pytest.approx(0.25, rel=0.01)
    assert found["prediction_error_at_pace"].value == pytest.approx(0.0, abs=0.005)
    assert found["fps_predicted_at_pace"].note == "items took 1.25 x the planned processor time, other work 0.00 processors"


def test_a_plan_of_wrong_proportions_is_wrong_at_any_pace() -> None:
    """Planned 0.1 and 0.1 s, they took 0.05 and 0.15 s: the pace is as planned, the rate is not."""
    measured = ran(1000, 150.0, host(150.0, 50.0, 150.0), **settings(1.0, 1.0))
    assert values(measured, plan(0.1, 0.1))["prediction_error_at_pace"].value == pytest.approx(0.5, rel=0.01)


def test_other_work_that_takes_processors_explains_the_error() -> None:
    """A busy loop beside two stages on two processors has two thirds of one, as each stage has."""
    measured = ran(1000, 150.0, host(150.0, 100.0, 100.0, other_s=100.0), **settings(1.0, 1.0))
    found = values(measured, plan(0.1, 0.1))
    assert found["prediction_error"].value == pytest.approx(0.5, rel=0.01)
    assert found["prediction_error_at_pace"].value == pytest.approx(0.0, abs=0.01)


def test_the_caller_shares_the_processors_too() -> None:
    measured = ran(1000, 150.0, host(150.0, 100.0, 100.0, caller_s=100.0), **settings(1.0, 1.0))
    assert values(measured, plan(0.1, 0.1))["fps_predicted_at_pace"].value == pytest.approx(20 / 3, rel=0.02)


BUSY = host(100.0, 100.0, 100.0)


@pytest.mark.parametrize(
    ("measured", "note"),
    [
        pytest.param(ran(10, 1.0, **settings(1.0, 1.0)), "no devices of this machine, or its load was not measured", id="host"),
        pytest.param(ran(10, 1.0, BUSY), "no devices of this machine, or its load was not measured", id="elsewhere"),
        pytest.param(
            ran(1, 0.1, host(0.1, 0.1, 0.1), **settings(1.0, 1.0)),
            "the workers used less than 0.5 s of processor time",
            id="too-short",
        ),
        pytest.param(
            ran(10, 1.0, BUSY, **settings(1.0, 1.0, threads=2)),
            "a device has several threads; the plan does not state their processor time",
            id="threads",
        ),
        pytest.param(
            replace(ran(10, 1.0, BUSY, **settings(1.0, 1.0)), memory=(Memory("a", 1, gpu_method="NVML"),)),
            "a device computes on a GPU",
            id="gpu",
        ),
        pytest.param(
            replace(ran(10, 1.0, BUSY, **settings(1.0, 1.0)), faults=(Fault("crash", "a", 0.5, 0.6),)),
            "the fleet changed during the run",
            id="fault",
        ),
    ],
)
def test_a_pace_that_is_not_known_is_no_figure(measured: Measurements, note: str) -> None:
    found = values(measured, plan(0.1, 0.1))
    assert (found["fps_predicted_at_pace"].value, found["fps_predicted_at_pace"].note) == (None, note)
    assert (found["prediction_error_at_pace"].value, found["prediction_error_at_pace"].note) == (None, note)
    assert found["prediction_error"].value is not None


def test_without_a_plan_nothing_is_predicted() -> None:
    assert {(value.value, value.note) for value in values(ran(10, 1.0, BUSY), None).values()} == {
        (None, "no plan with an estimate")
    }


def test_a_plan_whose_costs_are_not_known_predicts_nothing() -> None:
    unknown = plan(0.1, 0.1, bottleneck_s=float("inf"))
    assert values(ran(10, 1.0, **settings(1.0, 1.0)), unknown)["fps_predicted"].value is None


def test_results_of_earlier_versions_are_predicted_with_the_processors_of_their_host() -> None:
    earlier = {"emulated": {"devices": {name: {"speed": 1.0, "threads": 1} for name in "abc"}}, "depth": 20}
    found = values(ran(1000, 150.0, host(150.0, 100.0, 100.0, 100.0), **earlier), plan(0.1, 0.1, 0.1))
    assert found["fps_predicted"].value == pytest.approx(20 / 3, rel=0.01)
