import subprocess
import sys
from pathlib import Path

import pytest

from multiedge.backends.kept import key_of, made_once
from multiedge.errors import ModelError
from multiedge.files import owner


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


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    def fill(draft: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match="packed weights cannot be kept here: No space left on device"):
        made_once(tmp_path / "kept" / "key", fill, "packed weights")
    assert list((tmp_path / "kept").iterdir()) == []
