"""The workers of a run by device, and the speeds and links that a trace has changed."""

from __future__ import annotations

import time

from multiedge.errors import PipelineError, lower_first, one_line
from multiedge.executors.workers.handle import Launcher, NotStarted, WorkerHandle
from multiedge.executors.workers.messages import Command, SetLink, SetSpeed, Stop
from multiedge.executors.workers.observation import WorkerView
from multiedge.fleet import Fleet, Link
from multiedge.measurements import Memory

STOP_S = 0.5
"""How long workers may take to end by themselves."""


class WorkerPool:
    """At most one worker per device. A worker that is started later gets speeds and links as they are by then."""

    def __init__(self, fleet: Fleet, launcher: Launcher) -> None:
        self.workers: dict[str, WorkerHandle] = {}
        self._fleet, self._launcher = fleet, launcher
        self._factors: dict[str, float] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._memory: dict[str, Memory] = {}
        self._cpu_s: dict[str, float] = {}

    def start(self, name: str) -> None:
        """A new worker for the device; it is started, and not yet loaded. One that cannot be started shows this as its end."""
        links = {peer: self.link(name, peer) for peer in self._fleet.names if peer != name}
        try:
            self.workers[name] = self._launcher.start(self._fleet.device(name), self._factors.get(name, 1.0), links)
        except OSError as error:  # too many processes or files, or no memory: it may succeed later
            self.workers[name] = NotStarted(name, lower_first(error.strerror or one_line(error)), time.monotonic())
        except (PipelineError, MemoryError) as error:
            self.workers[name] = NotStarted(name, one_line(error), time.monotonic())

    def stop(self, name: str) -> None:
        """Ends the device's worker by force; what it has shown of its memory and processor time is kept."""
        worker = self.workers.pop(name, None)
        if worker is not None:
            self._keep_memory(worker.memory())
            self._cpu_s[name] = self._cpu_s.get(name, 0.0) + (worker.cpu_s() or 0.0)
            worker.end()

    def close(self) -> None:
        """Ends every worker: those that do not end by themselves soon, by force."""
        for worker in self.workers.values():
            worker.send(Stop())
        until = time.monotonic() + STOP_S
        for worker in self.workers.values():
            worker.end(max(0.0, until - time.monotonic()))
        self.workers.clear()

    def send(self, name: str, command: Command) -> None:
        """To the device's worker, if it has one."""
        if name in self.workers:
            self.workers[name].send(command)

    def observe(self, now_s: float, transfers: int) -> dict[str, WorkerView]:
        return {name: worker.observe(now_s, transfers) for name, worker in self.workers.items()}

    def set_speed(self, name: str, factor: float) -> None:
        """The device runs at `factor` times its speed from now on."""
        self._factors[name] = factor
        self.send(name, SetSpeed(factor))

    def link(self, source: str, target: str) -> Link:
        return self._links.get((source, target)) or self._fleet.link(source, target)

    def set_link(self, source: str, target: str, link: Link) -> Link:
        """The link in one direction is now `link`, for the workers at both of its ends; what of it processes emulate."""
        self._links[source, target] = link
        emulated = self._launcher.change_link(source, target, link)
        for name in (source, target):
            self.send(name, SetLink(source, target, emulated))
        return emulated

    def memory(self) -> tuple[Memory, ...]:
        """Of every device that took part, the largest of its workers."""
        for worker in self.workers.values():
            self._keep_memory(worker.memory())
        return tuple(self._memory.values())

    def cpu_s(self) -> dict[str, float]:
        """Processor time of all workers so far, by device."""
        running = {name: self._cpu_s.get(name, 0.0) + (worker.cpu_s() or 0.0) for name, worker in self.workers.items()}
        return {**self._cpu_s, **running}

    def _keep_memory(self, memory: Memory) -> None:
        before = self._memory.get(memory.device)
        if before is None or (memory.peak_bytes or 0) >= (before.peak_bytes or 0):
            self._memory[memory.device] = memory
