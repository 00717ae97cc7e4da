import os
import sys

import pytest

from docs import generate
from multiedge.cli import COMMANDS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where pages are written meanwhile."""
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    return tmp_path


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["generate.py", *arguments])
    return generate.main()


def test_the_committed_pages_are_up_to_date():
    assert generate.outdated(generate.FOLDER) == []


def test_the_environment_stays_as_it_was():
    before = dict(os.environ)
    generate.commands()
    assert dict(os.environ) == before


def test_pages_that_were_written_pass_the_check(folder, monkeypatch):
    assert run(monkeypatch) == 0
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == set(generate.PAGES)
    assert run(monkeypatch, "--check") == 0


def test_the_check_names_pages_that_are_missing_or_differ_and_writes_nothing(folder, monkeypatch, capsys):
    run(monkeypatch)
    (folder / "benchmarks.md").unlink()
    (folder / "commands.md").write_text("old", encoding="utf-8")
    assert run(monkeypatch, "--check") == 1
    assert "commands.md, benchmarks.md; run: python docs/generate.py" in capsys.readouterr().err
    assert not (folder / "benchmarks.md").exists()
    assert (folder / "commands.md").read_text(encoding="utf-8") == "old"


def test_every_command_has_a_section_with_its_options():
    shown = generate.commands()
    assert [name for name in COMMANDS if f"\n## multiedge {name}\n" not in shown] == []
    assert "usage: ianvs" in shown
