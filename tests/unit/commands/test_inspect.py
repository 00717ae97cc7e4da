"""`multiedge inspect`: the facts of a model and its cheapest cuts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from multiedge.cli import main
from tests.builders.onnx_models import layers, parsed, saved


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(layers(3, 64, activation="Tanh", name="small"), tmp_path / "model.onnx")


def facts(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    assert main(["inspect", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_facts_by_hand(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = facts(capsys, model)
    assert (known["model"], known["nodes"], known["ir_version"], known["opsets"]) == ("small", 6, 8, {"ai.onnx": 17})
    assert (known["parameters"], known["parameter_bytes"]) == (3 * 64 * 64, 3 * 64 * 64 * 4)
    assert known["macs"] == 3 * 64 * 64
    assert known["operators"] == {"MatMul": 3, "Tanh": 3}
    assert known["inputs"] == [{"name": "x", "dtype": "float32", "shape": [1, 64], "nbytes": 256}]
    assert known["outputs"] == [{"name": "y", "dtype": "float32", "shape": [1, 64], "nbytes": 256}]
    assert known["uncounted"] == []


def test_cheapest_cuts_are_ready_to_be_given_to_split(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cuts = facts(capsys, model, "--top", 2)["cheapest_cuts"]
    assert cuts[0] == {"after": 1, "after_node": "layer_m1", "tensors": ["m1"], "nbytes": 256}
    assert len(cuts) == 2


def test_an_open_batch_counts_as_one_and_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = saved(layers(2, 64, rows="n"), tmp_path / "model.onnx")
    known = facts(capsys, model)
    assert known["inputs"][0] == {"name": "x", "dtype": "float32", "shape": [1, 64], "nbytes": 256}
    assert known["free_batch"] == ["x"]
    assert main(["inspect", str(model)]) == 0
    assert "batch: open in the model, taken as 1 (input x)" in capsys.readouterr().out
    assert facts(capsys, model, "--shape", "x=2,64")["cheapest_cuts"][0]["nbytes"] == 512


def test_the_table_names_cuts_and_operators(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(model)]) == 0
    shown = capsys.readouterr().out
    assert "small: 6 nodes, 12,288 parameters (48.0 KiB), 12.3 kMACs, opset ai.onnx 17, IR 8" in shown
    assert "operators: 3 MatMul, 3 Tanh" in shown
    assert "inputs: x float32 [1, 64]" in shown
    assert "layer_m1" in shown


def test_inputs_that_cross_a_cut_are_not_given_to_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "g (float[1,4] x) => (float[1,4] y) { a = Exp(x)  y = Add(a, x) }"
    assert main(["inspect", str(saved(parsed(text), tmp_path / "model.onnx"))]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "32 B" in line]
    assert row.split()[-1] == "a"


def test_a_quantised_weight_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "g (float[1,64] x) => (float[1,64] y) { f = DequantizeLinear(w, scale)  y = MatMul(x, f) }"
    weights = {"w": np.ones((64, 64), np.int8), "scale": np.float32(0.1)}
    known = facts(capsys, saved(parsed(text, **weights), tmp_path / "model.onnx"))
    assert (known["parameters"], known["parameter_bytes"]) == (64 * 64 + 1, 64 * 64 + 4)


def test_open_sizes_are_named_or_shown_as_question_marks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = saved(parsed("g (float[1,n,?] x) => (float[1,n,?] y) { y = Exp(x) }"), tmp_path / "model.onnx")
    assert main(["inspect", str(model)]) == 1
    shown = capsys.readouterr().out
    assert "inputs: x float32 [1, n, ?]" in shown
    assert "0 parameters" in shown


def test_operators_that_nobody_can_count_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "g (float[4] x) => (float[4] y) { a = Neg(x)  y = nowhere.Strange(a) }"
    model = saved(parsed(text, opsets='"" : 17, "nowhere" : 1'), tmp_path / "model.onnx")
    assert main(["inspect", str(model)]) == 0
    assert "not counted: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "macs"),
    [
        pytest.param("a = Neg(x)  y = nowhere.Strange(a)", "MACs not counted", id="none-is-known"),
        pytest.param("a = MatMul(x, w)  y = nowhere.Strange(a)", "at least 16 MACs", id="some-are-known"),
    ],
)
def test_operations_that_are_not_counted_are_not_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, macs: str
) -> None:
    body = f"g (float[1,4] x) => (float[1,4] y) {{ {text} }}"
    model = saved(parsed(body, opsets='"" : 17, "nowhere" : 1', w=np.eye(4, dtype=np.float32)), tmp_path / "model.onnx")
    assert main(["inspect", str(model)]) == 0
    assert f" {macs}, opset" in capsys.readouterr().out


def test_long_names_of_tensors_are_not_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "/encoder/layers.0/attention/" + 3 * "output/dense/" + "MatMul_output_0"
    model = parsed("g (float[4] x) => (float[4] y) { a = Exp(x)  y = Neg(a) }")
    model.graph.node[0].output[0] = model.graph.node[1].input[0] = name
    assert main(["inspect", str(saved(model, tmp_path / "model.onnx"))]) == 0
    assert f"0  {name}" in capsys.readouterr().out.splitlines()


def test_an_input_that_is_no_tensor_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "g (seq(float[M,4]) s) => (float[N,4] y) { a = ConcatFromSequence<axis = 0>(s)  y = Exp(a) }"
    path = saved(parsed(text), tmp_path / "model.onnx")
    assert main(["inspect", str(path)]) == 1
    assert "g: input 's' is of type sequence; items can hold tensors only" in capsys.readouterr().out
    assert main(["profile", str(path), "--measure-shapes"]) == 1
    assert "g: input 's' is of type sequence; items can hold tensors only" in capsys.readouterr().err


def test_a_model_of_one_node_has_no_cuts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert facts(capsys, saved(layers(1), tmp_path / "model.onnx"))["cheapest_cuts"] == []


def test_names_that_look_like_markup_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A closing tag without its opening one would end the command, any other tag would vanish."""
    model = parsed(
        "g (float[4] x) => (float[4] y) { a = Exp(x)  b = Neg(a)  y = Abs(b) }",
    )
    for node, name in zip(model.graph.node, ("[/red]", "[bold]b", ":smile:"), strict=True):
        node.name = name
    model.graph.node[0].output[0] = model.graph.node[1].input[0] = "[/a]"
    assert main(["inspect", str(saved(model, tmp_path / "model.onnx"))]) == 0
    shown = capsys.readouterr().out
    assert "[/red]" in shown
    assert "[bold]b" in shown
    assert "[/a]" in shown


@pytest.mark.parametrize("top", ["0", "-3"])
def test_a_table_needs_a_row(model: Path, capsys: pytest.CaptureFixture[str], top: str) -> None:
    assert main(["inspect", str(model), "--top", top]) == 1
    assert "--top: expected 1 or more" in capsys.readouterr().err
