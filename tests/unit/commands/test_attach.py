"""`multiedge attach`: what it prints before, after and again, on a stand-in for a checkout of Ianvs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from multiedge.cli import main
from multiedge.ianvs.attach import PARADIGM
from multiedge.ianvs.command import IanvsCommand
from tests.builders import ianvs_standin


@pytest.fixture
def checkout(tmp_path: Path) -> str:
    return str(ianvs_standin.write(tmp_path / "ianvs"))


@pytest.fixture(autouse=True)
def command(monkeypatch: pytest.MonkeyPatch) -> list[IanvsCommand | None]:
    """What `find_command` finds: none, or the one that a test puts here."""
    found: list[IanvsCommand | None] = [None]
    monkeypatch.setattr("multiedge.commands.attach.find_command", lambda: found[0])
    return found


def attach(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["attach", *words]) == 0
    return capsys.readouterr().out.splitlines()[0]


def test_the_first_line_is_the_outcome(checkout: str, capsys) -> None:
    absent = f"{checkout}: Ianvs's own paradigm is in place, nothing is attached"
    assert attach(capsys, checkout, "--status") == absent
    first = attach(capsys, checkout)
    assert first.startswith(f"{checkout}: the paradigm of multi-edge-bench ")
    assert first.endswith(f" is now in {PARADIGM}")
    assert attach(capsys, checkout).endswith(f" is already in {PARADIGM}")
    assert attach(capsys, checkout, "--detach") == f"{checkout}: Ianvs's own paradigm is back"
    assert attach(capsys, checkout, "--status") == absent


def test_the_second_line_is_what_the_command_ianvs_runs(checkout: str, capsys, command) -> None:
    main(["attach", checkout])
    assert (
        f"there is no command ianvs whose Python is known; to run this one: PYTHONPATH={checkout} python -m core.cmd"
        in (capsys.readouterr().out.splitlines()[1])
    )
    command[0] = IanvsCommand(Path("/bin/ianvs"), Path(checkout), False, (3, 11), True)
    main(["attach", checkout])
    assert capsys.readouterr().out.splitlines()[1] == "the command /bin/ianvs imports this core"


def test_without_a_folder_it_is_where_the_command_ianvs_imports(checkout: str, capsys, command) -> None:
    assert main(["attach"]) == 1
    assert "no command ianvs of KubeEdge Ianvs is installed; give the folder of its checkout" in capsys.readouterr().err
    command[0] = IanvsCommand(Path("/bin/ianvs"), Path(checkout), False, (3, 11), True)
    assert attach(capsys).startswith(f"{checkout}: the paradigm of multi-edge-bench ")


def test_a_checkout_that_the_command_does_not_import_is_not_changed(checkout: str, capsys, command) -> None:
    command[0] = IanvsCommand(Path("/bin/ianvs"), Path("/site"), False, (3, 11), True)
    assert main(["attach", checkout]) == 1
    assert "imports another core, the one in /site; to change that one, run: multiedge attach /site" in capsys.readouterr().err
    assert attach(capsys, checkout, "--status").endswith("nothing is attached")


def test_status_looks_at_the_files(checkout: str, capsys) -> None:
    original = (Path(checkout) / PARADIGM / "multiedge_inference.py").read_bytes()
    attach(capsys, checkout)
    (Path(checkout) / PARADIGM / "multiedge_inference.py").write_bytes(original)
    restored = "git or an installation has since restored multiedge_inference.py; run multiedge attach again"
    assert attach(capsys, checkout, "--status").endswith(restored)
    assert attach(capsys, checkout).endswith(f" is now in {PARADIGM}")


def test_json_has_whether_it_changed_and_what_is_attached(checkout: str, capsys) -> None:
    runs = {"ianvs": None, "core": None, "own_host": False}
    assert json.loads(attach(capsys, checkout, "--status", "--json")) == {"changed": False, "attached": None, "command": runs}
    after = json.loads(attach(capsys, checkout, "--json"))
    assert after["changed"] is True
    assert (after["attached"]["edited"], after["attached"]["restored"]) == ([], [])


def test_status_changes_nothing(checkout: str, capsys) -> None:
    before = sorted(path for path in Path(checkout).rglob("*"))
    attach(capsys, checkout, "--status")
    assert sorted(path for path in Path(checkout).rglob("*")) == before


def test_edited_files_are_named(checkout: str, capsys) -> None:
    attach(capsys, checkout)
    file = next((Path(checkout) / PARADIGM).glob("*.py"))
    file.write_text(file.read_text() + "# edited")
    assert "; edited since: " in attach(capsys, checkout, "--status")


def test_a_folder_that_is_no_checkout_is_one_line(tmp_path: Path, capsys) -> None:
    assert main(["attach", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
