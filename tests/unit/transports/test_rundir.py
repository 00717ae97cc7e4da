"""The folder of a run: private, named after its process, and swept up when that process has gone."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from multiedge.errors import PipelineError
from multiedge.executors.workers.board import Board
from multiedge.files import owner
from multiedge.transports import rundir

DEAD = 2**22 + 1
"""Above every process number that Linux gives."""


def test_a_new_folder_is_private_and_names_its_process(tmp_path: Path) -> None:
    made = rundir.make(tmp_path)
    assert made.parent == tmp_path
    assert made.name.startswith(f"multiedge-{owner()}-")
    assert made.stat().st_mode & 0o077 == 0


def test_every_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    assert len({rundir.make(tmp_path) for _ in range(3)}) == 3
    assert len(list(tmp_path.iterdir())) == 3, "folders of a living process are left alone"


def test_removing_takes_what_is_inside_and_may_happen_twice(tmp_path: Path) -> None:
    made = rundir.make(tmp_path)
    (made / "slot-1").write_bytes(b"x")
    rundir.remove(made)
    rundir.remove(made)
    assert not made.exists()


def test_a_new_run_removes_folders_of_dead_processes_and_no_others(tmp_path: Path) -> None:
    names = {
        f"multiedge-{owner(DEAD)}-abc": False,
        f"multiedge-{owner()}-abc": True,
        f"multiedge-{DEAD}.1-abc": True,
        "multiedge-cache-abc": True,
        "multiedge-1-abc": True,
        f"other-{DEAD}-abc": True,
    }
    for name in names:
        (tmp_path / name / "inside").mkdir(parents=True)
    made = rundir.make(tmp_path)
    assert {name: (tmp_path / name).exists() for name in names} == names
    assert made.exists()


def test_without_shared_memory_temporary_files_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "SHARED", tmp_path / "absent")
    monkeypatch.setattr(rundir, "has_shared_memory", lambda: False)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    assert rundir.make().parent == tmp_path


def test_shared_memory_needs_a_folder_that_can_be_written(tmp_path: Path) -> None:
    assert rundir.has_shared_memory(tmp_path)
    assert not rundir.has_shared_memory(tmp_path / "absent")
    (tmp_path / "file").touch()
    assert not rundir.has_shared_memory(tmp_path / "file")


@pytest.mark.parametrize(("free_blocks", "free_files"), [(0, 9), (4095, 9), (4096, 0)])
def test_full_shared_memory_is_none(tmp_path: Path, free_blocks: int, free_files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    state = SimpleNamespace(f_bavail=free_blocks, f_frsize=4096, f_favail=free_files, f_files=9)
    monkeypatch.setattr(os, "statvfs", lambda path: state)
    assert not rundir.has_shared_memory(tmp_path)


def test_what_has_no_room_is_one_line_and_no_bus_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, begin: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(PipelineError, match=r"no room for 2\.0 MiB \(No space left on device\); free shared memory"):
        rundir.reserve(0, 2 << 20, tmp_path / "board")
    with pytest.raises(PipelineError, match=r"no room for 0\.0 MiB"):
        Board(tmp_path, "nano")
    with pytest.raises(PipelineError, match="no folder can be made for the run: no such file or directory"):
        rundir.make(tmp_path / "absent")


@pytest.mark.parametrize("name", ["nano", "../../etc/passwd", "a/b", "ü", ".", "", "a\nb", "/" * 300], ids=repr)
def test_a_device_of_any_name_has_a_file_inside_the_folder(tmp_path: Path, name: str) -> None:
    path = rundir.file_of(tmp_path, "inbox", name)
    path.touch()
    assert path.parent == tmp_path
    assert path.resolve().parent == tmp_path.resolve()
    assert len(path.name) <= len("inbox-") + rundir.MOST_CHARACTERS


def test_different_names_have_different_files(tmp_path: Path) -> None:
    names = ["a/b", "a%2Fb", "a_b", "a b", "a", "n" * 32, "n" * 33, "n" * 300, "n" * 300 + "m"]
    assert len({rundir.file_of(tmp_path, "inbox", name) for name in names}) == len(names)
    assert rundir.file_of(tmp_path, "inbox", "a") != rundir.file_of(tmp_path, "host", "a")
