from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.errors import MultiedgeError
from multiedge.network.records import NodeState
from multiedge.network.runs import LatencyCounts, RunReport
from multiedge.serving.seeing.watch import FORGET_AFTER_S, MOST_RUNS, MOST_SAMPLES, Watch, heard_run, looked
from tests.builders.reports_of_runs import fault, report

A, B = NodeState("a", "10.0.0.1:8471"), NodeState("b", "10.0.0.2:8471")


def _look(watch: Watch, now_s: float, *alive: NodeState, **ages_s: float) -> Watch:
    return looked(watch, ages_s, alive, now_s, 5000.0 + now_s)


# -- nodes


def test_a_node_is_late_before_it_is_lost_and_alive_again_after_a_heartbeat() -> None:
    watch = _look(Watch(), 1.0, A, B, a=0.1, b=0.2)
    assert {name: seen.status for name, seen in watch.nodes.items()} == {"a": "alive", "b": "alive"}
    watch = _look(watch, 2.0, A, B, a=0.1, b=1.2)
    assert watch.nodes["b"].status == "late"
    watch = _look(watch, 2.1, A, B, a=0.1, b=0.0)
    assert watch.nodes["b"].status == "alive"
    assert watch.events == ()


def test_a_lost_node_stays_with_the_time_of_its_loss() -> None:
    watch = _look(_look(_look(Watch(), 1.0, A, B), 3.0, A), 9.0, A)
    assert (watch.nodes["b"].status, watch.nodes["b"].lost_unix_s) == ("lost", 5003.0)
    assert [(each.kind, each.device, each.at_s) for each in watch.events] == [("lost", "b", 5003.0)]
    assert watch.totals.faults == {"lost": 1}


def test_a_node_that_is_back_ends_its_loss() -> None:
    watch = _look(_look(_look(Watch(), 1.0, A, B), 3.0, A), 5.0, A, B)
    assert (watch.nodes["b"].status, watch.nodes["b"].lost_unix_s) == ("alive", None)
    assert [(each.kind, each.recovered_after_s) for each in watch.events] == [("lost", 2.0), ("return", None)]


# -- runs


def _after(*reports: RunReport) -> Watch:
    """The watch after reports that came a second apart."""
    watch = Watch()
    for second, each in enumerate(reports):
        watch = heard_run(watch, each, float(second), 5000.0 + second)
    return watch


def test_rates_are_those_between_two_reports() -> None:
    run = _after(report(10.0, 100), report(12.0, 150, p99_s=0.0412345)).runs["r1"]
    (sample,) = run.samples.values()
    assert (sample.items_per_s, sample.p99_s, sample.unix_s) == (25.0, 0.0412, 5001.0)
    assert run.busy == {"a": 0.5, "b": 0.25}
    assert run.bytes_per_s == {("caller", "a"): 25000.0, ("a", "b"): 25000.0, ("b", "caller"): 25000.0}


def test_a_report_that_was_lost_makes_the_next_rate_a_mean() -> None:
    (sample,) = _after(report(1.0, 10), report(5.0, 50)).runs["r1"].samples.values()
    assert sample.items_per_s == 10.0


def test_the_last_report_of_a_run_that_comes_early_has_no_rate() -> None:
    run = _after(report(1.0, 10), report(2.0, 20), report(2.01, 21, has_ended=True)).runs["r1"]
    assert len(run.samples) == 1
    assert run.report.answered == 21
    assert not run.is_running(2.0)


def test_a_run_of_which_nothing_comes_is_not_running_and_is_forgotten_in_the_end() -> None:
    watch = _after(report(1.0, 10), report(2.0, 20))
    assert watch.runs["r1"].is_running(4.9)
    assert not watch.runs["r1"].is_running(6.0)
    assert list(_look(watch, 1.0 + FORGET_AFTER_S).runs) == ["r1"]
    assert list(_look(watch, 1.1 + FORGET_AFTER_S).runs) == []


def test_samples_and_runs_are_bounded() -> None:
    watch = Watch()
    for second in range(MOST_SAMPLES + 5):
        watch = heard_run(watch, report(float(second), second), second, 5000.0 + second)
    assert len(watch.runs["r1"].samples) == MOST_SAMPLES
    for number in range(MOST_RUNS):
        watch = heard_run(watch, replace(report(), run=f"run-{number}"), 1000.0 + number, 6000.0)
    assert len(watch.runs) == MOST_RUNS
    assert "r1" not in watch.runs


def test_totals_grow_by_what_is_new_and_survive_their_run() -> None:
    watch = _after(report(1.0, 10, failed=1), report(2.0, 30, failed=1, fault_counts={"ended": 1}, faults=(fault(),)))
    totals = _look(watch, FORGET_AFTER_S + 10).totals
    assert (totals.answered, totals.failed, totals.faults) == ({"m": 30}, {"m": 1}, {"ended": 1})
    assert sum(totals.latency["m"].counts) == 30
    assert totals.busy_s == {"a": 1.0, "b": 0.5}
    assert totals.sent_bytes["a", "b"] == 30000


def test_two_runs_of_a_model_add_up() -> None:
    watch = heard_run(_after(report(1.0, 10)), replace(report(1.0, 5), run="r2"), 1.0, 5001.0)
    assert watch.totals.answered == {"m": 15}


@pytest.mark.parametrize(
    ("made", "refusal"),
    [
        (replace(report(), run="../x"), "expected a name"),
        (report(latency=LatencyCounts((1, 2))), "expected 15 counts, got 2"),
    ],
)
def test_a_report_that_is_none_is_refused(made: RunReport, refusal: str) -> None:
    with pytest.raises(MultiedgeError, match=refusal):
        heard_run(Watch(), made, 0.0, 5000.0)
