"""The supervisor's side of a worker process: start it, send to it, observe it, end it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from multiedge.errors import PipelineError
from multiedge.executors.workers.board import Board
from multiedge.executors.workers.emulation import Quota
from multiedge.executors.workers.messages import Command, Failed, Hello, Reply, encode, reply_decoder
from multiedge.executors.workers.observation import QUIET_S, Busy, Inactivity, WorkerView
from multiedge.measurements import Memory
from multiedge.meters.cpu import process_cpu_s, process_waited_s, thread_states
from multiedge.meters.memory import MemoryReading, read_memory
from multiedge.transports.rundir import file_of

WORKER_MODULE = "multiedge.executors.workers.worker"
PIECE_BYTES = 1 << 16
REGISTERED_FUNCTIONS = "registered-functions"
"""The argument of a worker whose transforms call functions of installed packages that register them, and no others."""


class WorkerProcess:
    """A spawned interpreter that does the work of a device.

    It is started by command line and not by forking: it inherits neither memory nor open files, does not import the
    caller's main module, and its peak memory is its own. `prefix` goes before its command line; what it runs must become
    the worker, keeping its process. A `quota` is closed with it. `clock` is the one on which `observe` is told what time it is.
    `further` are arguments of the worker's module.
    """

    def __init__(
        self,
        directory: Path,
        hello: Hello,
        prefix: Sequence[str] = (),
        quota: Quota | None = None,
        clock: Callable[[], float] = time.monotonic,
        further: Sequence[str] = (),
    ) -> None:
        self._device, self._quota = hello.device, quota
        self._started_s = clock()
        self._board = Board(directory, self._device.name)
        self._board.clear()
        self._errors = file_of(directory, "stderr", self._device.name)
        self._decoder = reply_decoder(self._device.name)
        self._unsent = b""
        self._is_silent = False
        self._waited: tuple[tuple[int, int], float] | None = None
        self._socket, theirs = socket.socketpair()
        try:
            with open(self._errors, "wb") as errors:
                self._process = subprocess.Popen(
                    [*prefix, sys.executable, "-m", WORKER_MODULE, os.fspath(directory), str(theirs.fileno()), *further],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stderr=errors,
                    env=_environment(),
                )
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._socket.setblocking(False)
        self.send(hello)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def socket(self) -> socket.socket | None:
        """To wait for what it says; None once it can say nothing more."""
        return None if self._is_silent else self._socket

    def send(self, command: Command) -> None:
        """What the worker does not take yet is sent as it is observed."""
        self._unsent += encode(command)
        self._send_rest()

    def observe(self, now_s: float, transfers: int) -> WorkerView:
        self._send_rest()
        board = self._board
        sent, taken = board.counts(transfers)
        silent_s = None if board.heartbeat_s is None else max(0.0, now_s - board.heartbeat_s)
        is_quiet = silent_s is None or silent_s >= QUIET_S
        return WorkerView(
            age_s=now_s - self._started_s,
            silent_s=silent_s,
            ended=self._ending(),
            cpu_s=self.cpu_s() if is_quiet else None,
            inactivity=Inactivity.of(thread_states(self.pid)) if is_quiet else None,
            busy=self._busy(now_s),
            resident_bytes=board.memory.resident_bytes,
            replies=self._replies(),
            sent=sent,
            taken=taken,
        )

    def _busy(self, now_s: float) -> Busy | None:
        """What it computes. Its wait for a processor counts from when the stage has taken QUIET_S, which few stages do."""
        busy = self._board.busy(now_s)
        waited_s = process_waited_s(self.pid) if busy and busy.for_s >= QUIET_S else None
        if busy is None or waited_s is None:
            self._waited = None
            return busy
        key = (busy.stage, busy.sequence)
        if self._waited is None or self._waited[0] != key:
            self._waited = key, waited_s
        return replace(busy, waited_s=waited_s - self._waited[1])

    def cpu_s(self) -> float | None:
        """Of a worker that has ended, what it last showed of itself."""
        return process_cpu_s(self.pid) or self._board.cpu_s

    def memory(self) -> Memory:
        reading = read_memory(self.pid)
        return self._memory(reading if reading.peak_bytes is not None else self._board.memory)

    def shown(self) -> tuple[Memory, float | None]:
        """Memory and processor time as of its last sign of life; unlike `memory` and `cpu_s` it costs next to nothing."""
        return self._memory(self._board.memory), self._board.cpu_s

    def _memory(self, reading: MemoryReading) -> Memory:
        parts = (reading.peak_bytes, reading.anonymous_bytes, reading.file_bytes)
        gpu_peak, gpu_method = self._board.gpu_peak_bytes, ""
        if self._device.gpu is not None:
            gpu_method = "largest reading of NVML" if gpu_peak else "not measured: NVML lists no memory of this process"
        limit = self._device.memory_bytes
        return Memory(self._device.name, *parts, gpu_peak, limit_bytes=limit, method=reading.method, gpu_method=gpu_method)

    def end(self, patience_s: float = 0.0) -> None:
        try:
            self._process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._socket.close()
        if self._quota:
            self._quota.close()

    def _send_rest(self) -> None:
        with contextlib.suppress(OSError):  # a worker that takes nothing now, or that has ended
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def _replies(self) -> tuple[Reply, ...]:
        replies: tuple[Reply, ...] = ()
        try:
            while data := self._socket.recv(PIECE_BYTES):
                replies += self._decoder.feed(data)
            self._is_silent = True
        except OSError:  # no more for now, or the worker has ended
            pass
        except PipelineError as error:
            replies += (Failed("protocol", str(error)),)
        return replies

    def _ending(self) -> str:
        """How the process ended, in words; '' while it runs."""
        code = self._process.poll()
        if code is None:
            return ""
        how = f"killed by signal {-code}" if code < 0 else f"ended with status {code}"
        lines = self._errors.read_text(errors="replace").strip().splitlines() if self._errors.exists() else []
        return f"{how}: {lines[-1]}" if lines else how


def _environment() -> dict[str, str]:
    """Ours, with our import path, and without thread pools that only the runtime should have."""
    pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **pools, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
