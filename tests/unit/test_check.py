"""Whole model against parts: equal, different, or not to be run at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from multiedge import check as checking
from multiedge.check import CheckReport, OutputCheck, check, compare, run_parts
from multiedge.errors import ConfigError, ModelError, PlanError
from multiedge.onnx_io.manifest import digest_of, write_manifest
from multiedge.plan import CALLER, Manifest, Transfer
from tests.builders.onnx_models import layers, noise, parsed, saved
from tests.builders.parts import split_at

INF, NAN = np.inf, np.nan


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Two layers and a skip, in two parts."""
    return split_at(saved(layers(2, 8, skip=True), tmp_path / "model.onnx"), [2], tmp_path / "parts")


def break_last_part(manifest: Manifest) -> None:
    """Makes the last part subtract where the model adds, and vouches for it."""
    path = Path(manifest.directory) / manifest.parts[-1].file
    model = onnx.load(path, load_external_data=False)
    model.graph.node[-1].op_type = "Sub"
    path.write_bytes(model.SerializeToString())
    last = replace(manifest.parts[-1], files={**manifest.parts[-1].files, path.name: digest_of(path)})
    write_manifest(replace(manifest, parts=(*manifest.parts[:-1], last)))


def test_parts_of_a_model_equal_it_to_the_bit(manifest: Manifest) -> None:
    report = check(manifest.directory, seed=3)
    assert report.bitwise
    assert report.passes(0.0)
    assert (report.model, report.directory, report.parts, report.seed) == (manifest.model, manifest.directory, 2, 3)
    assert (report.backend, report.options["optimisation"]) == ("onnxruntime", "disabled")
    assert report.outputs == (OutputCheck("y", 0.0, 0.0, bitwise=True),)


def test_what_float16_rounds_at_a_cut_passes_and_a_wrong_part_does_not(tmp_path: Path) -> None:
    weights = {f"w{number}": (noise(64, 64, seed=number) / 8).astype(np.float16) for number in (1, 2, 3)}
    text = """half (float16[1,64] x) => (float16[1,64] y) {
        a = MatMul(x, w1)  b = Tanh(a)  c = MatMul(b, w2)  d = Tanh(c)  y = MatMul(d, w3) }"""
    manifest = split_at(saved(parsed(text, **weights), tmp_path / "model.onnx"), [1, 3], tmp_path / "parts")
    report = check(manifest.directory)
    assert report.rounding == 2.0**-8
    assert report.passes()
    assert not replace(report, outputs=(OutputCheck("y", 0.01, 0.01, bitwise=False),)).passes()


def test_parts_that_compute_something_else_are_found(manifest: Manifest) -> None:
    break_last_part(manifest)
    report = check(manifest.directory)
    assert not report.bitwise
    assert not report.passes()
    assert report.outputs[0].max_abs > 0.1


def test_inputs_of_ones_own_are_used(manifest: Manifest) -> None:
    report = check(manifest.directory, inputs={"x": np.zeros((1, 8), dtype=np.float32)})
    assert report.outputs[0].is_constant, "products of nothing are nothing"
    assert not check(manifest.directory).outputs[0].is_constant


def test_options_of_the_backend_are_passed_on(manifest: Manifest) -> None:
    assert check(manifest.directory, options={"optimisation": "all"}).options["optimisation"] == "all"
    with pytest.raises(ConfigError, match=r"optimisatoin.*did you mean 'optimisation'"):
        check(manifest.directory, options={"optimisatoin": "all"})


def test_shapes_are_given_where_the_model_leaves_them_open(tmp_path: Path) -> None:
    manifest = split_at(saved(layers(2, 8, rows="n"), tmp_path / "model.onnx"), [1], tmp_path / "parts")
    assert check(manifest.directory, shapes={"x": [5, 8]}).bitwise


def test_what_is_wrong_is_raised_instead_of_run(manifest: Manifest) -> None:
    write_manifest(replace(manifest, transfers=manifest.transfers[:-1]))
    with pytest.raises(PlanError, match="output 'y' does not reach the caller") as caught:
        check(manifest.directory)
    assert len(caught.value.violations) == 1


def test_a_model_that_is_too_large_for_one_file_runs_with_its_weights_beside_it(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "PROTOBUF_LIMIT_BYTES", 10)
    assert check(manifest.directory).bitwise
    model = Path(manifest.model)
    assert [path.name for path in model.parent.iterdir() if path.name.startswith(".")] == []


def test_a_transfer_of_a_tensor_that_is_not_there_names_it(manifest: Manifest) -> None:
    moves = (*manifest.transfers, Transfer(0, CALLER, ("nowhere",), 4))
    backend = checking.load_backend("onnxruntime")
    with pytest.raises(PlanError, match="parts: part 0 has no tensor 'nowhere' to send"):
        run_parts(backend, replace(manifest, transfers=moves), {"x": np.zeros((1, 8), dtype=np.float32)})


def test_a_model_that_has_changed_is_not_compared(manifest: Manifest) -> None:
    saved(layers(3, 8), Path(manifest.model))
    with pytest.raises(ModelError, match="has changed since"):
        check(manifest.directory)


def test_sequences_are_compared_element_by_element(tmp_path: Path) -> None:
    text = "g (float[6,4] x) => (seq(float[M,4]) s) { a = Exp(x)  s = SplitToSequence(a, two) }"
    manifest = split_at(saved(parsed(text, two=np.array(2)), tmp_path / "model.onnx"), [1], tmp_path / "parts")
    assert check(manifest.directory).bitwise


@pytest.mark.parametrize(
    ("whole", "parts", "result"),
    [
        pytest.param([1.0, NAN, INF], [1.0, NAN, INF], (0.0, 0.0, True), id="equal-to-the-bit"),
        pytest.param([1.0, 2.0], [1.5, 2.0], (0.5, 0.25, False), id="different"),
        pytest.param([0.0], [-0.0], (0.0, 0.0, False), id="equal-but-not-to-the-bit"),
        pytest.param([1.0, INF], [1.0, 3.0], (INF, INF, False), id="an-infinity-that-is-missing"),
        pytest.param([0.0, 0.0], [1e-9, 0.0], (1e-9, INF, False), id="where-nothing-was-expected"),
        pytest.param([], [], (0.0, 0.0, True), id="empty"),
    ],
)
def test_a_tensor_against_another(whole: Any, parts: Any, result: tuple[float, float, bool]) -> None:
    compared = compare("y", np.array(whole), np.array(parts))
    assert (compared.max_abs, compared.max_rel, compared.bitwise) == result


@pytest.mark.parametrize(
    ("whole", "parts"),
    [
        pytest.param(np.zeros(3, dtype=np.float32), np.zeros(3), id="types"),
        pytest.param(np.zeros(3), np.zeros((3, 1)), id="shapes"),
        pytest.param([np.zeros(3)], np.zeros(3), id="a-sequence-and-a-tensor"),
        pytest.param([np.zeros(3)], [np.zeros(3), np.zeros(3)], id="sequences-of-different-lengths"),
        pytest.param([np.zeros(3)], [np.ones(3)], id="elements-of-a-sequence"),
        pytest.param(np.array(["a", "b"], dtype=object), np.array(["a", "c"], dtype=object), id="texts"),
    ],
)
def test_what_cannot_be_measured_differs_infinitely(whole: Any, parts: Any) -> None:
    compared = compare("y", whole, parts)
    assert compared.max_rel == INF
    assert not compared.bitwise


def test_equal_texts_and_empty_sequences_are_equal() -> None:
    words = np.array(["a", "ü"], dtype=object)
    assert compare("y", words, words.copy()).bitwise
    assert compare("y", [], []) == OutputCheck("y", 0.0, 0.0, bitwise=True)


@pytest.mark.parametrize(
    ("errors", "tolerance", "passes"),
    [
        pytest.param([], 0.0, True, id="no-outputs"),
        pytest.param([0.0], 0.0, True, id="equal"),
        pytest.param([1e-4], 1e-4, True, id="at-the-tolerance"),
        pytest.param([0.0, 2e-4], 1e-4, False, id="the-worst-output-decides"),
        pytest.param([INF], 1e9, False, id="infinite"),
    ],
)
def test_a_report_passes_by_its_worst_output(errors: list[float], tolerance: float, passes: bool) -> None:
    outputs = tuple(OutputCheck(f"y{number}", error, error, bitwise=error == 0.0) for number, error in enumerate(errors))
    report = CheckReport("m", "d", 2, 0, "onnxruntime", {}, outputs)
    assert report.passes(tolerance) is passes
    assert report.bitwise is (max(errors, default=0.0) == 0.0)
