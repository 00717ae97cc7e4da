"""The target of the executor `remote`: two servers, each with all stages of a real model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil

from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.executors import open_pipeline
from multiedge.executors.flow.contract import Executor
from multiedge.executors.flow.stage_clock import StageDeadlines
from tests.builders.pipelines import small_plan, vectors
from tests.builders.stage_hosts import ROOT, free_port
from tests.chaos import traces
from tests.chaos.processes import DISTINCT
from tests.chaos.schedule import FaultEvent, Kind, Schedule
from tests.chaos.target import Answers, Work

SERVERS = 2
START_S = 60.0
PATIENCE_S = 40.0
"""A killed server is there again in seconds, also on a busy machine; no item may fail for that."""


class Server:
    """`multiedge serve` at a port that stays the same when it is started again."""

    def __init__(self, parts: Path) -> None:
        self._parts, self.port = parts, free_port()
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "multiedge.cli", "serve", str(self._parts), "--port", str(self.port)]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, cwd=ROOT, **quiet)

    def end(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)


class RunningServers:
    """A killed server is started again immediately, which fails once the part has changed."""

    def __init__(self, executor: Executor, work: Work, parts: Path, servers: list[Server]) -> None:
        self.executor, self.work = executor, work
        self._parts, self._servers = parts, servers

    def inject(self, event: FaultEvent) -> bool:
        server = self._servers[event.place % SERVERS]
        if event.kind is Kind.KILL:
            server.end()
            server.start()
        elif event.kind is Kind.STOP:
            os.kill(server.process.pid, signal.SIGSTOP)
        elif event.kind is Kind.CHANGED_PART:
            files = sorted(self._parts.glob("*.onnx"))
            files[event.place % len(files)].write_bytes(files[(event.place + 1) % len(files)].read_bytes())
        else:
            return False
        return True

    def restore(self, event: FaultEvent) -> None:
        if event.kind is Kind.STOP:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(self._servers[event.place % SERVERS].process.pid).resume()


class Remote:
    name = "remote"
    kinds = frozenset({Kind.KILL, Kind.STOP, Kind.POISON_INPUT, Kind.CHANGED_PART})

    @contextmanager
    def open(self, folder: Path, schedule: Schedule) -> Iterator[RunningServers]:
        manifest, fleet = small_plan(folder)
        inputs = vectors(DISTINCT, schedule.seed)
        whole = OnnxRuntimeBackend().open(folder / "small.onnx")
        work = Answers(inputs, [whole.run(each) for each in inputs], {"x": np.zeros((1, 3), np.float32)})
        servers: list[Server] = []
        try:
            for _ in range(SERVERS):
                servers.append(Server(Path(manifest.directory)))
            places = [f"127.0.0.1:{server.port}" for server in servers]
            with open_pipeline(
                manifest,
                fleet,
                "remote",
                endpoints=dict.fromkeys(fleet.names, places),
                connect_s=START_S,
                patience_s=PATIENCE_S,
                deadlines=StageDeadlines(floor_s=0.5, first_s=10.0),
                record_events=False,
            ) as pipeline:
                yield RunningServers(pipeline.executor, work, Path(manifest.directory), servers)
        finally:
            for server in servers:
                server.end()

    def left(self) -> frozenset[str]:
        return frozenset([*traces.processes(), *traces.folders(), *traces.listeners()])
