"""The starter's side of a worker process: start it, talk to it, see how it is, end it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multiedge.errors import PipelineError
from multiedge.executors.workers.board import Board
from multiedge.fleet import Device
from multiedge.measurements import Memory
from multiedge.meters.memory import read_memory
from multiedge.transports.rundir import file_of

WORKER_MODULE = "multiedge.executors.workers.worker"


class WorkerProcess:
    """A spawned interpreter that does the work of `device`.

    It is started by command line and not by forking: it inherits neither memory nor open files, does not import the
    caller's main module, and its peak memory is its own. `prefix` goes before its command line; what it runs must become
    the worker, keeping its process.
    """

    def __init__(self, directory: Path, device: Device, hello: Mapping[str, Any], prefix: Sequence[str] = ()) -> None:
        self.device = device
        self.started_s = time.monotonic()
        self.board = Board(directory, device.name)
        self.board.clear()
        self._errors = file_of(directory, "stderr", device.name)
        ours, theirs = socket.socketpair()
        try:
            with open(self._errors, "wb") as errors:
                self._process = subprocess.Popen(
                    [
                        *prefix,
                        sys.executable,
                        "-m",
                        "multiedge.executors.workers.worker",
                        os.fspath(directory),
                        str(theirs.fileno()),
                    ],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stderr=errors,
                    env=_environment(),
                )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self._socket = ours
        self._rest = b""
        self.say(**hello)

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, **command: Any) -> None:
        """Sends a command; a worker that has ended is noticed by `ended`, not here."""
        data = json.dumps(command).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.setblocking(True)
            self._socket.settimeout(1.0)
            try:
                self._socket.sendall(data)
            except TimeoutError as error:
                raise PipelineError(f"the worker of '{self.device.name}' takes no commands") from error
            finally:
                self._socket.setblocking(False)

    def said(self) -> list[dict[str, Any]]:
        """What the worker has answered since."""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while data := self._socket.recv(1 << 16):
                self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines]

    def ended(self) -> str:
        """How the process ended, in words; '' while it runs."""
        code = self._process.poll()
        if code is None:
            return ""
        how = f"killed by signal {-code}" if code < 0 else f"ended with status {code}"
        lines = self._errors.read_text(errors="replace").strip().splitlines() if self._errors.exists() else []
        return f"{how}: {lines[-1]}" if lines else how

    def silent_s(self) -> float:
        """Seconds since the last sign of life; 0 while it is still starting."""
        beat_s = self.board.heartbeat_s
        return 0.0 if beat_s is None else time.monotonic() - beat_s

    def memory_now(self) -> int:
        """Resident bytes; 0 where the system does not say."""
        return read_memory(self.pid).resident_bytes or 0

    def memory(self) -> Memory:
        """What the process takes and has taken at most; what it last showed of itself if it has ended."""
        reading = read_memory(self.pid)
        if reading.peak_bytes is None:
            reading = self.board.memory
        parts = (reading.peak_bytes, reading.anonymous_bytes, reading.file_bytes)
        return Memory(self.device.name, *parts, limit_bytes=self.device.memory_bytes, method=reading.method)

    def stop(self) -> None:
        """Asks the process to end."""
        with contextlib.suppress(PipelineError, OSError):
            self.say(do="stop")

    def end(self, patience_s: float = 0.0) -> None:
        """Waits up to `patience_s` for the process to end, then kills it; it is gone when this returns."""
        try:
            self._process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._socket.close()


def _environment() -> dict[str, str]:
    """Ours, with our import path, and without thread pools that only the runtime should have."""
    pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **pools, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
