"""What the executor itself takes: found from null pipelines, kept, and not measured where figures are declared."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from multiedge import calibration
from multiedge.calibration import (
    LARGE_BYTES,
    NULL_DEVICES,
    SMALL_BYTES,
    Drain,
    cost_of,
    keep_pipeline_cost,
    kept_at,
    kept_pipeline_cost,
    known_pipeline_cost,
    renewed_pipeline_cost,
    rested_hop_s,
    turn_s,
)
from multiedge.files import write_text
from multiedge.fleet import Device, Fleet
from multiedge.measurements import Event, HostLoad, Item, Measurements
from multiedge.pipeline_cost import PipelineCost
from multiedge.run import profile_model
from multiedge.serving.hub.authority import identities_of_one_run
from profilers.engine import contention
from profilers.engine.reference import VARIABLE
from tests.builders.graphs import chain_graph

COST = PipelineCost(1e-4, 1e-10, 5e-5, 2e-10, 9e-5, 1.25)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def drain(item_s: float, caller_s: float, worker_s: float) -> Drain:
    return Drain(item_s, caller_s, worker_s, depth=8, cores=2)


def test_costs_per_item_and_per_byte_come_from_two_sizes() -> None:
    more = 2 * (LARGE_BYTES - SMALL_BYTES)
    small = [drain(0.001, 100e-6, 60e-6), drain(0.001, 120e-6, 40e-6)]
    cost = cost_of(small, [drain(0.002, 110e-6 + 1e-9 * more, 50e-6 + 2e-9 * more)], 80e-6)
    assert (cost.caller_s, cost.worker_s, cost.hop_s) == pytest.approx((110e-6, 50e-6, 80e-6))
    assert (cost.caller_byte_s, cost.worker_byte_s) == pytest.approx((1e-9, 2e-9))


def test_what_sharing_two_processors_does_not_explain_is_lost_to_switching() -> None:
    """Three workers and the caller compute for 400 us per item: 200 us on two processors."""
    shared = cost_of([drain(200e-6, 100e-6, 100e-6)], [drain(1.0, 1.0, 1.0)], 0.0)
    assert shared.switching == pytest.approx(1.0, abs=0.02)
    slower = cost_of([drain(300e-6, 100e-6, 100e-6)], [drain(1.0, 1.0, 1.0)], 0.0)
    assert slower.switching == pytest.approx(1.5, rel=0.02)
    assert cost_of([drain(100e-6, 100e-6, 100e-6)], [drain(1.0, 1.0, 1.0)], 0.0).switching == 1.0


def test_other_work_during_the_measurement_is_taken_for_switching_in_part() -> None:
    """One of the two processors is taken: the pipeline has half of what it has alone, or had no use for the rest."""
    busy = Drain(400e-6, 100e-6, 100e-6, depth=8, cores=2, other_cores=1.0)
    assert cost_of([busy], [busy], 0.0).switching == pytest.approx(2**0.5, abs=0.05)
    quiet = replace(busy, item_s=240e-6, other_cores=0.0)
    assert cost_of([busy, quiet], [busy], 0.0).switching == pytest.approx(1.2, abs=0.02)


def test_a_drain_is_per_item_and_per_stage() -> None:
    host = HostLoad(2, 0.5, 1.0, 0.0, 0.1, {"d0": 0.05, "d1": 0.06, "d2": 0.04})
    items = tuple(Item(number, 0.0, 0.0, 0.5) for number in range(100))
    assert Drain.of(Measurements(items, (), 0.0, 0.5, settings={"depth": 8}, host=host)) == Drain(
        0.005, 0.001, 0.0005, 8, 2, 1.5
    )
    assert Drain.of(Measurements(items, (), 0.0, 0.5)) is None


def test_the_cost_is_measured_once_and_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    measured: list[int] = []
    monkeypatch.setattr(calibration, "measure_pipeline_cost", lambda *how: measured.append(1) or COST)
    assert kept_pipeline_cost() == COST
    assert "measured the pipeline's own cost" in caplog.text
    assert "100 us per item, 50 us per stage and item" in caplog.text
    assert kept_pipeline_cost() == COST
    assert len(measured) == 1
    write_text(kept_at(), "damaged")
    assert kept_pipeline_cost() == COST
    assert len(measured) == 2


def test_a_machine_that_cannot_be_measured_has_no_cost(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "measure_pipeline_cost", lambda *how: None)
    assert kept_pipeline_cost() is None
    assert not kept_at().exists()


def test_each_transport_has_figures_of_its_own(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dearer = replace(COST, worker_s=3 * COST.worker_s)
    monkeypatch.setattr(calibration, "measure_pipeline_cost", lambda transport, identities: dearer)
    assert keep_pipeline_cost(COST)
    assert renewed_pipeline_cost("tls") == dearer
    assert [known_pipeline_cost(), known_pipeline_cost("tls"), known_pipeline_cost("tcp")] == [COST, dearer, None]


def test_how_processors_are_shared_does_not_depend_on_the_transport(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_null_pipeline", lambda *args, **options: nullcontext(_Fake()))
    monkeypatch.setattr(contention, "measure_contention", lambda: contention.Contention(1.5, 1.6))
    keep_pipeline_cost(replace(COST, beside=1.1, in_turns=1.2))
    cost = calibration.measure_pipeline_cost("tcp")
    assert cost is not None
    assert (cost.beside, cost.in_turns) == (1.1, 1.2)


def test_declared_figures_have_nothing_of_this_machine(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "measure_pipeline_cost", lambda *how: COST)
    graph, fleet = chain_graph(3), Fleet((Device("a", speed=1.0),))
    monkeypatch.setenv(VARIABLE, "declared")
    assert profile_model(graph, fleet).pipeline is None
    monkeypatch.setenv(VARIABLE, "calibrated")
    assert profile_model(graph, fleet, reference="declared").pipeline is None


def test_the_cost_states_how_stages_slow_each_other(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(calibration, "_null_pipeline", lambda *args, **options: nullcontext(_Fake()))
    monkeypatch.setattr(contention, "measure_contention", lambda: contention.Contention(1.1, 1.2))
    cost = calibration.measure_pipeline_cost()
    assert cost is not None
    assert (cost.beside, cost.in_turns) == (1.1, 1.2)
    assert cost.hop_s == pytest.approx(0.125)
    monkeypatch.setattr(contention, "measure_contention", lambda: None)
    unknown = calibration.measure_pipeline_cost()
    assert unknown == replace(cost, beside=1.0, in_turns=1.0)
    assert "other work took 0.4 processors meanwhile" in caplog.text


def test_the_rest_of_what_an_item_takes_alone_is_that_of_its_messages() -> None:
    """Two items of 8 s, of which the three stages compute for 4 s; 0.5 s later than an answer, the next is sent."""
    items = tuple(Item(number, 0.0, 8.5 * number, 8.5 * number + 8.0) for number in range(2))
    events = tuple(
        Event("compute", number, stage, "d", 0.0, seconds) for number in (0, 1) for stage, seconds in ((0, 1), (1, 3))
    )
    alone = Measurements(items, events, 0.0, 17.0)
    assert (rested_hop_s(alone), turn_s(alone)) == (1.0, 0.5)
    assert rested_hop_s(replace(alone, events=())) is None
    assert turn_s(replace(alone, items=items[:1])) is None


class _Fake:
    """A pipeline in which every item takes half a second."""

    def map(self, items: list[object], scenario: object) -> tuple[list[object], Measurements]:
        load = HostLoad(2, 0.5, 0.6, 0.0, 0.1, {"d0": 0.1, "d1": 0.1, "d2": 0.1})
        answered = tuple(Item(number, 0.0, 0.0, 0.5) for number in range(len(items)))
        return [], Measurements(answered, (), 0.0, 0.5, settings={"depth": 8}, host=load)


@pytest.mark.slow
def test_this_machine_takes_microseconds_for_an_item() -> None:
    cost = calibration.measure_pipeline_cost()
    assert cost is not None
    assert 1e-6 < cost.worker_s < 5e-3
    assert 1e-6 < cost.caller_s < 5e-3
    assert 1e-6 < cost.hop_s < 5e-2
    assert cost.switching >= 1.0
    assert 1.0 <= cost.beside < 5.0
    assert 1.0 <= cost.in_turns < 5.0


@pytest.mark.slow
def test_a_pipeline_can_be_measured_over_tls() -> None:
    pytest.importorskip("cryptography", reason="the extra `fleet` is not installed")
    with identities_of_one_run(NULL_DEVICES) as identities:
        secured = calibration.measure_pipeline_cost("tls", identities)
    assert secured is not None
    assert 1e-11 < secured.worker_byte_s < 1e-7
