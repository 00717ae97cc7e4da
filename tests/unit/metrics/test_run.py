"""Every figure against a run small enough to work out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.measurements import Energy, Event, Fault, Item, Measurements, Memory
from multiedge.metrics import compute
from multiedge.plan import Estimate, Plan, Stage
from multiedge.proof import Plans, Scope

# Two devices in a row, four items in 10 s. Item 3 failed. a computes 4 x 1 s, b 3 x 2 s.
ITEMS = (Item(0, 0.0, 0.5, 3.5), Item(1, 1.0, 1.5, 5.5), Item(2, 2.0, 2.5, 8.0), Item(3, 3.0, 3.5, 9.0, "stage 1 failed"))
EVENTS = (
    *(Event("compute", n, 0, "a", 0.5 + n, 1.5 + n) for n in range(4)),
    *(Event("compute", n, 1, "b", 2.0 + 2 * n, 4.0 + 2 * n) for n in range(3)),
    *(Event("transfer", n, 0, "a", 1.5 + n, 1.75 + n, nbytes=300, peer="b") for n in range(3)),
    Event("transfer", 0, -1, "caller", 0.0, 0.1, nbytes=9999, peer="a"),
)
RUN = Measurements(
    ITEMS,
    EVENTS,
    0.0,
    10.0,
    warmup_items=2,
    faults=(Fault("device", "b", 2.0, 2.5), Fault("link", "a", 6.0, 7.5)),
    memory=(Memory("a", 100, method="VmHWM"), Memory("b", 300, method="VmHWM")),
    energy=(
        Energy("a", 6.0, 2.0, 0.6, "measured", "RAPL", window_s=1.0),
        Energy("b", 3.0, 5.0, 0.3, "modelled", "data sheet", window_s=1.0),
    ),
)
ESTIMATE = Estimate((), 2.0, "device 'b'", 3.0, None, 300)
STAGES = (Stage("a", (0,)), Stage("b", (1,)))
PLAN = Plan("exact", "throughput", STAGES, (), ESTIMATE, 2.0, 1.5, Scope(Plans.ALL), 0.25)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fps", 0.3),
        ("fps_bound", 0.5),
        ("fps_predicted", 0.5),
        ("latency_mean_s", (3.5 + 4.5 + 6.0) / 3),
        ("latency_max_s", 6.0),
        ("peak_memory_bytes", 300.0),
        ("peak_power_w", 5.0),
        ("energy_per_item_j", 3.0),
        ("network_bytes", 300.0),
        ("utilisation", 0.5),
        ("partition_time_s", 0.25),
        ("plan_gap", 0.25),
        ("items", 4.0),
        ("completed", 3.0),
        ("failed", 1.0),
        ("lost", 0.0),
        ("duplicated", 0.0),
        ("recovery_s", 1.5),
    ],
)
def test_figure_by_hand(name, expected):
    assert compute(RUN, [name], plan=PLAN)[name].value == pytest.approx(expected)


def test_the_time_of_a_plan_by_hand_is_not_known():
    value = compute(RUN, ["partition_time_s"], plan=replace(PLAN, solve_s=0.0))["partition_time_s"]
    assert (value.value, value.note) == (None, "the plan has no time")


def test_total_takes_the_method_of_its_weakest_member():
    found = compute(RUN, ["energy_per_item_j", "peak_power_w", "fps"])
    assert (found["energy_per_item_j"].method, found["peak_power_w"].method, found["fps"].method) == (
        "modelled",
        "modelled",
        "measured",
    )


def test_figures_by_device():
    found = compute(RUN)
    assert found["utilisation"].by_device == pytest.approx({"a": 0.4, "b": 0.6})
    assert found["energy_per_item_j"].by_device == pytest.approx({"a": 2.0, "b": 1.0})
    assert found["peak_memory_bytes"].by_device == {"a": 100, "b": 300}


def test_missing_on_one_device_is_missing_in_the_total():
    run = replace(RUN, memory=(*RUN.memory, Memory("c", None)), energy=(*RUN.energy, Energy("c", None, None, None)))
    for name in ("peak_memory_bytes", "peak_power_w", "energy_per_item_j"):
        found = compute(run, [name])[name]
        assert (found.value, found.method) == (None, "none")
        assert "no figure for c" in found.note


def test_an_empty_run_claims_nothing():
    found = compute(Measurements((), (), 0.0, 0.0))
    counts = {"items", "completed", "failed", "lost", "duplicated"}
    assert {name for name, value in found.items() if value.value is not None} == counts


def test_work_outside_the_window_does_not_count():
    run = replace(RUN, start_s=2.0, stop_s=4.0)
    assert compute(run, ["utilisation"])["utilisation"].by_device == pytest.approx({"a": 1.0, "b": 1.0})


def test_lost_and_duplicated_items():
    run = replace(RUN, items=(*ITEMS, ITEMS[0], Item(9, 0.0, 0.0, float("inf"))))
    found = compute(run, ["lost", "duplicated", "completed"])
    assert [value.value for value in found.values()] == [1, 1, 3]


def test_fault_without_recovery_has_no_time():
    run = replace(RUN, faults=(Fault("device", "b", 2.0),))
    found = compute(run, ["recovery_s"])["recovery_s"]
    assert found.value is None
    assert "never recovered" in found.note


def steady(count, seconds=1.0):
    items = tuple(Item(n, 0.0, 0.0, seconds) for n in range(count))
    return Measurements(items, (), 0.0, 10.0)


def test_percentile_needs_enough_samples():
    found = compute(steady(63), ["latency_p50_s", "latency_p90_s", "latency_p99_s"])
    assert found["latency_p50_s"].value == 1.0
    assert found["latency_p90_s"].value is None
    assert (found["latency_p90_s"].samples_needed, found["latency_p99_s"].samples_needed) == (64, 662)
    assert compute(steady(64), ["latency_p90_s"])["latency_p90_s"].value == 1.0
    assert compute(steady(662), ["latency_p99_s"])["latency_p99_s"].value == 1.0


def test_bytes_that_nobody_counted_are_unknown_and_not_zero():
    """As of stages that run on servers elsewhere."""
    run = replace(RUN, events=tuple(event for event in EVENTS if event.kind == "compute"))
    found = compute(run, ["network_bytes"])["network_bytes"]
    assert (found.value, found.note) == (None, "no transfer was recorded")


def test_a_run_on_one_device_sends_nothing():
    run = Measurements(ITEMS, EVENTS[:4], 0.0, 10.0)
    assert compute(run, ["network_bytes"])["network_bytes"].value == 0.0


def test_a_device_that_returns_needs_no_recovery():
    run = replace(RUN, faults=(*RUN.faults, Fault("return", "b", 9.0)))
    assert compute(run, ["recovery_s"])["recovery_s"].value == 1.5
