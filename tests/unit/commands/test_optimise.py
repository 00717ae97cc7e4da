"""`multiedge optimise` from words on the command line to what it prints and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from multiedge.cli import main
from multiedge.onnx_io import read_runnable
from tests.builders import workflows
from tests.builders.onnx_models import noise, parsed, saved

DEVICES = """\
devices:
  - {name: fast, speed: 1.0, power: {idle: 2W, busy: 8W}}
  - {name: slow, speed: 0.1, power: {idle: 1W, busy: 3W}}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The words that name a cascade and two devices; the small model has a variant, and the fast device is dear."""
    (tmp_path / "devices.yaml").write_text(DEVICES)
    (tmp_path / "choices.yaml").write_text(
        "accuracy: {small: 0.8, large: 0.9}\n"
        "variants: {small: {poor: {model: small.onnx, accuracy: 0.5}}}\n"
        "prices: {fast: 5, slow: 1}\n"
    )
    path = workflows.cascade(tmp_path)
    words = ["optimise", str(path), "--devices", str(tmp_path / "devices.yaml"), "--choices", str(tmp_path / "choices.yaml")]
    return [*words, "--rate", "20", "--items", "200"]


@pytest.fixture
def devices(tmp_path: Path) -> list[str]:
    """The words of one device and a low rate."""
    (tmp_path / "devices.yaml").write_text("devices: [{name: a}]\n")
    return ["--devices", str(tmp_path / "devices.yaml"), "--rate", "1", "--p99", "1s", "--items", "50"]


def test_the_choice_its_proof_and_the_planners_are_printed(files, capsys) -> None:
    assert main([*files, "--p99", "500ms", "--heuristics"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 or max(len(line.rstrip()) for line in lines) <= 128
    steps = [line.split()[:2] for line in lines if line.startswith(("small", "large"))]
    assert [name for name, _ in steps] == ["small", "large"]
    assert any(line.startswith("least value: proven") for line in lines)
    assert [line.split()[0] for line in lines if line.startswith(("optimiser", "InferLine", "IPA"))] == [
        "optimiser",
        "InferLine",
        "IPA",
    ]


def test_json_has_the_choice_the_bound_and_the_gap(files, capsys) -> None:
    assert main([*files, "--p99", "500ms", "--accuracy", "0.7", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["best"]["accuracy"] == pytest.approx(0.72)
    assert found["best"]["steps"]["small"]["variant"] == "own"
    assert found["best"]["devices"] == {"fast": 0, "slow": 1}
    assert (found["best"]["value"], found["lower_bound"], found["gap"]) == (1.0, 1.0, 0.0)
    assert found["best"]["meets"] is True
    assert found["heuristics"] == {}


def test_energy_is_counted_per_item(files, capsys) -> None:
    assert main([*files, "--p99", "500ms", "--objective", "energy", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert best["value"] >= 1.0 / 20  # the idle watts of the slow device for a twentieth of a second


def test_the_choice_is_written_as_a_plan_that_can_run(files, tmp_path, capsys) -> None:
    assert main([*files, "--p99", "500ms", "-o", str(tmp_path / "out")]) == 0
    assert f"written: {tmp_path / 'out'}" in capsys.readouterr().out
    plan = read_runnable(tmp_path / "out" / "plan").plan
    assert plan is not None
    assert (plan.strategy, [stage.device for stage in plan.stages]) == ("optimiser", ["slow", "slow"])
    assert (tmp_path / "out" / "workflow.yaml").is_file()


def test_an_accuracy_that_nobody_stated_is_not_known(files, capsys) -> None:
    words = [word for word in files if word != "--choices" and not word.endswith("choices.yaml")]
    assert main([*words, "--p99", "500ms"]) == 0
    assert ", accuracy not stated" in capsys.readouterr().out
    assert main([*words, "--p99", "500ms", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"]["accuracy"] is None
    assert main([*words, "--p99", "500ms", "--accuracy", "0.9"]) == 1
    assert "--accuracy: nothing is known of the accuracy of the models" in capsys.readouterr().err


def test_a_model_alone_is_no_workflow(files, capsys) -> None:
    assert main([files[0], "small.onnx", *files[2:], "--p99", "1s"]) == 1
    assert "small.onnx: expected a workflow.yaml; `multiedge plan` places a single model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--p99", "soon"], "--p99: expected a time such as '2ms'"),
        (["--p99", "1ms", "--batches", "one"], "--batches: expected whole numbers such as 1,2,4, got 'one'"),
        (["--p99", "1ms", "--batches", "0"], "--batches: expected numbers from 1, got 0"),
        (["--p99", "1ms", "--simulations", "0"], "--simulations"),
        (["--p99", "0.001us"], "no configuration keeps a p99 latency of 1e-06 ms at 20 items/s"),
        (["--p99", "1s", "--accuracy", "0.99"], "and an accuracy of 0.99"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_the_remedy(files, words, message, capsys) -> None:
    assert main([*files, *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_output_may_have_the_name_of_another_step(tmp_path: Path, devices: list[str], capsys) -> None:
    path = workflows.written(
        tmp_path,
        "inputs: {image: {dtype: float32, shape: [1, 8]}}\n"
        "steps:\n  first: {model: layers.onnx, inputs: {x: image}}\n  second: {model: small.onnx, inputs: {x: first.y}}\n"
        "outputs: {probabilities: second, first: second}\n",
    )
    assert main(["optimise", str(path), *devices]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (
            "m (float[n, 8] x) => (float[n, 4] scores) { scores = MatMul(x, w) }",
            "expected an output 'probabilities', got scores",
        ),
        ("m (float[n, 8] z) => (float[n, 4] probabilities) { probabilities = MatMul(z, w) }", "expected the inputs x, got z"),
    ],
)
def test_a_variant_that_takes_or_makes_something_else_is_refused(tmp_path, devices, variant, expected, capsys) -> None:
    path = workflows.cascade(tmp_path)
    saved(parsed(variant, w=noise(8, 4)), tmp_path / "other.onnx")
    (tmp_path / "choices.yaml").write_text("variants: {large: {tiny: {model: other.onnx}}}\n")
    assert main(["optimise", str(path), *devices, "--choices", str(tmp_path / "choices.yaml")]) == 1
    error = capsys.readouterr().err
    assert "choices: variants.large.tiny: " in error
    assert f"other.onnx: {expected}; rename" in error


@pytest.mark.parametrize("shape", ["", "[1, 8]"])
def test_a_second_input_may_have_a_fixed_shape(tmp_path: Path, devices: list[str], shape: str, capsys) -> None:
    saved(parsed(f"m (float[n, 8] x, float{shape} k) => (float[n, 8] y) {{ y = Mul(x, k) }}"), tmp_path / "m.onnx")
    path = tmp_path / "workflow.yaml"
    path.write_text(
        f"inputs: {{x: {{dtype: float32, shape: [1, 8]}}, k: {{dtype: float32, shape: {shape or '[]'}}}}}\n"
        "steps: {a: {model: m.onnx, inputs: {x: x, k: k}}}\noutputs: {y: a}\n"
    )
    assert main(["optimise", str(path), *devices]) == 0, capsys.readouterr().err


def test_the_workflow_that_was_read_is_not_replaced(files: list[str], tmp_path: Path, capsys) -> None:
    path = tmp_path / "workflow.yaml"
    before = path.read_text()
    assert main([*files, "--p99", "500ms", "-o", str(tmp_path)]) == 1
    assert "which would be replaced; give another folder" in capsys.readouterr().err
    assert path.read_text() == before
