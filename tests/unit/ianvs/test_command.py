"""Which `core` the command `ianvs` imports, for commands and installations of each kind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from multiedge.errors import ConfigError
from multiedge.ianvs import command
from multiedge.ianvs.command import IanvsCommand, find_command, remark, require_effect
from tests.builders import ianvs_standin


@pytest.fixture
def binaries(tmp_path, monkeypatch):
    """A folder that is PATH. Nothing but what a test puts on PYTHONPATH is imported first."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(command.sys, "executable", str(tmp_path / "nowhere" / "python"))
    return tmp_path / "bin"


PYTHON = sys.executable


def test_a_checkout_on_the_search_path_is_what_the_command_imports(binaries, tmp_path, monkeypatch):
    checkout = ianvs_standin.write(tmp_path / "ianvs")
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    path = ianvs_standin.write_command(binaries, python=PYTHON)
    found = find_command()
    assert (found.path, found.root, found.is_own_host, found.python) == (path, checkout, False, sys.version_info[:2])
    assert found.imports(checkout)


def test_a_packed_egg_is_found_as_the_file_that_it_is(binaries, tmp_path, monkeypatch):
    egg = ianvs_standin.write_egg(tmp_path / "ianvs-0.3.0-py3.10.egg")
    monkeypatch.setenv("PYTHONPATH", str(egg))
    ianvs_standin.write_command(binaries, python=PYTHON)
    found = find_command()
    assert found.root == egg
    with pytest.raises(ConfigError, match=r"one in .*\.egg; to use this folder, run: pip install -e "):
        require_effect(found, ianvs_standin.write(tmp_path / "ianvs"))


def test_a_checkout_that_is_not_installed_is_not_what_this_projects_command_runs(binaries, tmp_path):
    ianvs_standin.write_command(binaries, "from multiedge.ianvs.host import main", PYTHON)
    found, checkout = find_command(), ianvs_standin.write(tmp_path / "ianvs")
    assert found.is_own_host
    require_effect(found, checkout)
    assert "runs this project's own host, because no KubeEdge Ianvs is installed; to run this one: PYTHONPATH=" in (
        remark(found, checkout)
    )


def test_a_shell_that_starts_the_python_is_read_too(binaries, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ianvs_standin.write(tmp_path / "ianvs")))
    path = ianvs_standin.write_command(binaries, python=PYTHON)
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    path.write_text("\n".join(["#!/bin/sh", f'\'\'\'exec\' "{PYTHON}" "$0" "$@"', "' '''", *lines]), encoding="utf-8")
    assert find_command().root == tmp_path / "ianvs"


@pytest.mark.parametrize("first", ["#!/bin/bash", "#!/nowhere/python", "#!", ""])
def test_a_command_of_unknown_python_is_not_guessed(binaries, first):
    path = ianvs_standin.write_command(binaries, python=PYTHON)
    path.write_text(f"{first}\nexec true\n", encoding="utf-8")
    assert find_command() is None


def test_without_a_command_there_is_none(binaries):
    assert find_command() is None


FOUND = IanvsCommand(Path("/bin/ianvs"), Path("/ianvs"), False, (3, 11), True)


def test_another_core_is_refused_with_both_remedies():
    with pytest.raises(ConfigError, match=r"imports another core, .*multiedge attach /ianvs; to use .*pip install -e /other"):
        require_effect(FOUND, Path("/other"))


def test_an_old_python_is_refused():
    old = IanvsCommand(FOUND.path, FOUND.root, False, (3, 8), True)
    with pytest.raises(ConfigError, match=r"runs on Python 3\.8, and the paradigm needs 3\.10 or newer"):
        require_effect(old, Path("/ianvs"))


def test_a_python_without_this_project_is_remarked():
    assert remark(FOUND, Path("/ianvs")) == "the command /bin/ianvs imports this core"
    without = IanvsCommand(FOUND.path, FOUND.root, False, (3, 11), False)
    assert remark(without, Path("/ianvs")).endswith(
        "its Python has no multi-edge-bench, which partitioning needs: install it there"
    )
