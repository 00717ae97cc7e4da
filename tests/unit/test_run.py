"""The steps of the flow: costs, a strategy and its options, plans and runs, without a runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from multiedge import run
from multiedge.errors import ConfigError, PlanError, ProfileError
from multiedge.fleet import Device, Fleet, Link
from multiedge.formats.profile import save_profile
from multiedge.onnx_io import read_graph
from multiedge.plan import Stage
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile
from multiedge.run import (
    choose_strategy,
    expected_plan,
    graph_of,
    node_costs,
    partition,
    plan_by_hand,
    plan_cuts,
    plan_model,
    run_plan,
)
from tests.builders.onnx_models import layers, saved
from tests.builders.pipelines import item, synthetic_chain
from tests.builders.pipelines import synthetic_fleet as stage_fleet

FLEET = synthetic_fleet((1, 1, 1), seed=3)
GRAPH = synthetic_graph(30, seed=1)
PROFILE = synthetic_profile(GRAPH, FLEET, seed=2)


@pytest.mark.parametrize(
    ("strategy", "objective", "chosen"),
    [
        (None, None, ("throughput", {"seed": 1})),
        (None, "latency", ("latency", {"seed": 1})),
        ("latency", None, ("latency", {"seed": 1})),
        ("latency", "latency", ("latency", {"seed": 1})),
        ("random", "latency", ("random", {"seed": 1, "objective": "latency"})),
    ],
)
def test_an_objective_picks_a_strategy_or_is_passed_to_the_named_one(monkeypatch, strategy, objective, chosen) -> None:
    monkeypatch.setattr(run, "require_options", lambda registry, name, options: None)
    assert choose_strategy(strategy, objective, {"seed": 1}) == chosen


@pytest.mark.parametrize(
    ("strategy", "objective", "options", "message"),
    [
        ("latency", "throughput", {}, "objective 'throughput': strategy 'latency' has one objective only; use strategy"),
        ("latncy", None, {}, "unknown partitioner 'latncy'; did you mean 'latency'"),
        ("single", None, {"sed": 1}, "partitioner 'single' has no option 'sed'"),
        (
            None,
            "latency",
            {"replicate": True},
            "partitioner 'latency' has no option 'replicate'; partitioners that have it",
        ),
    ],
)
def test_what_no_strategy_can_do_is_refused_before_anything_is_read(strategy, objective, options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_strategy(strategy, objective, options)


def test_costs_come_from_the_file_if_it_fits(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    save_profile(PROFILE, path)
    assert node_costs(GRAPH, FLEET, path).seconds_on(FLEET.names[0]).tolist() == PROFILE.seconds_on(FLEET.names[0]).tolist()
    with pytest.raises(ProfileError):
        node_costs(synthetic_graph(31, seed=4), FLEET, path)


def test_without_a_file_costs_are_counted(tmp_path: Path) -> None:
    assert set(node_costs(GRAPH, FLEET).seconds) == set(FLEET.names)


def test_cuts_give_parts_on_devices_of_their_own() -> None:
    plan = plan_cuts(GRAPH, (10, 20))
    assert [(stage.device, stage.nodes[0], stage.nodes[-1]) for stage in plan.stages] == [
        ("part_1", 0, 9),
        ("part_2", 10, 19),
        ("part_3", 20, 29),
    ]
    assert plan.strategy == "split"
    assert plan.lower_bound is None


def test_a_plan_by_hand_lists_everything_wrong() -> None:
    with pytest.raises(PlanError) as caught:
        plan_by_hand(PROFILE, FLEET, [Stage.span(FLEET.names[0], 0, 10), Stage.span("absent", 12, 30)])
    assert len(caught.value.violations) >= 2


def test_options_of_a_strategy_are_checked_by_name_and_type() -> None:
    assert plan_model(PROFILE, FLEET, "throughput", replicate=False).strategy == "throughput"
    with pytest.raises(ConfigError, match="partitioner 'throughput', option 'replicate': expected true or false, got 1"):
        plan_model(PROFILE, FLEET, "throughput", replicate=1)


def test_a_run_gives_answers_in_order_and_figures(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, stages=2)
    counts: list[int] = []
    answers, result = run_plan(
        manifest, stage_fleet(2), [item(n) for n in range(5)], executor="inline", progress=counts.append, warmup_items=1
    )
    assert [float(answer.require()["t2"][0]) for answer in answers] == [n + 2.0 for n in range(5)]
    assert sum(counts) == 5
    assert result.name == tmp_path.name
    assert result.configuration == {"executor": "inline", "scenario": "offline"}
    assert result.results["completed"].value == 5


@pytest.mark.parametrize("kept", ["profile", "model"])
def test_the_graph_of_a_plan_comes_from_its_folder_or_from_the_model(tmp_path: Path, kept: str) -> None:
    model = saved(layers(4, 8), tmp_path / "model.onnx")
    manifest = partition(model, FLEET, directory=tmp_path / "parts")
    if kept == "profile":
        model.unlink()
    else:
        manifest = replace(manifest, profile="")
    graph = graph_of(manifest)
    assert graph is not None
    whole = read_graph(saved(layers(4, 8), tmp_path / "again.onnx"))
    assert [node.name for node in graph.nodes] == [node.name for node in whole.nodes]


@pytest.mark.parametrize("content", [layers(5, 8).SerializeToString(), b"not a model", None])
def test_another_model_in_the_file_is_not_drawn(tmp_path: Path, content: bytes | None) -> None:
    model = saved(layers(4, 8), tmp_path / "model.onnx")
    manifest = replace(partition(model, FLEET, directory=tmp_path / "parts"), profile="")
    model.unlink()
    if content is not None:
        model.write_bytes(content)
    assert graph_of(manifest) is None


def test_a_run_refuses_options_of_another_executor_and_rates_of_another_scenario(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, stages=1)
    with pytest.raises(ConfigError, match="executor 'inline' has no option 'depth'"):
        run_plan(manifest, stage_fleet(1), [item(1)], executor="inline", depth=3)
    with pytest.raises(ConfigError, match="scenario 'offline' takes no rate"):
        run_plan(manifest, stage_fleet(1), [item(1)], executor="inline", rate_per_s=3)


def test_the_time_of_a_strategy_that_does_not_measure_it_is_measured(monkeypatch) -> None:
    class Plugin:
        def plan(self, profile, fleet):
            return plan_by_hand(profile, fleet, [Stage.span(fleet.names[0], 0, len(profile.graph.nodes))])

    monkeypatch.setattr(run, "build", lambda registry, name, options: Plugin())
    assert plan_model(PROFILE, FLEET, "plugin").solve_s > 0


@pytest.mark.parametrize("has_profile", [True, False])
def test_a_prediction_counts_transfers_that_go_by_way_of_the_caller_if_their_sizes_are_known(tmp_path, has_profile) -> None:
    graph = read_graph(saved(layers(4, 64, name="wide"), tmp_path / "wide.onnx"))
    devices = tuple(Device(name, flops_per_s=1e12) for name in ("a", "b", "home"))
    fleet = Fleet(
        devices, {("a", "b"): Link(1e9, 0.0), ("a", "home"): Link(1e3, 0.0), ("b", "home"): Link(1e3, 0.0)}, source="home"
    )
    profile = run.profile_model(graph, fleet, reference="declared")
    half, end = len(graph.nodes) // 2, len(graph.nodes)
    plan = plan_by_hand(profile, fleet, [Stage.span("a", 0, half), Stage.span("b", half, end)])
    manifest = run.write_parts(graph, plan, tmp_path / "parts", profile=profile if has_profile else None)
    assert expected_plan(manifest, fleet, ()) is manifest.plan
    by_caller = expected_plan(manifest, fleet, [(0, 1)])
    assert by_caller.is_estimated is has_profile
    if has_profile:
        assert by_caller.estimate.bottleneck_s == pytest.approx(64 * 4 / 1e3)
        assert by_caller.estimate.network_bytes == manifest.plan.estimate.network_bytes + 64 * 4
