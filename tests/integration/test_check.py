"""The checker: all errors in one message, differences that it finds, output and exit status of the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from multiedge.check import check, compare
from multiedge.cli import main
from multiedge.errors import PlanError
from multiedge.onnx_io import read_graph, read_manifest, write_parts
from multiedge.onnx_io.manifest import digest_of, write_manifest
from multiedge.onnx_io.verify import part_violations, whole_graph
from multiedge.plan import CALLER, Manifest
from tests.builders.onnx_models import LIGHT
from tests.builders.onnx_traps import TRAPS
from tests.builders.parts import plan_of, split_at, with_random_weights


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    onnx.save(TRAPS["skip_connections"](), tmp_path / "model.onnx")
    return split_at(tmp_path / "model.onnx", [2, 4], tmp_path / "parts")


def found(manifest: Manifest) -> list[str]:
    return part_violations(manifest, whole_graph(manifest))


def test_sound_parts_have_no_violation(manifest: Manifest) -> None:
    assert found(manifest) == []


def test_all_errors_are_listed_together(manifest: Manifest) -> None:
    first, _, third = manifest.parts
    lost = [move for move in manifest.transfers if move.target != CALLER and move.source != CALLER]
    broken = replace(
        manifest,
        parts=(first, first, third),
        transfers=tuple(move for move in manifest.transfers if move.target != CALLER and move not in lost),
    )
    said = "\n".join(found(broken))
    assert "node 'Add_2' is in no part" in said
    assert "node 'Relu_0' is in 2 parts" in said
    assert "sub_model_3.onnx needs 'd', which no transfer brings" in said
    assert "output 'y' does not reach the caller" in said


def test_an_order_that_is_broken_and_a_tensor_that_is_not_there(manifest: Manifest) -> None:
    moves = [replace(move, source=1, target=0, tensors=("nowhere",)) for move in manifest.transfers[:1]]
    said = "\n".join(found(replace(manifest, transfers=(*manifest.transfers, *moves))))
    assert "order broken: part 1 sends nowhere back to part 0" in said
    assert "sub_model_2.onnx cannot send 'nowhere' to sub_model_1.onnx" in said


def test_check_raises_what_is_wrong_instead_of_running(manifest: Manifest) -> None:
    write_manifest(replace(manifest, transfers=manifest.transfers[:-1]))
    with pytest.raises(PlanError, match="output 'y' does not reach the caller") as caught:
        check(manifest.directory)
    assert len(caught.value.violations) == 1


def wrong_parts(manifest: Manifest) -> None:
    """Makes the last part compute something else and vouches for it."""
    path = Path(manifest.directory) / manifest.parts[-1].file
    model = onnx.load(path, load_external_data=False)
    model.graph.node[-1].op_type = "Sub"
    path.write_bytes(model.SerializeToString())
    last = manifest.parts[-1]
    write_manifest(
        replace(manifest, parts=(*manifest.parts[:-1], replace(last, files={**last.files, last.file: digest_of(path)})))
    )


def test_parts_that_compute_something_else_are_found(manifest: Manifest) -> None:
    wrong_parts(manifest)
    report = check(manifest.directory)
    assert not report.bitwise
    assert not report.passes()
    assert report.outputs[0].max_abs > 0.1


def test_outputs_are_compared_by_value_type_and_shape() -> None:
    one = np.array([1.0, np.nan, np.inf], dtype=np.float32)
    assert compare("y", one, one.copy()).bitwise
    assert compare("y", one, one * np.float32(1.5)).max_abs == 0.5
    assert compare("y", one, np.nan_to_num(one)).max_rel == np.inf
    assert compare("y", one, one.astype(np.float64)).max_rel == np.inf
    assert compare("y", one, one[:2]).max_rel == np.inf
    assert compare("y", np.array(["a", "b"], dtype=object), np.array(["a", "b"], dtype=object)).bitwise
    assert compare("y", np.array(["a", "b"], dtype=object), np.array(["a", "c"], dtype=object)).max_abs == np.inf
    assert compare("y", [one, one], [one]).max_rel == np.inf
    assert compare("y", [one, one], [one, one]).bitwise
    assert compare("y", np.zeros(3), np.full(3, 1e-9)).max_rel == np.inf


def test_the_commands_tell_equal_from_different(manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["split", str(tmp_path / "model.onnx"), "--at", "b", "-o", str(tmp_path / "by hand")]) == 0
    assert main(["check", str(tmp_path / "by hand")]) == 0
    assert "the parts equal the whole" in capsys.readouterr().out
    wrong_parts(manifest)
    assert main(["check", manifest.directory, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False
    assert main(["split", str(tmp_path / "model.onnx"), "--at", "nowhere", "-o", str(tmp_path / "by hand")]) == 1
    assert "'nowhere'" in capsys.readouterr().err


def test_every_relay_of_a_manifest_survives_its_file(manifest: Manifest, tmp_path: Path) -> None:
    graph = read_graph(tmp_path / "model.onnx")
    written = write_parts(graph, plan_of(graph, [range(1), range(1, 5), range(5, 6)], relay=True), tmp_path / "parts")
    assert read_manifest(tmp_path / "parts") == written


def test_an_output_of_one_value_is_said_to_show_little(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    light = LIGHT / "light_squeezenet.onnx"
    varied = with_random_weights(light, tmp_path / "varied.onnx")
    for path, shows_little in ((light, True), (varied, False)):
        split_at(path, [50], tmp_path / path.stem)
        assert main(["check", str(tmp_path / path.stem)]) == 0
        assert ("shows little" in capsys.readouterr().out) == shows_little
