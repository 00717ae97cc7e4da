"""`multiedge simulate` from words on the command line to what it prints, with the model and its costs faked."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from multiedge.cli import build_parser
from multiedge.commands import simulate as command
from multiedge.errors import ConfigError
from multiedge.graph import Graph
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile
from multiedge.report.results import make_result, save_results
from multiedge.run import plan_model
from multiedge.simulation import simulate as library
from multiedge.simulation.work import ItemWork

FLEET = synthetic_fleet((1, 1, 1), seed=3)
GRAPH = synthetic_graph(30, seed=1)
PROFILE = synthetic_profile(GRAPH, FLEET, seed=2)
PLAN = plan_model(PROFILE, FLEET, "throughput")


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "read_fleet", lambda path: FLEET)
    monkeypatch.setattr(command, "read_graph", lambda path, shapes, states=(): GRAPH)
    monkeypatch.setattr(command._options, "read_sized", lambda args, profile=None: GRAPH)
    monkeypatch.setattr(command, "node_costs", lambda graph, fleet, path, reference: PROFILE)


def simulate(*words: str) -> int:
    return command.run(build_parser("simulate").parse_args(["simulate", *words, "--devices", "devices.yaml"]))


def trace(folder: Path) -> str:
    """The first device in use leaves in the middle of the run."""
    path = folder / "trace.yaml"
    path.write_text(f"[{{at_s: {20 * PLAN.estimate.bottleneck_s}, device: {PLAN.stages[0].device}, event: leave}}]")
    return str(path)


def test_without_a_trace_the_rate_is_the_plan_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("model.onnx", "--json", "--warmup", "50") == 0
    found = json.loads(capsys.readouterr().out)
    figures = found["runs"]["static"]["figures"]
    assert figures["fps"]["value"] == pytest.approx(1 / found["bottleneck_s"], rel=1e-6)
    assert figures["failed"]["value"] == 0


def test_static_fails_where_adaptive_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("model.onnx", "--trace", trace(tmp_path), "--adaptive", "--json") == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert runs["static"]["errors"]
    assert runs["adaptive"]["errors"] == []
    assert runs["adaptive"]["replans"] == 1
    assert runs["adaptive"]["loaded_bytes"] > 0
    assert runs["adaptive"]["faults"][0]["recovered_s"] is not None


def test_the_table_tells_what_happened(tmp_path: Path) -> None:
    args = build_parser("simulate").parse_args(["simulate", "m", "--devices", "d"])
    plan, profile = command.planned(args, FLEET)
    played = command.read_trace(trace(tmp_path), FLEET)
    console = Console(width=120, record=True, file=io.StringIO())
    command.show(plan, played, {"static": command.simulate(plan, profile, FLEET, played)}, console)
    text = console.export_text()
    assert f"static: leave {PLAN.stages[0].device}" in text
    assert "left and did not return" in text


def test_a_folder_brings_its_own_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hand_made = plan_model(PROFILE, FLEET, "equal_flops")
    manifest = SimpleNamespace(model="model.onnx", profile="", input_shapes={}, state_pairs=(), plan=hand_made)
    monkeypatch.setattr(command, "read_runnable", lambda path: manifest)
    simulate(str(tmp_path), "--json", "--items", "3")
    assert json.loads(capsys.readouterr().out)["strategy"] == "equal_flops"


def results_of(work: ItemWork, folder: Path, graph: Graph = GRAPH) -> tuple[str, list[float]]:
    """A file of results of three items that come one by one, and their latencies."""
    run = library.simulate(PLAN, PROFILE, FLEET, load=library.Load(3, in_flight=1), items=library.Items(work))
    path = save_results(make_result("run", run, plan=PLAN, graph=graph), folder / "run.json")
    return str(path), [item.latency_s for item in run.items]


def test_items_take_what_those_of_a_run_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heavy = ItemWork((0,) * len(GRAPH.nodes), np.array([[1.0], [5.0], [0.5]]), byte_shares=np.ones((3, 1)))
    path, latencies = results_of(heavy, tmp_path)
    assert simulate("model.onnx", "--items", "3", "--rate", "0.001", "--json", "--measured", path) == 0
    figures = json.loads(capsys.readouterr().out)["runs"]["static"]["figures"]
    assert figures["latency_mean_s"]["value"] == pytest.approx(sum(latencies) / 3, rel=1e-5)


def test_a_run_on_other_devices_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = results_of(ItemWork((0,) * len(GRAPH.nodes), np.ones((1, 1))), tmp_path)
    used = PLAN.stages[0].device
    rest = {name: seconds for name, seconds in PROFILE.seconds.items() if name != used}
    with pytest.raises(ConfigError, match=f"--measured: .* has times of '{used}', which is no device of this fleet"):
        command.measured_work(path, replace(PROFILE, seconds=rest), None)


def test_a_run_of_another_model_is_refused(tmp_path: Path) -> None:
    alike = ItemWork((0,) * len(GRAPH.nodes), np.ones((1, 1)))
    path, _ = results_of(alike, tmp_path, synthetic_graph(5, seed=1))
    with pytest.raises(ConfigError, match=r"--measured: .* is of a run of the model .*; run a plan of this model"):
        simulate("model.onnx", "--measured", path)


@pytest.mark.parametrize("rate", ["-1", "0", "nan", "inf"])
def test_a_rate_that_is_no_rate_is_an_error(rate: str) -> None:
    with pytest.raises(ConfigError, match=f"--rate: expected items per second, more than zero, got {rate}"):
        simulate("model.onnx", "--rate", rate)


def test_random_arrivals_are_those_of_their_seed(capsys: pytest.CaptureFixture[str]) -> None:
    means = []
    for seed in ("1", "1", "2"):
        assert simulate("model.onnx", "--json", "--rate", "1", "--arrivals", "poisson", "--seed", seed) == 0
        means.append(json.loads(capsys.readouterr().out)["runs"]["static"]["figures"]["latency_mean_s"]["value"])
    assert means[0] == means[1] != means[2]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        pytest.param(("--arrivals", "poisson"), "--arrivals: has no effect without --rate", id="no rate"),
        pytest.param(
            ("--rate", "1", "--seed", "3"), "--seed: has no effect without --arrivals poisson, --measured or a", id="no chance"
        ),
    ],
)
def test_an_option_of_the_load_that_has_no_effect_is_refused(options: tuple[str, ...], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        simulate("model.onnx", *options)


def test_a_percentile_of_too_few_items_says_how_many_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("model.onnx", "--items", "100") == 0
    assert "n<662" in capsys.readouterr().out
