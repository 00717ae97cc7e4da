"""The target of the executor `ray`: actors of a small Ray of this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from multiedge.executors import open_pipeline
from multiedge.executors.flow.stage_clock import StageDeadlines
from multiedge.executors.ray import LOOPBACK, RayExecutor, ray_module
from tests.builders.pipelines import synthetic_fleet
from tests.chaos import traces
from tests.chaos.processes import STAGES, make_chain
from tests.chaos.schedule import FaultEvent, Kind, Schedule
from tests.chaos.target import Numbers, Work

STORE_BYTES = 80 << 20
FIRST_S = 60.0
"""Ray starts an actor again within seconds; no item may fail for that on a busy machine."""


class RunningActors:
    """Harms the processes of actors."""

    def __init__(self, executor: RayExecutor, work: Work) -> None:
        self.executor, self.work = executor, work
        self._stopped: dict[FaultEvent, psutil.Process] = {}

    def inject(self, event: FaultEvent) -> bool:
        pids = [pid for _, pid in sorted(self.executor._pids.items())]
        pid = pids[event.place % len(pids)]
        if not psutil.pid_exists(pid):
            return False  # Ray is starting it again, and no answer has shown its new process yet
        if event.kind is Kind.STOP:
            self._stopped[event] = psutil.Process(pid)
        os.kill(pid, {Kind.KILL: signal.SIGKILL, Kind.STOP: signal.SIGSTOP}[event.kind])
        return True

    def restore(self, event: FaultEvent) -> None:
        with suppress(psutil.NoSuchProcess):
            self._stopped.pop(event).resume()


class Ray:
    name = "ray"
    kinds = frozenset({Kind.KILL, Kind.STOP, Kind.POISON_INPUT, Kind.POISON_CRASH})

    @contextmanager
    def open(self, folder: Path, schedule: Schedule) -> Iterator[RunningActors]:
        ray = ray_module()
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=STORE_BYTES,
            _node_ip_address=LOOPBACK,
            log_to_driver=False,
            logging_level="ERROR",
        )
        try:
            deadlines = StageDeadlines(first_s=FIRST_S)
            manifest = make_chain(folder)
            with open_pipeline(manifest, synthetic_fleet(STAGES), "ray", deadlines=deadlines, record_events=False) as pipeline:
                assert isinstance(pipeline.executor, RayExecutor)
                yield RunningActors(pipeline.executor, Numbers(STAGES))
        finally:
            ray.shutdown()

    def left(self) -> frozenset[str]:
        return frozenset([*traces.processes(), *traces.folders(), *traces.listeners()])
