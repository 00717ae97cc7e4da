"""The plan that ran, with its records, from a file of results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from multiedge.errors import ConfigError
from multiedge.measurements import Event, Item, Measurements
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile
from multiedge.report.measured import load_measured_plan, measured_plan
from multiedge.report.results import make_result, save_results
from multiedge.run import plan_model

FLEET = synthetic_fleet((1, 1), seed=3)
GRAPH = synthetic_graph(6, seed=1)
PLAN = plan_model(synthetic_profile(GRAPH, FLEET, seed=2), FLEET, "throughput")
RUN = Measurements((Item(0, 0.0, 0.0, 1.0),), (Event("compute", 0, 0, FLEET.names[0], 0.0, 1.0),), 0.0, 1.0)
RESULT = make_result("run", RUN, plan=PLAN, graph=GRAPH)


def test_the_plan_the_model_and_the_records_are_in_the_file(tmp_path: Path) -> None:
    save_results(RESULT, tmp_path / "run.json")
    found = load_measured_plan(tmp_path / "run.json")
    assert found.plan.stages == PLAN.stages
    assert [node.name for node in found.graph.nodes] == [node.name for node in GRAPH.nodes]
    assert found.run.events == RUN.events


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plan": None}, "run.json: expected a run of a plan, got results without a plan"),
        ({"graph": None}, "results without its model; write them with `multiedge run -o`"),
        ({"measurements": None}, "results without events"),
        (
            {"measurements": replace(RUN, events=(Event("replan", -1, 0, "", 0.0, 0.1),))},
            "the plan changed during the run; run it again with --no-replan",
        ),
    ],
)
def test_what_says_nothing_of_one_plan_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        measured_plan(replace(RESULT, **changes), "run.json")
