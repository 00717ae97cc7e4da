import json
import os
import re
from pathlib import Path

import pytest

from multiedge import cli
from multiedge.errors import ConfigError
from multiedge.ianvs import attach
from tests.builders import ianvs_standin

ROOT = Path(__file__).parents[3]
MARK = "# multiedge attach\n"


@pytest.fixture(autouse=True)
def no_command(monkeypatch):
    """As if no command `ianvs` were installed; tests/unit/ianvs/test_command.py has the commands."""
    monkeypatch.setattr("multiedge.commands.attach.find_command", lambda: None)


@pytest.fixture
def checkout(tmp_path):
    return ianvs_standin.write(tmp_path / "ianvs")


@pytest.fixture
def host(tmp_path):
    """A host whose paradigm has one file that Ianvs's has, and one that it has not."""
    folder = tmp_path / "host"
    (folder / attach.PARADIGM).mkdir(parents=True)
    for number, name in enumerate(("multiedge_inference.py", "partitioning.py"), 1):
        (folder / attach.PARADIGM / name).write_text(f"{MARK}OURS = {number}\n", encoding="utf-8")
    return folder


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_attaching_changes_the_paradigms_folder_alone(checkout, host):
    before = tree(checkout)
    assert attach.attach(checkout, host) is True
    after = tree(checkout)
    changed = {name for name in after if before.get(name) != after[name]}
    assert all(name.startswith(f"{ianvs_standin.PARADIGM}/") for name in changed)
    assert after[str(attach.PARADIGM / "multiedge_inference.py")] == f"{MARK}OURS = 1\n".encode()
    assert after[str(attach.PARADIGM / "partitioning.py")] == f"{MARK}OURS = 2\n".encode()
    assert set(before) <= set(after)


def test_detaching_restores_every_byte(checkout, host):
    before = tree(checkout)
    attach.attach(checkout, host)
    assert attach.detach(checkout) is True
    assert tree(checkout) == before


def test_both_ways_are_safe_to_repeat(checkout, host):
    before = tree(checkout)
    attach.attach(checkout, host)
    attached = tree(checkout)
    assert attach.attach(checkout, host) is False
    assert tree(checkout) == attached
    attach.detach(checkout)
    assert attach.detach(checkout) is False
    assert tree(checkout) == before


def test_a_newer_paradigm_takes_the_olders_place(checkout, host):
    before = tree(checkout)
    attach.attach(checkout, host)
    (host / attach.PARADIGM / "partitioning.py").rename(host / attach.PARADIGM / "cutting.py")
    assert attach.attach(checkout, host) is True
    assert not (checkout / attach.PARADIGM / "partitioning.py").exists()
    assert (checkout / attach.PARADIGM / "cutting.py").exists()
    attach.detach(checkout)
    assert tree(checkout) == before


@pytest.mark.parametrize("way", ["attach", "detach"])
def test_an_edit_made_since_is_never_lost(checkout, host, way):
    attach.attach(checkout, host)
    (checkout / attach.PARADIGM / "partitioning.py").write_text(f"{MARK}EDITED = 1\n", encoding="utf-8")
    assert attach.find(checkout).edited == ("partitioning.py",)
    with pytest.raises(ConfigError, match=r"edited since they were attached: .*partitioning.py; move your changes elsewhere"):
        attach.attach(checkout, host) if way == "attach" else attach.detach(checkout)
    assert (checkout / attach.PARADIGM / "partitioning.py").read_text(encoding="utf-8") == f"{MARK}EDITED = 1\n"


NEWER = "NEWER = 1\n"


@pytest.mark.parametrize("content", [None, NEWER], ids=["git restore", "upgrade"])
def test_files_that_git_or_an_installation_restored_are_found_and_replaced_again(checkout, host, content):
    file = checkout / attach.PARADIGM / "multiedge_inference.py"
    original = file.read_text(encoding="utf-8")
    attach.attach(checkout, host)
    file.write_text(content or original, encoding="utf-8")
    assert attach.find(checkout).restored == ("multiedge_inference.py",)
    assert attach.attach(checkout, host) is True
    assert file.read_text(encoding="utf-8") == f"{MARK}OURS = 1\n"
    assert attach.find(checkout).restored == ()
    attach.detach(checkout)
    assert file.read_text(encoding="utf-8") == (content or original)
    assert not (checkout / attach.PARADIGM / "partitioning.py").exists()


def test_an_upgraded_ianvs_is_left_as_it_is_by_detaching(checkout, host):
    before = tree(checkout)
    attach.attach(checkout, host)
    (checkout / attach.PARADIGM / "multiedge_inference.py").write_text(NEWER, encoding="utf-8")
    attach.detach(checkout)
    assert tree(checkout) == {**before, str(attach.PARADIGM / "multiedge_inference.py"): NEWER.encode()}


def test_files_that_were_removed_are_put_in_again(checkout, host):
    attach.attach(checkout, host)
    (checkout / attach.PARADIGM / "partitioning.py").unlink()
    assert attach.find(checkout).restored == ("partitioning.py",)
    assert attach.attach(checkout, host) is True
    assert (checkout / attach.PARADIGM / "partitioning.py").exists()


@pytest.mark.parametrize("way", ["attach", "detach"])
def test_copies_are_newer_than_a_build_folder(checkout, host, way):
    """setuptools copies no file that is older than the one in `build`."""
    for path in (*(host / attach.PARADIGM).glob("*.py"), *(checkout / attach.PARADIGM).glob("*.py")):
        os.utime(path, (1, 1))
    attach.attach(checkout, host)
    if way == "detach":
        attach.detach(checkout)
    assert (checkout / attach.PARADIGM / "multiedge_inference.py").stat().st_mtime > 1e9


def test_a_packed_egg_is_refused_with_the_remedy(tmp_path, host):
    egg = ianvs_standin.write_egg(tmp_path / "ianvs-0.3.0-py3.10.egg")
    with pytest.raises(ConfigError, match=r"\.egg: a packed egg, .*install Ianvs with pip instead: pip install PATH_TO_IANVS"):
        attach.attach(egg, host)


def test_every_file_of_this_projects_paradigm_is_marked_as_such():
    for path in (ROOT / attach.PARADIGM).glob("*.py"):
        assert "multiedge attach" in path.read_text(encoding="utf-8")


def test_an_interrupted_run_can_be_repeated_or_undone(checkout, host, monkeypatch):
    before = tree(checkout)
    with monkeypatch.context() as patch:
        patch.setattr(attach, "_copy", lambda source, target: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            attach.attach(checkout, host)
    assert attach.attach(checkout, host) is True
    assert (checkout / attach.PARADIGM / "partitioning.py").exists()
    attach.detach(checkout)
    assert tree(checkout) == before


@pytest.mark.parametrize("missing", ["core/cmd/benchmarking.py", f"{ianvs_standin.PARADIGM}/base.py"])
def test_what_is_no_checkout_is_left_alone(checkout, host, missing):
    (checkout / missing).unlink()
    before = tree(checkout)
    with pytest.raises(ConfigError, match=f"not a checkout of KubeEdge Ianvs, which would have {missing}"):
        attach.attach(checkout, host)
    assert tree(checkout) == before


def test_our_own_host_is_no_checkout():
    with pytest.raises(ConfigError, match="own host, which has the paradigm already"):
        attach.find(ROOT)


def test_a_damaged_note_is_named(checkout, host):
    attach.attach(checkout, host)
    kept = checkout / ianvs_standin.PARADIGM / ".multiedge_attach" / "state.json"
    note = json.loads(kept.read_text(encoding="utf-8"))
    damages = {
        "{": "not valid JSON: ",
        "[]": "expected a mapping with 'files', got an empty list",
        json.dumps({**note, "version": None}): "version: expected a text, got nothing",
        json.dumps({**note, "files": {"../../x.py": ""}}): "expected the name of a file without a folder, got '../../x.py'",
        json.dumps({**note, "replaced": ["/etc/x.py"]}): "expected the name of a file without a folder, got '/etc/x.py'",
    }
    for text, message in damages.items():
        kept.write_text(text, encoding="utf-8")
        with pytest.raises(
            ConfigError, match=rf"state\.json: .*{re.escape(message)}.*; restore the checkout with git instead$"
        ):
            attach.detach(checkout)


def test_the_command_says_what_is_there(checkout, capsys):
    def said(*words):
        assert cli.main(["attach", str(checkout), *words]) == 0
        return capsys.readouterr().out

    assert "nothing is attached" in said("--status")
    assert "is now in core/testcasecontroller/" in said()
    assert "is already in core/testcasecontroller/" in said()
    assert json.loads(said("--status", "--json"))["attached"]["edited"] == []
    assert "Ianvs's own paradigm is back" in said("--detach")
    assert json.loads(said("--detach", "--json"))["attached"] is None


def test_the_command_puts_in_this_projects_paradigm(checkout, capsys):
    cli.main(["attach", str(checkout)])
    ours = ROOT / attach.PARADIGM
    for path in ours.glob("*.py"):
        assert (checkout / attach.PARADIGM / path.name).read_bytes() == path.read_bytes()


def test_a_wrong_folder_is_one_line(tmp_path, capsys):
    assert cli.main(["attach", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"multiedge attach: error: {tmp_path}: not a checkout of KubeEdge Ianvs")
