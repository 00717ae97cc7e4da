"""Paths that a file states are followed within its folder alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from multiedge.errors import ModelError
from multiedge.onnx_io.inside import resolve_inside


def test_a_linked_folder_is_the_one_that_it_leads_to(tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    (tmp_path / "alias").symlink_to(folder)
    assert resolve_inside(tmp_path / "alias", "w.bin", "here") == (folder / "w.bin").resolve()


def test_a_relative_folder_is_that_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        (tmp_path / name / "parts").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        assert resolve_inside(Path("parts"), "weights.bin", "model") == tmp_path.resolve() / name / "parts" / "weights.bin"


@pytest.mark.parametrize("location", ["", "/etc/passwd", "../w.bin", "inner/../../w.bin", "w\0.bin", "out/w.bin"])
def test_what_leads_out_of_the_folder_is_refused_with_its_place(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    with pytest.raises(ModelError, match="plan: external data"):
        resolve_inside(folder, location, "plan")
