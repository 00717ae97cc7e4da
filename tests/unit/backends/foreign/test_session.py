"""A runtime in another process: values, errors, its end with the session and with the caller."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from multiedge.backends.foreign import serve
from multiedge.backends.foreign.environment import Environment
from multiedge.backends.foreign.session import Adapter, ForeignSession
from multiedge.errors import ModelError

ADAPTER = """
import os
import numpy as np


def convert(source, target):
    print("a converter prints")
    text = open(source).read()
    if text == "strange":
        raise ValueError("unknown\\noperator")
    open(target, "w").write(text)


class Model:
    inputs, outputs = ["a", "b"], ["sum", "first"]

    def __init__(self, threads):
        self.threads = threads

    def run(self, arrays):
        os.write(1, b"a runtime prints\\n")
        if not arrays[0].size:
            os.write(2, b"out of range\\n")
            os._exit(3)
        return [arrays[0] + arrays[1], arrays[0] * self.threads]


def open_model(path, threads):
    if open(path).read() != "model":
        raise ValueError("no model")
    return Model(threads)
"""


@dataclass(frozen=True)
class Here(Environment):
    """This process's own packages."""

    def set_up(self) -> Path:
        return Path(sys.executable)


@pytest.fixture
def adapter(tmp_path: Path) -> Adapter:
    (tmp_path / "adapter.py").write_text(ADAPTER)
    (tmp_path / "model").write_text("model")
    return Adapter("Runtime", tmp_path / "adapter.py", Here("here", "3", ()))


@pytest.fixture
def session(adapter: Adapter, tmp_path: Path) -> ForeignSession:
    session = adapter.open(tmp_path / "model", None)
    yield session
    session.close()


def test_values_go_there_and_back_by_name(session: ForeignSession) -> None:
    assert (session.inputs, session.outputs, session.batch_is_free) == (("a", "b"), ("sum", "first"), False)
    strided = np.arange(6, dtype=np.float32).reshape(2, 3).T
    outputs = session.run({"a": strided, "b": np.float32(1), "more": strided})
    np.testing.assert_array_equal(outputs["sum"], strided + 1)
    np.testing.assert_array_equal(outputs["first"], strided)
    assert outputs["sum"].dtype == np.float32
    assert session.run({"a": np.int64(3), "b": np.int64(4)})["sum"] == 7


def test_an_error_of_a_run_is_one_line_and_the_session_stays(session: ForeignSession, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model: Runtime cannot run: ValueError: operands could not be broadcast"):
        session.run({"a": np.ones(2), "b": np.ones(3)})
    with pytest.raises(ModelError, match=r"model: input 'b' was not given"):
        session.run({"a": np.ones(2)})
    assert session.run({"a": np.ones(1), "b": np.ones(1)})["sum"] == 2


def test_a_process_that_ends_is_told_with_its_last_line(session: ForeignSession) -> None:
    for _ in range(2):
        with pytest.raises(ModelError, match=r"Runtime: its process has ended: out of range"):
            session.run({"a": np.ones(0), "b": np.ones(0)})


def test_files_that_it_refuses_are_one_line(adapter: Adapter, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("strange")
    with pytest.raises(ModelError, match=r"bad: Runtime cannot load this file: ValueError: no model"):
        adapter.open(tmp_path / "bad", None)
    with pytest.raises(ModelError, match=r"gone: no such model file"):
        adapter.open(tmp_path / "gone", None)
    with pytest.raises(ModelError, match=r"bad: Runtime cannot convert this file: ValueError: unknown operator"):
        adapter.convert(tmp_path / "bad", tmp_path / "made")
    adapter.convert(tmp_path / "model", tmp_path / "made")
    assert (tmp_path / "made").read_text() == "model"


def test_the_process_ends_with_its_session(adapter: Adapter, tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    session = adapter.open(tmp_path / "model", None)
    (child,) = set(psutil.Process().children()) - before
    session.close()
    assert not child.is_running()
    with pytest.raises(ModelError, match="Runtime: the session was closed"):
        session.run({"a": np.ones(1), "b": np.ones(1)})


def test_the_process_ends_with_a_caller_that_was_killed(adapter: Adapter, tmp_path: Path) -> None:
    code = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, {serve.__file__!r}, {str(adapter.file)!r}, "open", {str(tmp_path / "model")!r}, "1"])
print(child.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        child = psutil.Process(int(caller.stdout.readline()))
        assert caller.stdout.readline()  # its first message: it has begun to watch
        os.kill(caller.pid, signal.SIGKILL)
        until = time.monotonic() + 20
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
            time.sleep(0.05)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_message_that_is_cut_off_or_holds_texts_is_refused() -> None:
    stream = io.BytesIO()
    serve.write_message(stream, {"kind": 1}, {"x": np.ones((2, 0, 3)), "y": np.array(True), "z": np.arange(9)})
    whole = stream.getvalue()
    header, arrays = serve.read_message(io.BytesIO(whole)) or ({}, {})
    assert header == {"kind": 1}
    assert (arrays["x"].shape, arrays["y"].dtype, arrays["z"][8]) == ((2, 0, 3), np.bool_, 8)
    assert serve.read_message(io.BytesIO(b"")) is None
    with pytest.raises(ValueError, match="ends in an array"):
        serve.read_message(io.BytesIO(whole[:-1]))
    with pytest.raises(ValueError, match="'x': expected numbers, got object"):
        serve.write_message(stream, {}, {"x": np.array(["a", 1], dtype=object)})
