"""Energy by declared watts, by hand: idle for the whole window, busy once, bytes sent."""

from __future__ import annotations

from typing import Any

import pytest

from multiedge.fleet import Device, Fleet, Power
from multiedge.measurements import Energy, Event, Measurements
from multiedge.meters.modelled import busiest_share, modelled_energy, with_energy

NANO = Device("nano", power=Power(idle_w=2.0, busy_w=10.0, source="data sheet"), joules_per_byte=0.001)


def run(*events: Event, stop_s: float = 10.0, **rest: Any) -> Measurements:
    return Measurements(items=(), events=events, start_s=0.0, stop_s=stop_s, **rest)


def computed(start_s: float, stop_s: float, device: str = "nano") -> Event:
    return Event("compute", 0, 0, device, start_s, stop_s)


@pytest.mark.parametrize(
    ("events", "joules"),
    [
        pytest.param([], 20.0, id="idle-all-the-time"),
        pytest.param([computed(0.0, 10.0)], 100.0, id="busy-all-the-time"),
        pytest.param([computed(1.0, 3.0), computed(2.0, 4.0)], 20.0 + 8.0 * 3.0, id="overlaps-count-once"),
        pytest.param([computed(-5.0, 1.0), computed(9.0, 99.0)], 20.0 + 8.0 * 2.0, id="clipped-to-the-window"),
        pytest.param([computed(1.0, 3.0, "other")], 20.0, id="others-work-is-not-its"),
        pytest.param([Event("transfer", 0, 0, "nano", 4.0, 5.0, 500, "tx2")], 20.5, id="bytes-it-sends"),
        pytest.param([Event("transfer", 0, 0, "tx2", 4.0, 5.0, 500, "nano")], 20.0, id="bytes-it-receives"),
        pytest.param([Event("load", -1, 0, "nano", 0.0, 5.0)], 20.0, id="loading-is-not-computing"),
    ],
)
def test_joules_by_hand(events: list[Event], joules: float) -> None:
    energy = modelled_energy(run(*events), NANO)
    assert energy.joules == pytest.approx(joules)
    assert energy.mean_w == pytest.approx(joules / 10.0)
    assert (energy.method, energy.source, energy.sample_hz) == ("modelled", "data sheet", None)


@pytest.mark.parametrize(
    ("spans", "window_s", "peak_w"),
    [
        pytest.param([(1.0, 4.0)], 2.0, 10.0, id="busy-for-a-whole-window"),
        pytest.param([(5.0, 6.0)], 4.0, 2.0 + 8.0 / 4, id="busy-for-a-part"),
        pytest.param([(0.0, 1.0), (2.0, 3.0)], 4.0, 2.0 + 8.0 / 2, id="two-parts-in-one-window"),
        pytest.param([(0.0, 1.0), (9.0, 10.0)], 4.0, 2.0 + 8.0 / 4, id="two-parts-far-apart"),
        pytest.param([(0.0, 5.0)], 99.0, 6.0, id="a-window-longer-than-the-run"),
        pytest.param([], 1.0, 2.0, id="idle"),
    ],
)
def test_the_peak_is_an_average_over_its_window(spans: list[tuple[float, float]], window_s: float, peak_w: float) -> None:
    energy = modelled_energy(run(*(computed(*span) for span in spans)), NANO, window_s)
    assert energy.peak_w == pytest.approx(peak_w)
    assert energy.window_s == min(window_s, 10.0)


def test_a_device_without_watts_has_no_energy_and_not_zero() -> None:
    energy = modelled_energy(run(computed(0.0, 1.0)), Device("nano"))
    assert (energy.joules, energy.peak_w, energy.mean_w, energy.method) == (None, None, None, "none")
    assert "no watts declared" in energy.source


def test_a_run_of_no_time_has_no_mean() -> None:
    energy = modelled_energy(run(stop_s=0.0), NANO)
    assert (energy.joules, energy.peak_w, energy.mean_w) == (0.0, 2.0, None)


@pytest.mark.parametrize(
    ("spans", "window_s", "share"),
    [
        pytest.param([(0, 1), (2, 3), (8, 10)], 2.0, 1.0, id="full"),
        pytest.param([(0, 1), (2, 3)], 4.0, 0.5, id="half"),
        pytest.param([], 4.0, 0.0, id="none"),
        pytest.param([(0, 10)], 4.0, 1.0, id="always"),
        pytest.param([(4.5, 5.5)], 2.0, 0.5, id="inside"),
    ],
)
def test_the_busiest_share(spans: list[tuple[float, float]], window_s: float, share: float) -> None:
    assert busiest_share(spans, 0.0, 10.0, window_s) == pytest.approx(share)


def test_measured_energy_is_kept_and_the_rest_modelled() -> None:
    given = Energy("gpu", 5.0, 9.0, 1.0, "measured", "NVML energy counter")
    fleet = Fleet((NANO, Device("gpu"), Device("unused", power=NANO.power)))
    filled = with_energy(run(computed(0.0, 1.0), computed(1.0, 2.0, "gpu"), energy=(given,)), fleet)
    assert [(entry.device, entry.method) for entry in filled.energy] == [("nano", "modelled"), ("gpu", "measured")]
    assert filled.energy[1] == given


def test_a_meter_that_failed_leaves_its_device_to_the_model() -> None:
    failed = Energy("nano", None, None, None, "none", "gave fewer than two samples")
    (energy,) = with_energy(run(computed(0.0, 1.0), energy=(failed,)), Fleet((NANO,))).energy
    assert (energy.method, energy.joules) == ("modelled", 28.0)


def test_what_was_measured_outside_the_fleet_is_kept_at_the_end() -> None:
    """A hosting server's own meter, or a device that left the fleet."""
    given = Energy("host", 5.0, None, None, "measured")
    filled = with_energy(run(computed(0.0, 1.0), energy=(given,)), Fleet((NANO,)))
    assert [entry.device for entry in filled.energy] == ["nano", "host"]
