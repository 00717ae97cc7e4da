"""Atomic writing: the old file or the new one whole, no temporary left, and refusals of one line."""

import errno
import os
import platform
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from multiedge import files
from multiedge.errors import ConfigError, PlanError
from multiedge.files import TEMPORARY, is_orphan, owner, replacing, require_writable, temporary_folder, write_bytes, write_text


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_made_with_its_folders_and_replaced(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    assert write_text(path, "é\n") == path
    assert path.read_bytes() == "é\n".encode()
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["file.txt"]


def test_the_old_file_stands_until_the_block_ends(tmp_path):
    path = write_text(tmp_path / "file", "old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
        assert [entry.name for entry in tmp_path.glob(TEMPORARY)] != []
    assert path.read_text() == "new"


@pytest.mark.parametrize("failure", [RuntimeError("own"), KeyboardInterrupt(), OSError(errno.EIO, "of another file")])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    path = write_text(tmp_path / "file", "old")

    def write_half():
        with replacing(path) as file:
            file.write(b"half")
            raise failure

    with pytest.raises(type(failure)) as caught:
        write_half()
    assert caught.value is failure
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_is_one_line_with_place_and_remedy(tmp_path, monkeypatch, step):
    path = write_text(tmp_path / "file", "old")

    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(PlanError) as caught:
        write_text(path, "new", error=PlanError)
    assert str(caught.value) == f"{path}: cannot be written: no space left on device; free some space"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_disk_that_fills_up_within_the_block_is_one_line_too(tmp_path):
    with (
        pytest.raises(ConfigError, match="cannot be written: no space left on device; free some space"),
        replacing(tmp_path / "file"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_paths_that_can_hold_no_file_are_refused_in_one_line(tmp_path):
    write_text(tmp_path / "file", "")
    os.mkfifo(tmp_path / "pipe")
    refusals = {
        ".": f"{tmp_path}: is a folder; expected a path for a file",
        "pipe": f"{tmp_path}/pipe: is no regular file; expected a path for a file",
        "file/below": f"{tmp_path}/file/below: cannot be written: file exists; choose another path",
        "x" * 300: f"{tmp_path}/{'x' * 300}: cannot be written: file name too long; choose another path",
        "a\0b": f"'{tmp_path}/a\\x00b': a path cannot hold a null character",
    }
    for name, message in refusals.items():
        with pytest.raises(ConfigError) as caught:
            write_text(tmp_path / name, "text")
        assert str(caught.value) == message
    assert names(tmp_path) == ["file", "pipe"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be written: permission denied; choose another path"):
        write_text(tmp_path / "file", "text")


def test_a_link_is_followed(tmp_path):
    write_text(tmp_path / "file", "old")
    (tmp_path / "link").symlink_to("file")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_permissions_are_those_of_any_new_file_or_narrower_if_asked(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    write_text(tmp_path / "file", "text")
    assert (tmp_path / "file").stat().st_mode == plain.stat().st_mode
    with replacing(tmp_path / "secret", mode=0o600, sync=False) as file:
        file.write(b"text")
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_name_of_full_length_can_be_written(tmp_path):
    write_text(tmp_path / ("x" * 255), "text")
    assert names(tmp_path) == ["x" * 255]


DEAD = 2**22 + 1
"""Above every process number that Linux gives."""
HERE = owner().partition(".")[2]


@pytest.mark.parametrize(
    ("name", "orphan"),
    [
        pytest.param(f"{owner(DEAD)}-x", True, id="dead"),
        pytest.param(f"{owner()}-x", False, id="this-process"),
        pytest.param(f"1.{HERE}-x", False, id="another-process"),
        pytest.param(f"{DEAD}.1-x", False, id="of-another-pid-namespace"),
        pytest.param(f"{DEAD}-x", False, id="of-an-unknown-pid-namespace"),
        pytest.param(f".{HERE}-x", False, id="no-number"),
        pytest.param(f"12a.{HERE}-x", False, id="not-a-number"),
        pytest.param("", False, id="nothing"),
        pytest.param(f"\N{SUPERSCRIPT TWO}.{HERE}-x", False, id="a-digit-that-is-no-number"),
        pytest.param(f"{10**30}.{HERE}-x", False, id="above-every-process-number"),
    ],
)
def test_an_orphan_is_what_a_process_of_this_namespace_left_that_has_gone(name, orphan):
    assert is_orphan(name) is orphan


def test_what_another_host_has_made_is_no_orphan_although_its_first_namespace_has_the_same_number(monkeypatch):
    with monkeypatch.context() as there:
        there.setattr(platform, "node", lambda: "another-host")
        files._pid_namespace.cache_clear()
        name = f"{owner(DEAD)}-x"
        assert is_orphan(name)
    files._pid_namespace.cache_clear()
    assert not is_orphan(name)
    assert is_orphan(f"{owner(DEAD)}-x")


def test_a_process_that_may_not_be_signalled_is_alive(monkeypatch):
    def refused(pid, signal):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert not is_orphan(f"77.{HERE}-x")


def test_partial_files_of_killed_processes_are_removed_and_no_others(tmp_path):
    others = [f".{owner()}-a.partial", f".{DEAD}.1-a.partial", ".mine.partial", "a.partial"]
    for name in (*others, f".{owner(DEAD)}-a.partial"):
        (tmp_path / name).touch()
    write_text(tmp_path / "file", "x")
    assert names(tmp_path) == sorted([*others, "file"])


def test_a_temporary_folder_ends_with_its_block_and_those_of_killed_processes_with_the_next(tmp_path):
    (tmp_path / f"multiedge-{owner(DEAD)}-segments-a" / "inside").mkdir(parents=True)
    with temporary_folder("segments-", tmp_path) as folder:
        (folder / "part").touch()
        assert names(tmp_path) == [folder.name]
        assert folder.name.startswith(f"multiedge-{owner()}-segments-")
    assert names(tmp_path) == []


def test_whether_a_file_can_be_written_is_known_before_and_leaves_nothing(tmp_path):
    path = write_text(tmp_path / "file", "old")
    require_writable(path)
    require_writable(tmp_path / "new" / "file")
    assert path.read_text() == "old"
    assert names(tmp_path / "new") == []
    for place in (tmp_path, path / "below"):
        with pytest.raises(ConfigError):
            require_writable(place)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system has no /proc")
def test_files_of_a_process_that_has_ended_are_orphans_before_its_parent_asks_for_its_status() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        name = f"{owner(process.pid)}-file"
        assert not is_orphan(name)
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_orphan(name)
