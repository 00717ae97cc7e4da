"""What items of a run took of each step, and files that say so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from multiedge.errors import ConfigError
from multiedge.fleet import Fleet
from multiedge.measurements import Event, Item, Measurements
from multiedge.onnx_io import read_graph
from multiedge.plan import Plan
from multiedge.report.measured import MeasuredPlan
from multiedge.report.results import make_result, save_results
from multiedge.workflows.optimiser.measured import read_shares, shares_of
from multiedge.workflows.optimiser.written import step_stages
from tests.builders.composed import composed
from tests.builders.fleets import fleet_of
from tests.builders.plans import direct_plan
from tests.builders.profiles import profile_of

FLEET: Fleet = fleet_of("a", "b")


def event(
    item: int, stage: int, seconds: float, device: str = "", start_s: float | None = None, kind: str = "compute"
) -> Event:
    start_s = 10.0 * item + stage if start_s is None else start_s
    return Event(kind, item, stage, device or "ab"[stage], start_s, start_s + seconds)


def run_of(*events: Event, **values) -> Measurements:
    """A run of these events, whose items were answered."""
    numbers = sorted({each.item for each in events})
    items = tuple(Item(number, 10.0 * number, 10.0 * number, 10.0 * number + 9.0) for number in numbers)
    return Measurements(items, events, 0.0, 100.0, **values)


RUN = run_of(event(0, 0, 1.0), event(0, 1, 0.0, kind="skip"), event(1, 0, 3.0), event(1, 1, 2.0), event(2, 0, 2.0))


def cascade(folder: Path, *, as_one: bool = False) -> MeasuredPlan:
    """A stage for each step of the cascade, or one for both; small runs for all items, and large for the second of three."""
    graph = read_graph(composed(folder))
    profile = profile_of(graph, {"a": 1.0, "b": 1.0})
    stages = step_stages(graph, ["small", "large"], [("a",), ("b",)])
    if as_one:
        stages = (replace(stages[0], nodes=tuple(range(len(graph.nodes)))),)
    plan: Plan = direct_plan(profile, FLEET, *stages)
    return MeasuredPlan(plan, graph, run_of(event(0, 0, 1.0)) if as_one else RUN)


def test_an_item_takes_its_part_of_the_mean_time_of_those_that_a_step_was_computed_for(tmp_path: Path) -> None:
    shares = shares_of(cascade(tmp_path), "run.json")
    assert {name: values.tolist() for name, values in shares.items()} == {"small": [0.5, 1.5, 1.0], "large": [0.0, 1.0, 0.0]}


def test_a_slower_replica_makes_no_item_heavier(tmp_path: Path) -> None:
    run = run_of(event(0, 0, 1.0), event(1, 0, 8.0, device="b"), event(2, 0, 3.0))
    shares = shares_of(replace(cascade(tmp_path), run=run), "run.json")
    assert shares["small"].tolist() == [0.5, 1.0, 1.5]


def test_items_whose_events_were_left_out_are_not_counted(tmp_path: Path) -> None:
    long = replace(RUN, left_out_events=4)  # the last kept event begins before the last item was answered
    assert len(shares_of(replace(cascade(tmp_path), run=long), "run.json")["small"]) == 2


def test_results_of_a_run_are_read_and_so_are_shares_as_they_are(tmp_path: Path) -> None:
    measured = cascade(tmp_path)
    save_results(make_result("r", measured.run, plan=measured.plan, graph=measured.graph), tmp_path / "run.json")
    assert read_shares(tmp_path / "run.json")["small"].tolist() == [0.5, 1.5, 1.0]
    (tmp_path / "shares.json").write_text(json.dumps({"steps": {"small": [1, 1], "large": [0, 1]}}))
    assert read_shares(tmp_path / "shares.json")["large"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (run_of(event(0, 0, 1.0, start_s=1.0), event(1, 0, 1.0, start_s=1.0)), "computed together.* --scenario singlestream"),
        (Measurements((), (), 0.0, 1.0), "no item was answered"),
    ],
)
def test_a_run_that_says_nothing_of_single_items_is_refused(run: Measurements, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^run.json: .*{message}"):
        shares_of(replace(cascade(tmp_path), run=run), "run.json")


def test_steps_of_one_stage_that_other_items_pass_cannot_be_told_apart(tmp_path: Path) -> None:
    expected = (
        "a stage on 'a' has the steps small and large, which are not computed for the same items.* `multiedge optimise -o`"
    )
    with pytest.raises(ConfigError, match=expected):
        shares_of(cascade(tmp_path, as_one=True), "run.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"items": 3}', "expected the results of `multiedge run -o`, or shares of items under 'steps'"),
        ('{"schema": "other"}', "expected a results file of schema 'multiedge-results/1', got 'other'"),
        ('{"steps": {"small": [1], "large": [1, 0]}}', "steps: expected as many items for each step"),
        ('{"steps": {"small": [-1]}}', r"steps.small\[0\]: expected a finite number from 0"),
    ],
)
def test_another_file_is_refused_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(ConfigError, match=f"other.json: {message}"):
        read_shares(tmp_path / "other.json")
