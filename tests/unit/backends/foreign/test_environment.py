"""Environments: set up once, complete or not at all, apart from this process's packages."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from multiedge.backends.foreign import environment as module
from multiedge.backends.foreign.environment import Environment, foreign_environment
from multiedge.errors import ModelError

VERSION = "{}.{}".format(*sys.version_info)


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def wheel(folder: Path) -> Path:
    """A package `tiny` with a constant."""
    path = folder / "tiny-1.5-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "VALUE = 7\n")
        archive.writestr("tiny-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.5\n")
        archive.writestr("tiny-1.5.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.5.dist-info/RECORD", "")
    return path


@pytest.mark.slow
def test_packages_are_installed_once_and_hide_those_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(tmp_path)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    made = Environment("tiny", VERSION, ("tiny==1.5",))
    python = made.set_up()
    code = "import tiny, importlib.util as u; print(tiny.VALUE, u.find_spec('numpy'))"
    done = subprocess.run([python, "-c", code], env=foreign_environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "7 None\n"
    assert made.installed("tiny") == "1.5"
    monkeypatch.setattr(module.subprocess, "run", None)  # nothing is started the second time
    assert made.set_up() == python


@pytest.mark.slow
def test_what_cannot_be_installed_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    made = Environment("gone", VERSION, ("no-such-package==1",))
    with pytest.raises(ModelError, match=rf"^.*packages no-such-package==1 for Python {VERSION} cannot be installed: ERROR: "):
        made.set_up()
    assert list(made.folder.parent.iterdir()) == []
    assert made.installed("tiny") == ""


def test_an_environment_whose_interpreter_was_removed_is_set_up_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def install(self: Environment, interpreter: Path, draft: Path) -> None:
        (draft / "bin").mkdir()
        (draft / "bin" / "python").touch()

    monkeypatch.setattr(Environment, "_install", install)
    made = Environment("tiny", VERSION, ("tiny==1.5",), sys.executable)
    made.executable.parent.mkdir(parents=True)
    made.executable.symlink_to("/gone")
    (made.folder / "old").touch()
    assert made.set_up().exists()
    assert [path.name for path in made.folder.iterdir()] == ["bin"]


def test_other_packages_are_another_folder() -> None:
    assert Environment("a", "3.12", ("x==1",)).folder != Environment("a", "3.12", ("x==2",)).folder


def test_variables_that_lead_to_this_processs_packages_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/here")
    monkeypatch.setenv("KEPT", "1")
    assert "PYTHONPATH" not in foreign_environment()
    assert foreign_environment()["KEPT"] == "1"
