"""A device's worker as its supervisor handles it, wherever it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from multiedge.executors.workers.messages import Command
from multiedge.executors.workers.observation import WorkerView
from multiedge.fleet import Device, Link
from multiedge.measurements import Memory


class WorkerHandle(Protocol):
    """A worker that was started. Nothing here waits for the worker, except `end`, and nothing raises when it has ended or
    hangs: `observe` shows that."""

    def send(self, command: Command) -> None:
        """Commands arrive in order."""
        ...

    def observe(self, now_s: float, transfers: int) -> WorkerView:
        """The worker as it is now, with the replies since the last look, and its counts of so many transfers."""
        ...

    def cpu_s(self) -> float | None:
        """Processor time that it has used, as far as it is known if it has ended; None where it is not known."""
        ...

    def memory(self) -> Memory:
        """What it takes and has taken at most; what it last showed of itself if it has ended."""
        ...

    def end(self, patience_s: float = 0.0) -> None:
        """Waits up to `patience_s` for the worker to end, then ends it by force; it is gone when this returns."""
        ...


@dataclass(frozen=True)
class NotStarted:
    """In place of a worker that could not be started (CLOCK_MONOTONIC): it is observed as one that has ended."""

    device: str
    reason: str
    at_s: float

    def send(self, command: Command) -> None:
        """Nobody is there to carry it out."""

    def observe(self, now_s: float, transfers: int) -> WorkerView:
        counts = [0.0] * transfers
        return WorkerView(now_s - self.at_s, ended=f"could not be started: {self.reason}", sent=counts, taken=counts)

    def cpu_s(self) -> float | None:
        return None

    def memory(self) -> Memory:
        return Memory(self.device, None, method="not measured: the worker could not be started")

    def end(self, patience_s: float = 0.0) -> None:
        """There is nothing to end."""


class Launcher(Protocol):
    """Starts workers, and emulates what is outside of them."""

    def start(self, device: Device, factor: float, links: Mapping[str, Link]) -> WorkerHandle:
        """A new worker for the device, at `factor` times its speed, with the links that leave it by peer."""
        ...

    def change_link(self, source: str, target: str, link: Link) -> Link:
        """Changes the link in one direction, as far as it is emulated outside of the workers; what is left for them."""
        ...
