"""Every command with models whose dimensions are open: the figures are those with --shape, or one line has it to add."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import onnx
import pytest

from multiedge.cli import main
from multiedge.errors import UnknownSizeError
from multiedge.onnx_io import read_graph, read_runnable
from tests.builders.onnx_models import saved
from tests.builders.open_models import OPEN_MODELS, OpenModel, Shapes

DEVICES = "devices: [{name: a, speed: 1, bandwidth: 100Mbps}, {name: b, speed: 0.5, bandwidth: 100Mbps}]\n"
COMMANDS = {
    "inspect": ("inspect", "--json"),
    "profile": ("profile", "--json"),
    "plan": ("plan", "--json", "--devices", "devices.yaml"),
    "compare": ("compare", "--json", "--devices", "devices.yaml", "--strategies", "throughput,latency"),
    "simulate": ("simulate", "--json", "--devices", "devices.yaml", "--items", "10"),
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("devices.yaml").write_text(DEVICES)
    return tmp_path / "model.onnx"


def options_of(shapes: Shapes) -> list[str]:
    return [word for name, shape in shapes.items() for word in ("--shape", f"{name}={','.join(map(str, shape))}")]


def run(path: Path, command: str, *words: str) -> int:
    name, *options = COMMANDS[command]
    return main([name, str(path), *options, *words])


def answer(capsys: pytest.CaptureFixture[str], path: Path, command: str, *words: str) -> Any:
    assert run(path, command, *words) == 0
    return without(json.loads(capsys.readouterr().out))


def without(data: Any) -> Any:
    """The data without what differs from run to run, and without who gave the batch."""
    if isinstance(data, dict):
        return {key: without(value) for key, value in data.items() if key not in ("solve_s", "free_batch", "seconds")}
    return [without(value) for value in data] if isinstance(data, list) else data


def models(**wanted: bool) -> list[Any]:
    def fits(model: OpenModel) -> bool:
        return all(bool(vars(model)[key]) == value for key, value in wanted.items())

    return [pytest.param(model, id=name) for name, model in OPEN_MODELS.items() if fits(model)]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("model", models(shapes=True))
def test_open_sizes_stop_a_command_with_the_shapes_to_add(
    model: OpenModel, command: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(model.make(), path)
    assert run(path, command) != 0
    captured = capsys.readouterr()
    line = json.loads(captured.out)["needs"] if command == "inspect" else captured.err.strip()
    assert "\n" not in line
    options = shlex.split(re.search(r"add (--shape .*) \(with", line)[1])  # type: ignore[index]
    assert {word.partition("=")[0] for word in options if "=" in word} <= set(model.shapes)
    assert run(path, command, *options) == 0


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("model", models(batch=True))
def test_an_open_batch_gives_the_figures_of_a_batch_of_one(
    model: OpenModel, command: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(model.make(), path)
    assert answer(capsys, path, command) == answer(capsys, path, command, *options_of(model.whole))


@pytest.mark.parametrize("command", COMMANDS)
def test_an_open_batch_is_reported_in_one_line(command: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(OPEN_MODELS["batch"].make(), path)
    assert run(path, command) == 0
    assert json.loads(capsys.readouterr().out)["free_batch"] == ["x"]
    name, _, *words = COMMANDS[command]
    assert main([name, str(path), *words]) == 0
    assert capsys.readouterr().out.count("batch: open in the model, taken as 1 (input x)") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_sizes_that_depend_on_the_data_are_measured_where_the_user_allows_it(
    command: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(OPEN_MODELS["detector"].make(), path)
    assert run(path, command) != 0
    captured = capsys.readouterr()
    assert "depends on the data; add --measure-shapes" in captured.out + captured.err
    assert run(path, command, "--measure-shapes") == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_sizes_of_one_run_are_reported_in_one_line(command: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(OPEN_MODELS["detector"].make(), path)
    assert run(path, command, "--measure-shapes") == 0
    assert json.loads(capsys.readouterr().out)["measured_sizes"]
    name, _, *words = COMMANDS[command]
    assert main([name, str(path), "--measure-shapes", *words]) == 0
    assert len(re.findall(r"^sizes: of '.*' and \d+ more from one run on random inputs", capsys.readouterr().out, re.M)) == 1


def test_a_profile_and_a_plan_keep_which_sizes_are_of_one_run(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(OPEN_MODELS["detector"].make(), path)
    assert main(["profile", str(path), "--devices", "devices.yaml", "--measure-shapes", "-o", "profile.json"]) == 0
    assert main(["plan", str(path), "--devices", "devices.yaml", "--profile", "profile.json", "-o", "parts"]) == 0
    capsys.readouterr()
    assert main(["simulate", "parts", "--devices", "devices.yaml"]) == 0
    assert "from one run on random inputs" in capsys.readouterr().out


def test_a_profile_gives_the_shape_of_an_open_batch(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = OPEN_MODELS["batch"]
    saved(model.make(), path)
    shapes = {name: (4, *shape[1:]) for name, shape in model.whole.items()}
    assert run(path, "profile", *options_of(shapes), "--devices", "devices.yaml", "-o", "profile.json") == 0
    capsys.readouterr()
    assert run(path, "plan", "--profile", "profile.json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["input_shapes"] == {name: list(shape) for name, shape in shapes.items()}
    assert planned["free_batch"] == []


@pytest.mark.parametrize("model", models(measured=False))
def test_every_size_is_known_with_the_shapes(model: OpenModel, path: Path) -> None:
    saved(model.make(), path)
    graph = read_graph(path, model.shapes)
    assert graph.unsized == ()
    assert graph.free_batch == model.batch


def test_external_weights_change_no_figure(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = OPEN_MODELS["ocr"]
    saved(model.make(), path)
    inside = answer(capsys, path, "plan", *options_of(model.shapes))
    onnx.save(model.make(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    beside = answer(capsys, path, "plan", *options_of(model.shapes))
    assert {**beside, "model_hash": inside["model_hash"]} == inside


def test_the_examples_suit_the_inputs(path: Path) -> None:
    saved(OPEN_MODELS["text"].make(), path)
    with pytest.raises(UnknownSizeError) as caught:
        read_graph(path).require_inputs()
    assert caught.value.examples == {"ids": (1, 128), "mask": (1, 128)}
    assert str(caught.value) == (
        "text: inputs 'ids' [1, sequence], 'mask' [1, sequence] have open dimensions;"
        " add --shape ids=1,128 --shape mask=1,128 (with your sizes)"
    )


@pytest.mark.parametrize("name", ["batch", "text"])
def test_a_batch_is_planned_as_its_shape_is(name: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = OPEN_MODELS[name]
    saved(model.make(), path)
    shapes = model.shapes or model.whole
    larger = {name: (4, *shape[1:]) for name, shape in shapes.items()}
    batched = answer(capsys, path, "plan", "--batch", "4", *options_of(model.shapes))
    assert batched.pop("batch") == 4
    assert [each["batch"] for each in batched.pop("batches")] == [4]
    expected = answer(capsys, path, "plan", *options_of(larger))
    assert expected.pop("batch") == 1
    assert batched == expected


def test_the_best_batch_is_written_with_its_plan(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(OPEN_MODELS["batch"].make(), path)
    assert main(["plan", str(path), "--devices", "devices.yaml", "--batch", "auto", "-o", "parts"]) == 0
    shown = capsys.readouterr().out
    plan = read_runnable("parts").plan
    assert plan is not None
    assert plan.batch > 1
    assert plan.input_shapes["x"][0] == plan.batch
    assert f"batch: {plan.batch} samples in each item" in shown
    assert "samples/s" in shown


@pytest.mark.parametrize(
    ("words", "error"),
    [
        pytest.param(("--batch", "0"), "--batch: expected a whole number from 1, or auto, got '0'", id="zero"),
        pytest.param(("--batch", "2", "--profile", "p.json"), "--batch: a profile is that of one batch", id="profile"),
        pytest.param(("--batch", "2", "--shape", "x=3,64"), "--shape gives 'x' a first dimension of 3", id="shape"),
        pytest.param(("--rate", "2"), "--rate: has no effect without --batch", id="rate alone"),
        pytest.param(
            ("--batch", "2", "--rate", "nan"), "--rate: expected samples per second, more than zero, got nan", id="nan"
        ),
    ],
)
def test_a_batch_that_cannot_be_had_is_refused(
    words: tuple[str, ...], error: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(OPEN_MODELS["batch"].make(), path)
    assert run(path, "plan", *words) != 0
    assert error in capsys.readouterr().err
