"""What a run ran on, and nothing that names a person, a host or a path."""

from __future__ import annotations

import getpass
import json
import os
import platform
import subprocess
from pathlib import Path

import pytest

from multiedge import __version__
from multiedge.report import environment
from multiedge.report.environment import commit, machine, versions


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_versions_of_what_figures_depend_on() -> None:
    known = versions()
    assert known["multiedge"] == __version__
    assert known["python"] == platform.python_version()
    assert {"numpy", "onnx", "onnxruntime"} <= set(known)


def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "no-such-package"))
    assert set(versions()) == {"multiedge", "python", "numpy"}


def test_the_machine_is_described_and_not_named() -> None:
    described = machine()
    assert described["cores"] >= 1
    assert described["memory_bytes"] > 1 << 20
    assert described["processor"]
    text = json.dumps([described, versions()])
    assert platform.node() not in text or len(platform.node()) < 4
    assert f"/{getpass.getuser()}/" not in text


def test_the_processors_this_process_may_use_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3}, raising=False)
    assert machine()["cores"] == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine()["cores"] == 6


@pytest.mark.parametrize(
    ("text", "fallback", "processor"),
    [
        ("model name\t: Example CPU @ 2GHz\nmodel name\t: Other\n", "x86_64", "Example CPU @ 2GHz"),
        ("processor\t: 0\nModel\t\t: Raspberry Pi 5\n", "", "Raspberry Pi 5"),
        ("processor\t: 0\n", "aarch64", "aarch64"),
        ("", "", "unknown"),
    ],
    ids=["x86", "pi", "no-name", "nothing"],
)
def test_the_name_of_the_processor(
    text: str, fallback: str, processor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(environment, "Path", lambda path: tmp_path / Path(path).name)
    monkeypatch.setattr(platform, "processor", lambda: fallback)
    assert machine()["processor"] == processor


def test_without_cpuinfo_the_platform_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "Path", lambda path: tmp_path / "absent")
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert machine()["processor"] == "arm"


def test_a_commit_is_marked_where_files_differ_from_it(checkout: Path) -> None:
    clean = commit(checkout)
    assert clean is not None
    assert len(clean) == 12
    (checkout / "file").write_text("two")
    assert commit(checkout) == f"{clean}+"


def test_untracked_files_do_not_mark_a_commit(checkout: Path) -> None:
    (checkout / "notes").touch()
    known = commit(checkout)
    assert known is not None
    assert not known.endswith("+")


def test_there_is_no_commit_outside_a_checkout_or_below_somebody_elses(checkout: Path, tmp_path: Path) -> None:
    (checkout / "site-packages").mkdir()
    assert commit(checkout / "site-packages") is None


def test_there_is_no_commit_without_git(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert commit(checkout) is None


def test_there_is_no_commit_in_a_damaged_checkout(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert commit(tmp_path) is None
