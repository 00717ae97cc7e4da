"""`multiedge attach`: what it prints before, after and again, on a stand-in for a checkout of Ianvs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from multiedge.cli import main
from multiedge.ianvs.attach import PARADIGM
from tests.builders import ianvs_standin


@pytest.fixture
def checkout(tmp_path: Path) -> str:
    return str(ianvs_standin.write(tmp_path / "ianvs"))


def attach(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["attach", *words]) == 0
    return capsys.readouterr().out.strip()


def test_each_outcome_is_one_line(checkout: str, capsys) -> None:
    absent = f"{checkout}: Ianvs's own paradigm is in place, nothing is attached"
    assert attach(capsys, checkout, "--status") == absent
    first = attach(capsys, checkout)
    assert first.startswith(f"{checkout}: the paradigm of multi-edge-bench ")
    assert first.endswith(f" is now in {PARADIGM}")
    assert attach(capsys, checkout).endswith(f" is already in {PARADIGM}")
    assert attach(capsys, checkout, "--detach") == f"{checkout}: Ianvs's own paradigm is back"
    assert attach(capsys, checkout, "--status") == absent


def test_json_has_whether_it_changed_and_what_is_attached(checkout: str, capsys) -> None:
    assert json.loads(attach(capsys, checkout, "--status", "--json")) == {"changed": False, "attached": None}
    after = json.loads(attach(capsys, checkout, "--json"))
    assert after["changed"] is True
    assert after["attached"]["edited"] == []


def test_status_changes_nothing(checkout: str, capsys) -> None:
    before = sorted(path for path in Path(checkout).rglob("*"))
    attach(capsys, checkout, "--status")
    assert sorted(path for path in Path(checkout).rglob("*")) == before


def test_edited_files_are_named(checkout: str, capsys) -> None:
    attach(capsys, checkout)
    file = next((Path(checkout) / PARADIGM).glob("*.py"))
    file.write_text("edited")
    assert "; edited since: " in attach(capsys, checkout, "--status")


def test_a_folder_that_is_no_checkout_is_one_line(tmp_path: Path, capsys) -> None:
    assert main(["attach", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
