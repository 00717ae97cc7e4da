"""A plan folder keeps what it was planned for: shapes, costs and options need not be given again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from multiedge.cli import main
from multiedge.commands.run import failures
from multiedge.onnx_io import read_graph, read_manifest, write_parts
from multiedge.onnx_io.manifest import PROFILE_NAME, read_profile
from multiedge.run import plan_cuts
from tests.builders.onnx_models import layers, saved
from tests.builders.open_models import OPEN_MODELS

DEVICES = "devices: [{name: a, speed: 1, bandwidth: 100Mbps}, {name: b, speed: 0.5, bandwidth: 100Mbps}]\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan for lines of text of 200 pixels, whose costs are ten times those that are counted."""
    monkeypatch.chdir(tmp_path)
    Path("devices.yaml").write_text(DEVICES)
    saved(OPEN_MODELS["ocr"].make(), tmp_path / "model.onnx")
    model = [str(tmp_path / "model.onnx"), "--devices", "devices.yaml", "--shape", "x=1,3,48,200"]
    assert main(["profile", *model, "-o", "costs.json"]) == 0
    costs = json.loads(Path("costs.json").read_text())
    for node in costs["nodes"]:
        node["seconds"] = {device: 10 * seconds for device, seconds in node["seconds"].items()}
    Path("costs.json").write_text(json.dumps(costs))
    options = ("--strategy", "random", "--option", "seed=3")
    assert main(["plan", *model, "--profile", "costs.json", *options, "-o", "parts"]) == 0
    return tmp_path / "parts"


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_shapes_and_options_are_in_plan_json(folder: Path) -> None:
    plan = read_manifest(folder).plan
    assert plan is not None
    assert plan.input_shapes == {"x": (1, 3, 48, 200)}
    assert plan.options == {"seed": 3}


def test_the_parts_are_checked_with_the_plans_shapes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "check", str(folder))["passed"]


def test_random_items_have_the_plans_shapes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = answer(capsys, "run", str(folder), "--random", "3", "--executor", "inline")
    assert (figures["completed"], figures["failed"], figures["error_counts"]) == (3, 0, {})


def test_a_simulation_uses_the_costs_of_the_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("simulate", str(folder), "--devices", "devices.yaml", "--items", "200", "--warmup", "50")
    simulated = answer(capsys, *words)
    plan = read_manifest(folder).plan
    assert plan is not None
    assert simulated["runs"]["static"]["figures"]["fps"]["value"] == pytest.approx(plan.estimate.fps_bound, rel=1e-3)


def test_a_changed_profile_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / PROFILE_NAME).write_text("{}")
    assert main(["check", str(folder)]) != 0
    assert re.search(f"'{PROFILE_NAME}' has changed since the plan was written", capsys.readouterr().err)


def test_a_folder_without_a_profile_keeps_none_of_an_earlier_plan(folder: Path) -> None:
    assert read_profile(read_manifest(folder)) is not None
    graph = read_graph(saved(layers(4), folder.parent / "other.onnx"))
    assert read_profile(write_parts(graph, plan_cuts(graph, [2]), folder)) is None
    assert not (folder / PROFILE_NAME).exists()


def test_an_error_that_repeats_is_shown_once_with_its_number() -> None:
    assert failures({"items": 30, "error_counts": {"no": 30}}) == ["30 of 30 items failed: no"]
    many = {f"error {number}": 1 for number in range(25)}
    assert failures({"items": 30, "error_counts": many})[-1] == "and 5 more errors"
