"""`multiedge split`: parts by number or by tensors, without devices."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from multiedge.cli import main
from multiedge.onnx_io.manifest import read_manifest
from tests.builders.onnx_models import layers, saved


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(layers(4, 64), tmp_path / "model.onnx")


def split(model: Path, *words: str) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Inputs and outputs of each part."""
    folder = model.parent / "parts"
    assert main(["split", str(model), *words, "-o", str(folder)]) == 0
    return [(part.inputs, part.outputs) for part in read_manifest(folder).parts]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        pytest.param(["--parts", "1"], [(("x",), ("y",))], id="whole"),
        pytest.param(["--parts", "2"], [(("x",), ("h2",)), (("h2",), ("y",))], id="halves"),
        pytest.param(["--at", "h1"], [(("x",), ("h1",)), (("h1",), ("y",))], id="at-a-tensor"),
        pytest.param(
            ["--at", "h3", "--at", "h1"], [(("x",), ("h1",)), (("h1",), ("h3",)), (("h3",), ("y",))], id="at-two-places"
        ),
        pytest.param(["--at", "h1,h2"], [(("x",), ("h2",)), (("h2",), ("y",))], id="where-both-have-been-made"),
    ],
)
def test_parts_by_the_words(model: Path, words: list[str], parts: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> None:
    assert split(model, *words) == parts


def test_the_table_names_files_tensors_and_bytes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split(model, "--parts", "2")
    shown = capsys.readouterr().out
    assert "2 parts in " in shown
    assert "weights linked" in " ".join(shown.split()), "a long path may wrap the line here"
    assert re.search(r"sub_model_1.onnx +x +h2 +256 B", shown)


def test_json_is_the_manifest(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split(model, "--parts", "2", "--json", "--copy-weights")
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((model.parent / "parts/plan.json").read_text())
    assert printed["weights"] == "copied"


def test_shapes_give_sizes_to_what_is_sent(tmp_path: Path) -> None:
    model = saved(layers(2, 64, rows="n"), tmp_path / "model.onnx")
    split(model, "--parts", "2", "--shape", "x=3,64")
    moves = read_manifest(tmp_path / "parts").transfers
    assert [move.nbytes for move in moves if move.source == 0] == [768]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--parts", "5"], "layers: expected 1 to 4 parts, one node each at least, got 5"),
        (["--parts", "0"], "expected 1 to 4 parts"),
        (["--at", "h9"], "cannot cut at 'h9'"),
        (["--at", ""], "cannot cut at ''"),
        (["--at", "h1", "--at", "h1"], "leave a part without nodes"),
    ],
    ids=["too-many", "none", "no-tensor", "empty", "twice"],
)
def test_what_cannot_be_split_is_one_line_and_nothing_is_written(
    model: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["split", str(model), *words, "-o", str(model.parent / "parts")]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (model.parent / "parts").exists()
