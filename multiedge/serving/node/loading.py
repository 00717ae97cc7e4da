"""Stages loaded once, in a worker that then ends: whether they can be, and what memory they take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from multiedge.errors import PipelineError
from multiedge.executors.flow.routes import Routes
from multiedge.executors.workers.messages import Failed, Hello, Prepare, Prepared
from multiedge.executors.workers.process import WorkerProcess
from multiedge.fleet import CALLER_NAME, Device
from multiedge.serving.node.folder import LocalStages
from multiedge.serving.node.limits import Limits
from multiedge.transports import rundir

LOAD_S = 300.0
"""How long loading may take."""
LOOK_S = 0.05


def load_once(
    name: str, backend: str, stages: LocalStages, limits: Limits, is_cancelled: Callable[[], bool] = lambda: False
) -> int | None:
    """Loads stages as a run does, within the limits.

    Returns:
        The most memory that the worker took; None where it is not measured.

    Raises:
        PipelineError: If they cannot be loaded, or when cancelled.
    """
    device = Device(name, threads=limits.threads, backend=backend)
    parts = tuple(replace(part, device=name, replicas=()) for _, part in sorted(stages.parts.items()))
    hello = Hello(
        device=device,
        backends={},
        speed=1.0,
        factor=1.0,
        cores=(),
        transport="pipe",
        links={},
        caller=CALLER_NAME,
        micro_batch=1,
        record=False,
        seed=0,
    )
    directory = rundir.make()
    try:
        worker = WorkerProcess(directory, limits.applied(hello))
        try:
            worker.send(Prepare(str(stages.directory), Routes(parts, ())))
            _wait(worker, time.monotonic() + LOAD_S, is_cancelled)
            return worker.memory().peak_bytes
        finally:
            worker.end()
    finally:
        rundir.remove(directory)


def _wait(worker: WorkerProcess, until_s: float, is_cancelled: Callable[[], bool]) -> None:
    """Returns once the worker has loaded its stages."""
    while not is_cancelled():
        now_s = time.monotonic()
        view = worker.observe(now_s, 0)
        for reply in view.replies:
            if isinstance(reply, Failed):
                raise PipelineError(reply.detail)
            if isinstance(reply, Prepared):
                return
        if view.ended:
            raise PipelineError(f"the worker {view.ended}")
        if now_s > until_s:
            raise PipelineError(f"loading took longer than {LOAD_S:.0f} s")
        time.sleep(LOOK_S)
    raise PipelineError("loading was cancelled")
