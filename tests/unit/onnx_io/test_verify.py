"""Parts against the whole by structure: everything that is wrong is listed, and nothing is run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multiedge.errors import ModelError, PlanError
from multiedge.onnx_io.manifest import write_manifest
from multiedge.onnx_io.verify import part_violations, read_runnable, whole_graph
from multiedge.plan import CALLER, Manifest, Transfer
from tests.builders.onnx_models import layers, parsed, saved
from tests.builders.parts import split_at


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """x -> h1 -> h2 -> y in three parts of one node each."""
    return split_at(saved(layers(3, 4), tmp_path / "model.onnx"), [1, 2], tmp_path / "parts")


def violations(manifest: Manifest) -> list[str]:
    return part_violations(manifest, whole_graph(manifest))


def without_move(manifest: Manifest, source: int, target: int) -> Manifest:
    kept = tuple(move for move in manifest.transfers if (move.source, move.target) != (source, target))
    return replace(manifest, transfers=kept)


def with_move(manifest: Manifest, move: Transfer) -> Manifest:
    return replace(manifest, transfers=(*manifest.transfers, move))


def with_parts(manifest: Manifest, *numbers: int) -> Manifest:
    """The manifest with these of its parts, which keep their files."""
    return replace(manifest, parts=tuple(manifest.parts[number] for number in numbers))


def test_sound_parts_have_no_violation(manifest: Manifest) -> None:
    assert violations(manifest) == []


def test_constants_may_be_in_several_parts(tmp_path: Path) -> None:
    text = "g (float[4] x) => (float[4] y) { k = Constant<value_float = 2.0>()  a = Mul(x, k)  b = Exp(a)  y = Mul(b, k) }"
    path = saved(parsed(text), tmp_path / "model.onnx")
    assert violations(split_at(path, [2, 3], tmp_path / "parts")) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            lambda manifest: without_move(manifest, 0, 1),
            ["sub_model_2.onnx needs 'h1', which no transfer brings"],
            id="a-tensor-that-does-not-arrive",
        ),
        pytest.param(
            lambda manifest: without_move(manifest, CALLER, 0),
            ["sub_model_1.onnx needs 'x', which no transfer brings"],
            id="an-input-that-does-not-arrive",
        ),
        pytest.param(
            lambda manifest: without_move(manifest, 2, CALLER),
            ["output 'y' does not reach the caller: no transfer brings it back"],
            id="an-output-that-does-not-come-back",
        ),
        pytest.param(
            lambda manifest: with_move(manifest, Transfer(1, 2, ("nowhere",), 4)),
            ["sub_model_2.onnx cannot send 'nowhere' to sub_model_3.onnx: it has no such tensor"],
            id="a-tensor-that-is-not-there",
        ),
        pytest.param(
            lambda manifest: with_move(manifest, Transfer(1, CALLER, ("nowhere",), 4)),
            ["sub_model_2.onnx cannot send 'nowhere' to the caller: it has no such tensor"],
            id="a-result-that-is-not-there",
        ),
        pytest.param(
            lambda manifest: with_move(manifest, Transfer(2, 1, ("y",), 4)),
            ["order broken: part 2 sends y back to part 1"],
            id="backwards",
        ),
        pytest.param(
            lambda manifest: with_move(manifest, Transfer(1, 1, ("h2",), 4)),
            ["order broken: part 1 sends h2 back to part 1"],
            id="to-itself",
        ),
        pytest.param(
            lambda manifest: with_move(manifest, Transfer(CALLER, CALLER, ("x",), 4)),
            ["order broken: the caller sends x to itself"],
            id="from-the-caller-to-the-caller",
        ),
        pytest.param(
            lambda manifest: with_move(manifest, Transfer(CALLER, 1, ("y",), 4)),
            ["the caller cannot send 'y' to sub_model_2.onnx: it has no such input"],
            id="what-the-caller-does-not-have",
        ),
        pytest.param(
            lambda manifest: with_parts(manifest, 0, 0, 2),
            [
                "node 'layer_h2' is in no part",
                "node 'layer_h1' is in 2 parts",
                "parts[1]: expected stage 1, got stage 0 (sub_model_1.onnx)",
                "sub_model_1.onnx needs 'x', which no transfer brings",
                "sub_model_1.onnx cannot send 'h2' to sub_model_3.onnx: it has no such tensor",
            ],
            id="everything-is-listed",
        ),
    ],
)
def test_what_is_wrong_is_listed(manifest: Manifest, change, expected: list[str]) -> None:
    assert violations(change(manifest)) == expected


def test_a_node_that_is_not_in_the_model_is_named(manifest: Manifest, tmp_path: Path) -> None:
    model = layers(3, 4)
    model.graph.node[1].name = "renamed"
    saved(model, tmp_path / "other.onnx")
    other = split_at(tmp_path / "other.onnx", [1, 2], tmp_path / "others")
    wrong = part_violations(other, whole_graph(manifest))
    assert wrong == ["node 'layer_h2' is in no part", "node 'renamed' is not in the model"]


def test_a_tensor_that_is_handed_on_may_be_sent_on(tmp_path: Path) -> None:
    """A relayed plan: the second part passes on what the third one needs."""
    path = saved(layers(3, 4, skip=True), tmp_path / "model.onnx")
    assert violations(split_at(path, [1, 2, 3], tmp_path / "parts", relay=True)) == []


def test_a_model_that_has_changed_since_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    saved(layers(4, 4), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"model\.onnx: has changed since .*parts was written; split it again"):
        whole_graph(manifest)


def test_a_model_that_has_gone_is_named(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: no such model file"):
        whole_graph(manifest)


def test_shapes_reach_the_whole_model(tmp_path: Path) -> None:
    manifest = split_at(saved(layers(2, 4, rows="n"), tmp_path / "model.onnx"), [1], tmp_path / "parts")
    assert whole_graph(manifest, {"x": [3, 4]}).tensors["h1"].shape == (3, 4)


BROKEN = [
    pytest.param(lambda manifest: without_move(manifest, 0, 1), "no transfer brings", id="a-transfer-is-missing"),
    pytest.param(lambda manifest: with_move(manifest, Transfer(1, 1, ("h2",), 4)), "order broken", id="to-itself"),
    pytest.param(lambda manifest: with_move(manifest, Transfer(2, 1, ("y",), 4)), "order broken", id="backwards"),
    pytest.param(lambda manifest: with_parts(manifest, 0, 0, 2), "expected stage 1, got stage 0", id="a-part-twice"),
]


@pytest.mark.parametrize("has_model", [True, False], ids=["with the model", "parts alone"])
@pytest.mark.parametrize(("change", "expected"), BROKEN)
def test_a_plan_folder_that_cannot_run_is_refused(manifest: Manifest, change, expected: str, has_model: bool) -> None:
    write_manifest(change(manifest))
    if not has_model:
        Path(manifest.model).unlink()
    with pytest.raises(PlanError, match=f"parts: these parts cannot run: .*{expected}"):
        read_runnable(manifest.directory)


def test_parts_without_their_model_can_run(manifest: Manifest) -> None:
    Path(manifest.model).unlink()
    assert read_runnable(manifest.directory) == manifest


def test_only_tensors_can_be_sent(tmp_path: Path) -> None:
    text = "g (float[6,4] x) => (seq(float[M,4]) s) { a = Exp(x)  s = SplitToSequence(a, two) }"
    manifest = split_at(saved(parsed(text, two=np.array(2)), tmp_path / "model.onnx"), [1], tmp_path / "parts")
    with pytest.raises(PlanError, match=r"sub_model_2\.onnx sends 's', which is of type sequence: only tensors can be sent$"):
        read_runnable(manifest.directory)
