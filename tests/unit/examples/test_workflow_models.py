"""The small networks of the examples of workflows: they learn, and their ONNX files compute what torch does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from multiedge.errors import ConfigError, ModelError
from tests.builders.workflow_example import importable

importable()
torch = pytest.importorskip("torch", reason="needs the extra [bench]")

from workflow_bench import ensemble, shapes, video  # noqa: E402
from workflow_bench.folder import INDEX, WorkflowFolder, is_made, parse_answer, read_items, read_note, write_note  # noqa: E402
from workflow_bench.training import Pixels, Schedule, export, fit, require_equal  # noqa: E402


def test_a_network_learns_and_its_file_computes_the_same(tmp_path: Path) -> None:
    pictures = np.zeros((64, 3, 32, 32), np.uint8)
    pictures[::2] = 255
    classes = np.tile([0, 1], 32)
    fitted = fit(lambda: Pixels(ensemble.narrow()), pictures, classes, Schedule(steps=20, batch=8))
    assert fitted.loss < 0.4
    path = export(fitted.module, {"picture": torch.from_numpy(pictures[:1])}, ["logits"], tmp_path / "narrow.onnx")
    (logits,) = onnxruntime.InferenceSession(str(path)).run(None, {"picture": pictures[1:2]})
    assert logits.argmax() == 1
    with pytest.raises(ModelError, match=r"narrow.onnx: differs from torch by 1"):
        require_equal(
            path, {"picture": torch.from_numpy(pictures[:1])}, [fitted.module(torch.from_numpy(pictures[:1])).detach() + 1]
        )


def test_the_same_seed_gives_the_same_network() -> None:
    pictures, classes = ensemble.pictures(0, 32)
    first, again, other = (
        fit(lambda: Pixels(ensemble.patches()), pictures, classes, Schedule(steps=3, seed=seed)).module.state_dict()
        for seed in (1, 1, 2)
    )
    name = "network.0.weight"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


def test_a_detector_is_to_find_the_centres() -> None:
    body = shapes.Body(0, 44.0, 20.0, 12.0, 0.0, (0.0, 0.0, 0.0))
    target = video.target_of([body])
    assert np.argwhere(target[0]).tolist() == [[2, 5]]
    assert target[1:, 2, 5].tolist() == [0.5, 0.5, 1.5]
    scores, places = torch.from_numpy(target[None, :1]), torch.from_numpy(target[None, 1:])
    right = video.detection_loss((scores, places), torch.from_numpy(target[None]))
    wrong = video.detection_loss((1 - scores, places + 1), torch.from_numpy(target[None]))
    assert right < 0.01 < 1 < wrong


def test_a_file_takes_any_number_of_crops(tmp_path: Path) -> None:
    example = {"crops": torch.zeros(2, 3, 32, 32, dtype=torch.uint8)}
    free = {"crops": "boxes", "logits": "boxes"}
    path = export(Pixels(video.classifier()).eval(), example, ["logits"], tmp_path / "classifier.onnx", free)
    session = onnxruntime.InferenceSession(str(path))
    (logits,) = session.run(None, {"crops": np.zeros((5, 3, 32, 32), np.uint8)})
    assert logits.shape == (5, 6)


def test_a_folder_keeps_items_answers_and_notes(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(b"a model")
    folder = WorkflowFolder(tmp_path / "made", {"second": own})
    assert folder.model("first", lambda path: path.write_bytes(b"first") and "made here").read_bytes() == b"first"
    assert folder.model("second", lambda path: "not made").read_bytes() == b"a model"
    note = folder.items("numbers", [({"x": np.ones(2)}, (3,)), ({"x": np.zeros(2)}, (1, 0, 2))])
    assert [answer for _, answer in read_items(folder.path)] == [(3,), (1, 0, 2)]
    assert np.load(read_items(folder.path)[0][0])["x"].tolist() == [1.0, 1.0]
    assert not is_made(folder.path, folder.given, 0)
    write_note(folder.path, note, folder.given, 0)
    assert is_made(folder.path, folder.given, 0)
    assert not is_made(folder.path, {}, 0)
    assert read_note(folder.path) == note
    assert json.loads((folder.path / "note.json").read_text())["models"]["second"] == f"file {own}"


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone.onnx: expected a model's ONNX file, found none"):
        WorkflowFolder(tmp_path, {"first": tmp_path / "gone.onnx"}).model("first", lambda path: "")
    with pytest.raises(ConfigError, match=rf"{INDEX}: expected the items of a workflow, found no file; run prepare.py first"):
        read_items(tmp_path)


def test_an_answer_is_read_from_what_a_host_makes_of_it() -> None:
    assert parse_answer("1,0,2") == parse_answer("/some/folder/1,0,2") == (1, 0, 2)
