"""A worker that is a value and no process, and a pool of such workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from multiedge.executors.workers.messages import Command, Configure, Configured, Prepare, Prepared, Reply, Stop
from multiedge.executors.workers.observation import WorkerView
from multiedge.executors.workers.pool import WorkerPool
from multiedge.fleet import Device, Fleet, Link
from multiedge.measurements import Memory


@dataclass
class FakeHandle:
    """A worker that replies to each command at the next look, and never fails by itself."""

    device: str
    view: WorkerView = field(default_factory=lambda: WorkerView(age_s=1.0, silent_s=0.0))
    commands: list[Command] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    peak_bytes: int = 100
    spent_s: float | None = 0.5
    ended_after_s: float | None = None

    def send(self, command: Command) -> None:
        self.commands.append(command)
        if isinstance(command, Configure):
            self.replies.append(Configured(command.epoch))
        elif isinstance(command, Prepare):
            self.replies.append(Prepared())

    def observe(self, now_s: float, transfers: int) -> WorkerView:
        replies, self.replies = tuple(self.replies), []
        return replace(self.view, replies=replies, sent=[0.0] * transfers, taken=[0.0] * transfers)

    def cpu_s(self) -> float | None:
        return self.spent_s

    def memory(self) -> Memory:
        return Memory(self.device, self.peak_bytes)

    def end(self, patience_s: float = 0.0) -> None:
        self.ended_after_s = patience_s if self.commands[-1:] == [Stop()] else 0.0


@dataclass
class FakeLauncher:
    """Starts fake workers and keeps every one."""

    started: list[FakeHandle] = field(default_factory=list)
    given: list[tuple[str, float, dict[str, Link]]] = field(default_factory=list)
    changed: list[tuple[str, str, Link]] = field(default_factory=list)
    refusal: Exception | None = None

    def start(self, device: Device, factor: float, links: Mapping[str, Link]) -> FakeHandle:
        if self.refusal is not None:
            raise self.refusal
        self.given.append((device.name, factor, dict(links)))
        self.started.append(FakeHandle(device.name))
        return self.started[-1]

    def change_link(self, source: str, target: str, link: Link) -> Link:
        self.changed.append((source, target, link))
        return replace(link, loss=0.0)


def fake_pool(fleet: Fleet) -> tuple[WorkerPool, FakeLauncher]:
    launcher = FakeLauncher()
    return WorkerPool(fleet, launcher), launcher
