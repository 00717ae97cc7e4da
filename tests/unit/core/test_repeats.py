"""Test cases that ran several times."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from core.storymanager.rank.repeats import combined, read_interval
from core.storymanager.rank.table import table_of
from core.storymanager.visualization.page import write_page
from core.storymanager.visualization.picture import draw
from core.storymanager.visualization.visualization import print_table
from core.testcasecontroller.algorithm.algorithm import Algorithm
from core.testcasecontroller.testcase.testcase import Outcome
from multiedge.report.results import make_result, save_results
from tests.builders.reports import steady_run

MODULE: Any = SimpleNamespace(type="basemodel", name="BaseModel", hyperparameters={})
A, B, C = (Algorithm(name, "multiedgeinference", "", {"basemodel": MODULE}) for name in "abc")


def rounds(**values: list[float]) -> list[list[Outcome]]:
    """Three rounds of a, b and c with these throughputs."""
    each = {"a": A, "b": B, "c": C}
    return [
        [Outcome(each[name], {"fps": fps[turn], "note": "x"}, f"time {turn}", f"w/{turn}") for name, fps in values.items()]
        for turn in range(3)
    ]


def test_a_number_is_its_median_with_an_interval_and_a_text_stays() -> None:
    (outcome,) = combined(rounds(a=[9.0, 11.0, 10.0]))
    assert outcome.metrics["fps"] == 10.0
    low, high = read_interval(outcome.metrics["fps_interval"]) or (0.0, 0.0)
    assert (round(low, 2), round(high, 2)) == (7.77, 12.79)
    assert (outcome.metrics["note"], outcome.url) == ("x", "w/2")
    assert "note_interval" not in outcome.metrics


def test_texts_that_differ_between_the_rounds_are_all_there() -> None:
    verdicts = ["VALID", "DEGRADED", "VALID"]
    each = [[Outcome(A, {"verdict": verdict}, f"time {turn}", f"w/{turn}")] for turn, verdict in enumerate(verdicts)]
    assert combined(each)[0].metrics == {"verdict": "VALID / DEGRADED"}


def test_a_number_that_one_round_lacks_is_that_of_the_last() -> None:
    (outcome,) = combined(rounds(a=[9.0, float("nan"), 10.0]))
    assert (outcome.metrics["fps"], "fps_interval" in outcome.metrics) == (10.0, False)


def test_rows_that_the_intervals_do_not_separate_share_a_rank(capsys: Any) -> None:
    table = table_of(combined(rounds(a=[9.0, 11.0, 10.0], b=[8.0, 11.0, 9.0], c=[1.0, 1.2, 1.1]))).sorted([("fps", False)])
    assert [line[:2] for line in table.lines()] == [["1", "a"], ["1", "b"], ["3", "c"]]
    assert table.sorted([("fps", True)]).ranks == [1, 2, 2]
    print_table(table, [])
    assert "10.00 ±2.79" in capsys.readouterr().out


def test_rows_of_equal_accuracy_are_ranked_by_the_next_metric() -> None:
    outcomes = combined(rounds(a=[9.0, 10.0, 11.0], b=[5.0, 5.1, 5.2], c=[1.0, 1.1, 1.2]))
    for outcome, accuracy in zip(outcomes, (90.0, 90.0, "meaningless: random weights"), strict=True):
        outcome.metrics.update({"accuracy": accuracy, "accuracy_interval": f"{accuracy} to {accuracy}"})
    table = table_of(outcomes).sorted([("accuracy", False), ("fps", False)])
    assert [line[:2] for line in table.lines()] == [["1", "a"], ["2", "b"], ["3", "c"]]


def test_a_row_that_another_beats_does_not_come_before_one_that_none_beats() -> None:
    table = table_of(combined(rounds(a=[10.0, 10.2, 10.1], b=[9.0, 9.2, 9.1], c=[5.0, 15.0, 8.0]))).sorted([("fps", False)])
    assert [line[:2] for line in table.lines()] == [["1", "a"], ["1", "c"], ["2", "b"]]


def test_a_picture_draws_intervals_as_lines_on_bars(tmp_path: Any) -> None:
    table = table_of(combined(rounds(a=[9.0, 10.0, 11.0], b=[8.0, 9.0, 11.0])))
    draw(table, str(tmp_path / "rank.svg"))
    drawing = (tmp_path / "rank.svg").read_text()
    assert drawing.count("<line ") == 2
    assert "interval" not in drawing


def test_the_report_page_has_all_rounds_of_a_test_case_as_one_run(tmp_path: Any) -> None:
    outcomes = []
    for number, seconds in enumerate((0.10, 0.12, 0.20)):
        folder = tmp_path / "cases" / str(number)
        result = make_result("round", steady_run(seconds=seconds, seed=1))
        save_results(result, folder / "results.json")
        outcomes.append([Outcome(A, {"fps": result.results["fps"].value}, f"time {number}", str(folder))])
    (outcome,) = combined(outcomes)
    assert outcome.earlier == tuple(each.url for (each,) in outcomes[:2])
    write_page("job", [outcome], [], str(tmp_path))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "1 run" in page
    assert ">95 % interval</th>" in page


def test_what_is_no_interval_is_none() -> None:
    assert [read_interval(text) for text in (None, "", "NaN", "1.5")] == [None] * 4
