"""Conversions that are killed, hang, or are wanted by several processes: nothing is left, and each part is converted once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from multiedge.backends.conversion.ready import converted
from multiedge.backends.conversion.record import Conversion, State
from multiedge.backends.loading import child_environment
from multiedge.backends.stages import open_part
from multiedge.errors import ChangedError
from tests.builders.children import own_children
from tests.builders.conversions import Slow
from tests.builders.pipelines import small_model, vectors

CONVERT = """
import json, sys
from pathlib import Path
from multiedge.backends.conversion.ready import converted
from tests.builders.conversions import Slow
options, model, keep = json.loads(sys.argv[1])
print(converted(Slow(**options), Path(model), Path(keep)).state.value, flush=True)
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model, with temporary files of this test in a folder of its own."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return small_model(tmp_path / "model.onnx")


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def log_of(model: Path) -> Path:
    return model.with_name("log")


def pids(model: Path) -> list[int]:
    log = log_of(model)
    return [int(line) for line in log.read_text().splitlines()] if log.is_file() else []


def eventually(is_so: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
    until = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < until, what
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def require_nothing_left(model: Path, keep: Path, files: tuple[str, ...]) -> None:
    assert list((model.parent / "temporary").iterdir()) == []
    assert sorted(path.suffix for path in keep.iterdir()) == sorted(files)
    assert own_children() == []


def start(backend: Slow, model: Path, keep: Path) -> subprocess.Popen[str]:
    """Another process that converts."""
    request = json.dumps([asdict(backend), str(model), str(keep)])
    words = [sys.executable, "-c", CONVERT, request]
    return subprocess.Popen(words, env=child_environment(), stdout=subprocess.PIPE, text=True)


def killed_after(seconds: float, backend: Slow, model: Path, keep: Path) -> Conversion:
    """The record of a conversion whose process is killed so long after it was started."""
    ended: list[Conversion] = []
    thread = threading.Thread(target=lambda: ended.append(converted(backend, model, keep)))
    thread.start()
    eventually(lambda: bool(own_children()) or not thread.is_alive(), "no conversion was started")
    time.sleep(seconds)
    for child in own_children():
        child.kill()
    thread.join(60)
    return ended[0]


def test_a_killed_conversion_leaves_nothing_and_the_second_run_after_it_converts_nothing(model: Path, keep: Path) -> None:
    slow = Slow(seconds=600, log=str(log_of(model)), helper=True)
    killing = threading.Thread(target=lambda: (eventually(lambda: bool(pids(model)), "not begun"), own_children()[0].kill()))
    killing.start()
    ended = converted(slow, model, keep)
    killing.join()
    assert (ended.state, ended.is_final) == (State.FAILED, False)
    assert ended.reason.endswith("model.onnx: the conversion ended early: it was stopped by signal 9")
    eventually(lambda: is_gone(pids(model)[0]), "the process that the converter had started is still there")
    require_nothing_left(model, keep, (".json",))


@pytest.mark.slow
def test_a_conversion_that_hangs_is_stopped(model: Path, keep: Path) -> None:
    ended = converted(Slow(seconds=600, log=str(log_of(model)), helper=True), model, keep, limit_s=4)
    assert (ended.state, ended.is_final) == (State.FAILED, False)
    assert "it took longer than 4 s and was stopped; give it more with: multiedge convert --limit" in ended.reason
    eventually(lambda: all(map(is_gone, pids(model))), "the process that the converter had started is still there")
    require_nothing_left(model, keep, (".json",))


@pytest.mark.slow
def test_a_conversion_ends_with_the_process_that_waits_for_it(model: Path, keep: Path) -> None:
    waiting = start(Slow(seconds=600, log=str(log_of(model))), model, keep)
    eventually(lambda: bool(pids(model)), "not begun")
    waiting.kill()
    waiting.communicate()
    eventually(lambda: is_gone(pids(model)[0]), "the conversion goes on")
    assert converted(Slow(log=str(log_of(model))), model, keep).state is State.SUCCESS
    require_nothing_left(model, keep, ("", ".json", ".json"))


@pytest.mark.slow
def test_of_two_processes_one_converts_and_the_other_waits(model: Path, keep: Path) -> None:
    processes = [start(Slow(seconds=1, log=str(log_of(model))), model, keep) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in processes] == ["success\n", "success\n"]
    assert len(pids(model)) == 1
    require_nothing_left(model, keep, ("", ".json"))


def test_what_is_written_to_after_it_was_ready_answers_nothing_and_is_converted_again(model: Path, keep: Path) -> None:
    backend, item = Slow(log=str(log_of(model))), vectors(1)[0]
    session = open_part(backend, model, keep=keep)
    expected = session.run(item)["y"]
    (made,) = keep.glob("*/model.slow")
    with made.open("r+b") as file:
        file.write(b"\0\0\0\0")
    with pytest.raises(ChangedError, match=r"'model.slow' has changed since it was loaded; open it again, which converts it"):
        session.run(item)
    again = open_part(backend, model, keep=keep)
    assert (again.run(item)["y"] == expected).all()
    assert len(pids(model)) == 2
    open_part(backend, model, keep=keep)
    assert len(pids(model)) == 2


@pytest.mark.slow
def test_conversions_killed_at_any_moment_leave_nothing(model: Path, keep: Path) -> None:
    backend = Slow(seconds=0.3, log=str(log_of(model)))
    began = time.monotonic()
    assert converted(backend, model, keep).state is State.SUCCESS
    took_s = time.monotonic() - began
    for number in range(4):
        other = Slow(seconds=0.3 + 0.01 * (number + 1), log=str(log_of(model)))  # another conversion
        ended = killed_after(random.Random(number).uniform(0, 1.1 * took_s), other, model, keep)
        assert list((model.parent / "temporary").iterdir()) == []
        assert not [path for path in keep.iterdir() if path.name.startswith((".", "multiedge-"))]
        if ended.state is State.FAILED:
            assert converted(other, model, keep).state is State.SUCCESS
        before = len(pids(model))
        assert converted(other, model, keep).state is State.SUCCESS
        assert len(pids(model)) == before
