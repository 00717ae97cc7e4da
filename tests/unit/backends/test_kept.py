import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from multiedge.backends.choices import path_of
from multiedge.backends.kept import content_of, key_of, made_once
from multiedge.errors import ModelError
from multiedge.files import owner
from multiedge.fleet import AUTO_BACKEND, Device
from tests.builders.onnx_models import layers, noise


def write(draft: Path) -> None:
    (draft / "weights.bin").write_bytes(b"packed")


def test_what_is_made_is_there_once_and_complete(tmp_path: Path) -> None:
    made = []
    for _ in range(2):
        folder = made_once(tmp_path / "kept" / "key", lambda draft: (made.append(draft), write(draft))[1], "packed weights")
        assert (folder / "weights.bin").read_bytes() == b"packed"
    assert len(made) == 1
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["key"]


def test_what_a_killed_process_began_is_removed_and_what_a_living_one_makes_stays(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    left, mine = tmp_path / f"multiedge-{owner(gone.pid)}-making-a", tmp_path / f"multiedge-{owner()}-making-b"
    left.mkdir()
    mine.mkdir()
    made_once(tmp_path / "key", write, "packed weights")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["key", mine.name])


def test_a_key_changes_with_the_weights_and_not_with_other_files_beside_the_model(tmp_path: Path) -> None:
    model, weights = tmp_path / "m.onnx", tmp_path / "m.data"
    model.write_bytes(b"a model whose weights are in m.data")
    weights.write_bytes(b"weights")
    before = key_of(model, "settings")
    (tmp_path / "log.txt").write_text("written while the model is used")
    assert key_of(model, "settings") == before
    assert key_of(model, "others") != before
    weights.write_bytes(b"other weights")
    assert key_of(model, "settings") != before


def test_choices_are_those_of_the_weights_and_of_copies_of_them(tmp_path: Path) -> None:
    def external(name: str, seed: int) -> Path:
        path = tmp_path / name / "m.onnx"
        path.parent.mkdir()
        model = layers(1, 64, weights=[noise(64, 64, seed=seed)])
        onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0)
        return path

    device, first, retrained = Device("d", backend=AUTO_BACKEND), external("first", 1), external("retrained", 2)
    assert first.read_bytes() == retrained.read_bytes()
    copy = Path(shutil.copytree(first.parent, tmp_path / "copy")) / first.name
    assert path_of(copy, device) == path_of(first, device) != path_of(retrained, device)


def test_what_is_no_onnx_model_is_known_by_its_bytes(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx", "c.param"):
        (tmp_path / name).write_text("other" if name == "b.onnx" else "text")
    assert content_of(tmp_path / "a.onnx") == content_of(tmp_path / "c.param") != content_of(tmp_path / "b.onnx")


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    def fill(draft: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match="packed weights cannot be kept here: No space left on device"):
        made_once(tmp_path / "kept" / "key", fill, "packed weights")
    assert list((tmp_path / "kept").iterdir()) == []
