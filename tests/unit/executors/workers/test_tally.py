from __future__ import annotations

import pytest

from multiedge.executors.flow.answers import Answer
from multiedge.executors.flow.routes import Routes
from multiedge.executors.workers.tally import RunTally
from multiedge.measurements import Event, Fault
from multiedge.network.encoding import decode, encode
from multiedge.network.runs import DeviceWork, LinkWork, RunReport, StageDevices
from multiedge.plan import Part


def _routes(*devices: str) -> Routes:
    return Routes(tuple(Part(n, f"sub_model_{n}.onnx", name, (), (), {}) for n, name in enumerate(devices)), ())


def _answer(item: int, latency_s: float = 0.02, error: str = "") -> Answer:
    events = (
        Event("transfer", item, -1, "caller", 0.0, 0.001, 400, "a"),
        Event("compute", item, 0, "a", 0.001, 0.011),
        Event("transfer", item, 0, "a", 0.011, 0.012, 900, "b"),
        Event("compute", item, 1, "b", 0.012, 0.016),
    )
    return Answer(item, 100.0, 100.0 + latency_s, error, 1, () if error else events)


def _tally() -> RunTally:
    return RunTally("r1", "p" * 64, "m", began_s=100.0, began_unix_s=5000.0)


def test_a_report_has_the_totals_of_items_devices_and_links() -> None:
    tally = _tally()
    for item in range(3):
        tally.answered(_answer(item))
    tally.answered(_answer(3, error="lost"))
    made = tally.report(102.0, _routes("a", "b"), (), 2)
    assert (made.elapsed_s, made.answered, made.failed, made.unanswered) == (2.0, 3, 1, 2)
    assert [(each.device, each.items) for each in made.devices] == [("a", 3), ("b", 3)]
    assert [each.busy_s for each in made.devices] == pytest.approx([0.03, 0.012])
    assert made.links == (LinkWork("a", "b", 3, 2700), LinkWork("caller", "a", 3, 1200))
    assert made.stages == (StageDevices(0, ("a",)), StageDevices(1, ("b",)))
    assert made.devices[0] == DeviceWork("a", 3, made.devices[0].busy_s)


def test_percentiles_are_those_of_the_items_since_the_report_before() -> None:
    tally = _tally()
    tally.answered(_answer(0, latency_s=9.0))
    assert tally.report(101.0, _routes("a"), (), 0).p99_s == 9.0
    tally.answered(_answer(1, latency_s=0.5))
    assert tally.report(102.0, _routes("a"), (), 0).p99_s == 0.5
    assert tally.report(103.0, _routes("a"), (), 0).p99_s is None
    assert tally.report(104.0, _routes("a"), (), 0).latency.sum_s == pytest.approx(9.5)


def test_a_fault_that_the_run_has_forgotten_stays_in_the_reports() -> None:
    tally = _tally()
    fault = Fault("ended", "b", 101.0, 101.75, "worker of 'b' ended")
    tally.report(102.0, _routes("a"), [fault], 0)
    made = tally.report(103.0, _routes("a"), [], 0)
    assert [(each.kind, each.device, each.at_s, each.recovered_after_s) for each in made.faults] == [
        ("ended", "b", 5001.0, 0.75)
    ]
    assert made.fault_counts == {"ended": 1}
    assert decode(RunReport, encode(made), "test") == made


def test_a_fault_that_ends_is_still_one() -> None:
    tally = _tally()
    tally.report(102.0, _routes("a"), [Fault("ended", "b", 101.0)], 0)
    made = tally.report(103.0, _routes("a"), [Fault("ended", "b", 101.0, 102.5)], 0)
    assert [each.recovered_after_s for each in made.faults] == [1.5]
