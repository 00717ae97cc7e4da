"""Plans survive the way through JSON, and damaged ones are refused by field."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given

from multiedge.errors import PlanError
from multiedge.formats.fields import Field
from multiedge.formats.plan import plan_from_json, plan_or_none, plan_to_json
from multiedge.pipeline_cost import PipelineCost
from multiedge.plan import Baseline, Path, Runtime
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile
from multiedge.step_costs import StepCost, StepSize
from partitioners.throughput import Throughput
from tests.builders.refusals import refusal, with_one_value_changed


@pytest.fixture
def graph():
    return synthetic_graph(20, seed=1)


@pytest.fixture
def plan(graph):
    fleet = synthetic_fleet((2, 1), seed=3)
    return Throughput(replicate=True).plan(synthetic_profile(graph, fleet, seed=2), fleet)


def test_a_plan_comes_back_from_json_as_it_was(plan):
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan), allow_nan=False))) == plan


def test_the_executors_own_cost_comes_back(plan):
    own = PipelineCost(1e-4, 1e-10, 5e-5, 1e-10, 1e-4, 1.5)
    known = replace(plan.estimate, pipeline=own, expected_s=0.5, expected_latency_s=0.25)
    baseline = Baseline("a", 1.0, expected_s=1.5)
    expected = replace(plan, estimate=known, baseline=baseline)
    data = plan_to_json(expected)
    assert data["fps_expected"] == 2.0
    assert plan_from_json(json.loads(json.dumps(data))) == expected


def test_costs_of_steps_come_back(plan):
    steps = (StepCost(StepSize(1, 64), 0.25, 0.125, 0.2), StepCost(StepSize(16, 16), 0.5, 0.25, 0.4))
    with_steps = replace(plan, steps=steps)
    assert plan_from_json(json.loads(json.dumps(plan_to_json(with_steps), allow_nan=False))) == with_steps


def test_a_plan_with_several_paths_comes_back_from_json_as_it_was(plan):
    several = replace(plan, paths=(Path(tuple(range(len(plan.stages))), 2.5), Path((0, len(plan.stages) - 1), 0.5)))
    assert plan_from_json(json.loads(json.dumps(plan_to_json(several), allow_nan=False))) == several


def test_the_runtime_of_each_device_comes_back(plan):
    known = replace(plan, runtimes={"a": Runtime("openvino", "2026.4", "bfloat16"), "b": Runtime("litert", "", "float32")})
    assert plan_from_json(json.loads(json.dumps(plan_to_json(known)))) == known
    assert "runtimes" not in plan_to_json(plan)


def test_a_plan_of_an_earlier_release_has_no_paths(plan):
    data = plan_to_json(plan)
    del data["paths"]
    assert plan_from_json(data) == plan


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ({"stages": [1, 0], "items_per_s": 1.0}, r"paths\[0\].stages: expected numbers of stages, ascending"),
        ({"stages": [0, 99], "items_per_s": 1.0}, r"paths\[0\].stages\[1\]: expected a whole number from 0"),
        ({"stages": [0], "items_per_s": 0.0}, r"paths\[0\].items_per_s: expected a rate above 0"),
    ],
)
def test_a_damaged_path_is_refused_by_field(plan, path, expected):
    with pytest.raises(PlanError, match=expected):
        plan_from_json({**plan_to_json(plan), "paths": [path]})


def test_the_json_has_the_fields_that_tools_rely_on(plan):
    data = plan_to_json(plan)
    assert {"strategy", "objective", "value", "lower_bound", "gap", "solve_s", "stages"} <= set(data)
    fields = {"device", "first_node", "last_node", "compute_s", "transfer_s", "memory_bytes", "memory_limit_bytes"}
    assert all(fields <= set(stage) for stage in data["stages"])
    assert data["stages"][0]["first_node"] == 0
    assert data["stages"][-1]["last_node"] == 19


def test_what_is_unknown_is_null_and_never_infinite(plan):
    unknown = replace(plan, value=float("inf"), objective="energy", lower_bound=None)
    data = json.loads(json.dumps(plan_to_json(unknown), allow_nan=False))
    assert data["value"] is data["lower_bound"] is data["gap"] is None
    assert plan_from_json(data) == unknown


def test_a_plan_without_the_memory_of_devices_has_that_of_devices_with_one_stage(plan):
    data = plan_to_json(plan)
    del data["memory"]
    data["stages"].append({**data["stages"][-1], "replicas": []})
    twice, once = data["stages"][-1]["device"], data["stages"][0]["device"]
    found = plan_from_json(data).estimate.planned_bytes
    assert once != twice not in found
    assert found[once] == data["stages"][0]["memory_bytes"]


@pytest.mark.parametrize(("written", "limit_bytes"), [(None, None), (1 << 62, None), (1 << 20, 1 << 20)])
def test_no_limit_of_memory_is_null_and_was_a_number_once(plan, written, limit_bytes):
    first = replace(plan.estimate.stages[0], memory_limit_bytes=None)
    unlimited = replace(plan, estimate=replace(plan.estimate, stages=(first, *plan.estimate.stages[1:])))
    data = plan_to_json(unlimited)
    assert data["stages"][0]["memory_limit_bytes"] is None
    data["stages"][0]["memory_limit_bytes"] = written
    assert plan_from_json(data).estimate.stages[0].memory_limit_bytes == limit_bytes


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 7, r"my.json: expected a plan of version 1, got 7"),
        (("strategy",), 3, r"my.json: strategy: expected a text, got 3"),
        (("bottleneck_s",), "fast", r"my.json: bottleneck_s: expected a finite number, got 'fast'"),
        (("stages", 0, "nodes"), [[1]], r"my.json: stages\[0\].nodes\[0\]: expected a list of two"),
        (("transfers", 0), 1, r"my.json: transfers\[0\]: expected a mapping with 'source', got 1"),
        (("stages",), {}, r"my.json: stages: expected a list, got an empty mapping"),
        (("transfers", 0, "target"), 9, r"my.json: transfers\[0\].target: expected a whole number from -1 to"),
        (("stages", 0, "nodes"), [], r"my.json: stages\[0\].nodes: expected a list of at least 1 entry"),
    ],
)
def test_a_damaged_plan_is_refused_by_field(plan, path, value, message):
    data = plan_to_json(plan)
    spot = data
    for key in path[:-1]:
        spot = spot[key]
    spot[path[-1]] = value
    with pytest.raises(PlanError, match=message):
        plan_from_json(data, "my.json")


def test_a_missing_field_is_named(plan):
    data = plan_to_json(plan)
    del data["stages"][0]["device"]
    with pytest.raises(PlanError, match=r"stages\[0\].device: missing"):
        plan_from_json(data)


@pytest.mark.parametrize("nothing", [{}, {"plan": None}, {"plan": {}}])
def test_a_file_without_a_plan_has_none(nothing):
    assert plan_or_none(Field(nothing, "my.json")["plan"]) is None


def test_names_that_a_plan_does_not_hold_are_null(plan):
    data = plan_to_json(replace(plan, model="", stage_ends=()))
    assert {stage["first_node_name"] for stage in data["stages"]} == {None}
    assert plan_from_json(data).stage_ends == ()


def test_any_damaged_value_is_read_or_refused_in_one_line(plan):
    @given(with_one_value_changed(json.loads(json.dumps(plan_to_json(plan)))))
    def check(damaged):
        message = refusal(lambda: plan_from_json(damaged, "my.json"), PlanError)
        assert message is None or (message.startswith("my.json: ") and "\n" not in message)

    check()
