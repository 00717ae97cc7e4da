"""Interpreters of a version: where they are looked for, and what is said if there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from multiedge.backends.foreign import interpreters as module
from multiedge.backends.foreign.interpreters import find_interpreter
from multiedge.errors import ConfigError


def script(path: Path, answer: str, status: int = 0) -> Path:
    """A program that prints the version, as an interpreter does when asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {answer}\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without interpreters; PATH is the folder 'bin'."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("MULTIEDGE_PYTHON_2_0", *(variable for variable, *_ in module.MANAGED)):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_an_interpreter_on_the_path_is_found(bare: Path) -> None:
    path = script(bare / "bin" / "python2.0", "2.0")
    assert find_interpreter("2.0", "tool") == path


def test_a_launcher_whose_version_is_not_there_is_passed_over(bare: Path) -> None:
    script(bare / "bin" / "python2.0", "no such version", status=1)
    kept = script(bare / ".pyenv" / "versions" / "2.0.7" / "bin" / "python", "2.0")
    assert find_interpreter("2.0", "tool") == kept


@pytest.mark.parametrize(
    "place",
    [".local/share/uv/python/cpython-2.0.1-linux/bin/python3", ".asdf/installs/python/2.0.1/bin/python"],
)
def test_folders_of_version_managers_are_searched(bare: Path, place: str) -> None:
    path = script(bare / place, "2.0")
    assert find_interpreter("2.0", "tool") == path


def test_a_named_one_comes_first_and_must_be_of_the_version(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(bare / "bin" / "python2.0", "2.0")
    named, other = script(bare / "mine", "2.0"), script(bare / "other", "2.1")
    monkeypatch.setenv("MULTIEDGE_PYTHON_2_0", str(named))
    assert find_interpreter("2.0", "tool") == named
    with pytest.raises(ConfigError, match=r"^tool: option 'python': expected an interpreter of Python 2\.0 .* got '.*other'$"):
        find_interpreter("2.0", "tool", str(other))
    monkeypatch.setenv("MULTIEDGE_PYTHON_2_0", "/gone")
    with pytest.raises(ConfigError, match=r"tool: MULTIEDGE_PYTHON_2_0: expected an interpreter"):
        find_interpreter("2.0", "tool")


def test_none_is_one_line_with_the_remedy(bare: Path) -> None:
    with pytest.raises(ConfigError, match=r"^tool needs Python 2\.0, .*; install it, or set MULTIEDGE_PYTHON_2_0 to its path$"):
        find_interpreter("2.0", "tool")


def test_this_interpreter_serves_for_its_own_version(bare: Path) -> None:
    assert find_interpreter("{}.{}".format(*sys.version_info), "tool") == Path(sys.executable)
