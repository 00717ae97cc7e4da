"""The report page of a job: what it takes from the folders of test cases."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from core.storymanager.rank.repeats import combined
from core.storymanager.visualization.page import PARTS, write_page
from core.testcasecontroller.algorithm.algorithm import Algorithm
from core.testcasecontroller.testcase.testcase import Outcome
from multiedge.fleet import Device, Fleet
from multiedge.report.results import make_result, save_results
from multiedge.run import partition
from tests.builders.onnx_models import layers, saved
from tests.builders.reports import steady_run

MODULE: Any = SimpleNamespace(type="basemodel", name="BaseModel", hyperparameters={})
ALGORITHM = Algorithm("cut", "multiedgeinference", "", {"basemodel": MODULE})
FLEET = Fleet((Device("phone", speed=0.5), Device("tablet", speed=1.0)), name="pair")


def page(folder: Path, *outcomes: Outcome) -> str:
    write_page("job", combined([[outcome] for outcome in outcomes]), [], str(folder))
    return (folder / "report.html").read_text(encoding="utf-8")


def outcome(url: Path, **metrics: Any) -> Outcome:
    return Outcome(ALGORITHM, metrics, "now", str(url))


def test_a_test_case_that_saved_nothing_shows_its_plan_and_its_model_but_no_verdict(tmp_path: Path) -> None:
    partition(saved(layers(4, 8), tmp_path / "model.onnx"), FLEET, directory=tmp_path / "case" / PARTS, strategy="single")
    text = page(tmp_path, outcome(tmp_path / "case", accuracy=75.0, stages="phone > tablet"))
    assert "The model, coloured by device" in text
    assert "tablet: 4 nodes" in text
    assert "<dd>phone &gt; tablet</dd>" in text
    assert "not checked</span>" in text
    assert "VALID</span>" not in text
    assert "Predicted and measured" not in text


def test_rounds_that_saved_their_results_are_shown_as_medians(tmp_path: Path) -> None:
    outcomes = []
    for number, busy_s in enumerate((0.1, 0.2, 0.11)):
        save_results(make_result("any", steady_run(seconds=busy_s, seed=number)), tmp_path / str(number) / "results.json")
        outcomes.append(outcome(tmp_path / str(number), accuracy=75.0))
    text = page(tmp_path, *outcomes)
    assert "95 % interval</th>" in text
    assert ">9." in text.split('data-label="fps items/s ↑"')[1][:60]


def test_a_metric_of_the_job_has_its_interval_where_nothing_was_saved(tmp_path: Path) -> None:
    text = page(tmp_path, *(outcome(tmp_path / str(n), fps=10.0 + n) for n in range(3)))
    assert '<span class="unit">±' in text
