"""The chain of providers, and a meter over a run."""

from __future__ import annotations

import threading

import pytest

from multiedge.meters import power
from multiedge.meters.power import PowerMeter, open_meter, open_provider
from multiedge.meters.provider import Reading, Unavailable
from tests.builders.power import FakeNvml, FakeProvider


def run_meter(readings, **options):
    """A meter that looked once per second at each of `readings`."""
    times = iter(range(len(readings)))
    meter = PowerMeter(FakeProvider(readings), "nano", clock=lambda: float(next(times)), **options)
    for _ in readings:
        meter.sample()
    return meter


def refuse(reason):
    def make():
        raise Unavailable(reason)

    return make


def test_a_chain_that_fails_lists_every_reason():
    with pytest.raises(Unavailable, match=r"^A: no board; B: no root$"):
        open_provider({"A": refuse("no board"), "B": refuse("no root")})


def test_the_first_provider_that_answers_is_taken():
    answers = [FakeProvider([]), FakeProvider([])]
    assert open_provider({"A": refuse("no"), "B": lambda: answers[0], "C": lambda: answers[1]}) is answers[0]


def test_machine_power_is_not_claimed_for_one_of_several_devices():
    with pytest.raises(Unavailable, match="several devices share the machine"):
        open_meter("nano")


def test_a_card_of_its_own_comes_before_the_machine(monkeypatch):
    fake, board = FakeNvml(energy_mj=1000), FakeProvider([])
    monkeypatch.setattr(power, "CPU_CHAIN", {"hwmon": lambda: board})
    monkeypatch.setattr(power, "gpu_chain", lambda gpu: {"NVML": lambda: power.NvmlEnergy(power.Nvml(fake), gpu)})
    assert open_meter("nano", gpu=0, whole_machine=True)._provider.source == "NVML energy counter"
    fake.driver = False
    assert open_meter("nano", gpu=0, whole_machine=True)._provider is board
    with pytest.raises(Unavailable, match="NVML: NVML: Driver Not Loaded"):
        open_meter("nano", gpu=0)


def test_a_meter_over_a_counter():
    energy = run_meter([Reading(joules=j) for j in (100.0, 101.0, 111.0, 112.0)], window_s=1.0).energy()
    assert (energy.joules, energy.peak_w, energy.mean_w) == (12.0, 10.0, 4.0)
    assert (energy.method, energy.source, energy.domain) == ("measured", "fake counter", "bench")
    assert (energy.sample_hz, energy.window_s) == (1.0, 1.0)


def test_a_window_is_never_said_to_be_longer_than_the_run():
    energy = run_meter([Reading(joules=0.0), Reading(joules=3.0)], window_s=60.0).energy()
    assert (energy.window_s, energy.peak_w) == (1.0, 3.0)


@pytest.mark.parametrize(
    ("readings", "joules"),
    [
        pytest.param([Reading(watts=4.0), Reading(), Reading(watts=4.0)], 8.0, id="a-gap-in-power"),
        pytest.param([Reading(joules=1.0), Reading(), Reading(joules=9.0)], 8.0, id="a-gap-in-a-counter"),
        pytest.param([Reading(), Reading(watts=2.0), Reading(watts=4.0)], 3.0, id="late-to-begin"),
        pytest.param([Reading(watts=0.0), Reading(watts=0.0)], 0.0, id="zero-is-measured"),
        pytest.param([Reading(), Reading()], None, id="silent"),
        pytest.param([Reading(joules=5.0), Reading()], None, id="one-sample"),
        pytest.param([], None, id="never-looked"),
    ],
)
def test_gaps_are_left_out_and_never_zero(readings, joules):
    energy = run_meter(readings).energy()
    assert energy.joules == pytest.approx(joules)
    assert energy.method == ("none" if joules is None else "measured")
    assert (energy.peak_w is None) == (energy.mean_w is None) == (joules is None)


def test_a_clock_that_stands_still_measures_nothing():
    meter = PowerMeter(FakeProvider([Reading(joules=1.0), Reading(joules=2.0)]), "nano", clock=lambda: 3.0)
    meter.sample()
    meter.sample()
    assert meter.energy().method == "none"


def test_samples_count_from_the_first():
    assert run_meter([Reading(joules=j) for j in (100.0, 101.5, 104.0)]).samples == [(0.0, 0.0), (1.0, 1.5), (2.0, 4.0)]
    assert run_meter([Reading(watts=w) for w in (2.0, 4.0)]).samples == [(0.0, 0.0), (1.0, 3.0)]


class Steady(FakeProvider):
    """2 W for ever; `seen` is set after a few looks."""

    def __init__(self):
        super().__init__([])
        self.looks, self.seen = 0, threading.Event()

    def read(self):
        self.looks += 1
        if self.looks >= 5:
            self.seen.set()
        return Reading(watts=2.0)


def test_a_thread_samples_until_it_is_stopped_and_closes_its_provider():
    provider = Steady()
    with PowerMeter(provider, "nano", rate_hz=500) as meter:
        assert provider.seen.wait(5.0)
    looks = provider.looks
    assert meter.energy().mean_w == pytest.approx(2.0)
    assert provider.closed
    assert not any(thread.name == "power-nano" for thread in threading.enumerate())
    assert provider.looks == looks


def test_a_run_that_fails_stops_its_meter_all_the_same():
    provider = Steady()
    with pytest.raises(ZeroDivisionError), PowerMeter(provider, "nano", rate_hz=500):
        raise ZeroDivisionError
    assert provider.closed
