"""The kept parts of the row with variants."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnx
import pytest

BENCH = Path(__file__).parents[3] / "examples" / "imagenet" / "multiedge_inference_bench"
sys.path.insert(0, str(BENCH))

pytest.importorskip("PIL", reason="needs the extra [bench]")

from imagenet_bench import variants  # noqa: E402

from multiedge.onnx_io import read_manifest  # noqa: E402
from multiedge.run import profile_model  # noqa: E402
from multiedge.variants.task import Task  # noqa: E402
from tests.builders.onnx_models import layers, saved  # noqa: E402

FLEET = "devices:\n  - name: phone\n    memory: 1GB\n"
VARIANTS = "onnxruntime:int8"


@pytest.fixture(autouse=True)
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """What was planned; the parts run as they are, without a conversion."""
    tasks: list[Task] = []

    def choose(task: Task, _: Any) -> Any:
        tasks.append(task)
        profile = profile_model(task.graph, task.fleet, "static")
        return SimpleNamespace(task=task, best=SimpleNamespace(plan=task.planner(profile, task.fleet), profile=profile))

    monkeypatch.setattr(variants, "choose_variants", choose)
    monkeypatch.setattr(variants, "converted_parts", lambda *_: None)
    monkeypatch.setattr(variants, "read_picture", lambda _: np.zeros((1, 4), np.float32))
    return tasks


def checkout(folder: Path) -> Path:
    """The model of a checkout that has one picture and one device."""
    cache = folder / ".cache" / "imagenet"
    (cache / "pictures").mkdir(parents=True)
    (cache / "pictures" / "index.txt").write_text("a.png 3\n")
    (cache / "devices.yaml").write_text(FLEET)
    return saved(layers(2), cache / "models" / "net" / "model.onnx")


def parts_of(model: Path) -> str:
    """The folder of its parts."""
    cache = model.parents[2]
    made = variants.variant_parts(model, cache / "devices.yaml", cache / "pictures" / "index.txt", "single", 0.01, VARIANTS)
    return made.directory


def test_a_second_round_takes_what_the_first_has_made(tmp_path: Path, chosen: list[Task]) -> None:
    model = checkout(tmp_path)
    assert parts_of(model) == parts_of(model)
    assert len(chosen) == 1


def test_parts_that_were_not_converted_to_the_end_are_made_again(
    tmp_path: Path, chosen: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = checkout(tmp_path)
    monkeypatch.setattr(variants, "converted_parts", Mock(side_effect=[KeyboardInterrupt, None]))
    with pytest.raises(KeyboardInterrupt):
        parts_of(model)
    parts_of(model)
    assert len(chosen) == 2


def test_the_parts_of_another_checkout_name_its_own_model(tmp_path: Path, chosen: list[Task]) -> None:
    first, second = checkout(tmp_path / "first"), checkout(tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()
    parts_of(first)
    shutil.rmtree(tmp_path / "first")
    assert Path(read_manifest(parts_of(second)).model) == second


def test_a_checkout_that_was_moved_names_its_model_where_it_is(tmp_path: Path, chosen: list[Task]) -> None:
    parts_of(checkout(tmp_path / "first"))
    (tmp_path / "first").rename(tmp_path / "second")
    model = tmp_path / "second" / ".cache" / "imagenet" / "models" / "net" / "model.onnx"
    assert Path(read_manifest(parts_of(model)).model) == model


def test_other_weights_are_planned_anew(tmp_path: Path, chosen: list[Task]) -> None:
    model = checkout(tmp_path)
    before = parts_of(model)
    proto = onnx.load(model)
    proto.graph.initializer[0].raw_data = bytes(len(proto.graph.initializer[0].raw_data))
    saved(proto, model)
    assert parts_of(model) != before
    assert len(chosen) == 2
