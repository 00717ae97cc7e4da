"""A policy under test, with workers that carry out every command unless a test changes that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from multiedge.executors.workers.actions import (
    Action,
    EndRun,
    EnterEpoch,
    FailItem,
    RecordFault,
    RecordRecovery,
    RequestPlan,
    Send,
    StartWorker,
    StopWorker,
)
from multiedge.executors.workers.messages import Configure, Configured, Failed, Prepare, Prepared, Reply
from multiedge.executors.workers.observation import Busy, Inactivity, LinkView, Observation, PlanFailed, PlanReady, WorkerView
from multiedge.executors.workers.options import Deadlines
from multiedge.executors.workers.state import Ended, Rules, first_state
from multiedge.executors.workers.supervision import policy
from multiedge.fleet import Device, Fleet
from multiedge.measurements import Fault
from multiedge.plan import Manifest
from multiedge.trace import TraceEvent
from tests.builders.flow import chain_manifest

TICK_S = 0.02
LIMIT_S = 2.0
"""How long every stage may take."""
KindOfAction = TypeVar("KindOfAction")


def fleet_of(count: int, **values: Any) -> Fleet:
    return Fleet(tuple(Device(f"d{number}", **values) for number in range(count)))


@dataclass
class FakeWorker:
    """What a worker shows. It carries out commands immediately, unless it `ignores` them or cannot load (`failure`)."""

    started_s: float
    silent_s: float | None = 0.0
    ended: str = ""
    busy: Busy | None = None
    resident_bytes: int | None = 0
    cpu_s: float | None = None
    inactivity: Inactivity | None = None
    ignores: bool = False
    failure: Failed | None = None
    inbox: list[Configure | Prepare] = field(default_factory=list)

    def replies(self) -> tuple[Reply, ...]:
        if self.ignores or self.busy or self.ended:
            return ()
        commands, self.inbox = self.inbox, []
        return tuple(self.failure or self._reply(command) for command in commands)

    def _reply(self, command: Configure | Prepare) -> Reply:
        return Prepared() if isinstance(command, Prepare) else Configured(command.epoch, (), self.resident_bytes)

    def view(self, now_s: float) -> WorkerView:
        return WorkerView(
            age_s=now_s - self.started_s,
            silent_s=self.silent_s,
            ended=self.ended,
            cpu_s=self.cpu_s,
            inactivity=self.inactivity,
            busy=self.busy,
            resident_bytes=self.resident_bytes,
            replies=self.replies(),
        )


class Supervised:
    """A run under the policy: three stages on d0, d1, d2, and d3 to spare, unless other rules are given."""

    def __init__(self, manifest: Manifest | None = None, fleet: Fleet | None = None, **rules: Any) -> None:
        deadlines = rules.pop("deadlines", Deadlines())
        self.rules = Rules(fleet or fleet_of(4), manifest or chain_manifest("d0", "d1", "d2"), deadlines, **rules)
        self.state = first_state(self.rules)
        self.now_s = 0.0
        self.workers: dict[str, FakeWorker] = {}
        self.actions: list[Action] = []
        self.newborn: dict[str, dict[str, Any]] = {}
        """What workers that are started later show, by device."""
        self.links: tuple[LinkView, ...] = ()
        self.may_return = False

    def look(self, after_s: float = TICK_S, **observed: Any) -> tuple[Action, ...]:
        """One look, and what was decided; workers are started, stopped and sent to as decided."""
        self.now_s += after_s
        views = {name: worker.view(self.now_s) for name, worker in self.workers.items()}
        limits = dict.fromkeys(views, LIMIT_S)
        values = {"links": self.links, "may_return": self.may_return, **observed}
        self.state, actions = policy(self.rules, Observation(self.now_s, views, limits, **values), self.state)
        for action in actions:
            match action:
                case StartWorker(device):
                    assert device not in self.workers, f"'{device}' has a worker already"
                    self.workers[device] = FakeWorker(self.now_s, **self.newborn.get(device, {}))
                case StopWorker(device):
                    del self.workers[device]
                case Send(device, command):
                    self.workers[device].inbox.append(command)
        self.actions += actions
        return actions

    def wait(self, seconds: float, *, every_s: float = TICK_S) -> Supervised:
        """Looks again and again."""
        until = self.now_s + seconds
        while self.now_s < until - 1e-9:
            self.look(min(every_s, until - self.now_s))
        return self

    def start(self) -> Supervised:
        """Until items flow. What was decided so far is forgotten."""
        self.wait(0.1)
        assert self.state.is_running
        self.actions.clear()
        return self

    def answer(self, *items: int, after_s: float = TICK_S) -> tuple[Action, ...]:
        return self.look(after_s, answered=items, answered_s=self.now_s + after_s)

    # -- what happens to workers ----------------------------------------------------------------------------------------

    def end(self, *names: str, item: int | None = None) -> Supervised:
        """The workers end, while they compute `item` if there is one."""
        for name in names:
            self.change(name, ended="killed by signal 9", busy=None if item is None else Busy(0, item, 0.1))
        self.look()
        return self

    def change(self, name: str, **values: Any) -> Supervised:
        self.workers[name] = replace(self.workers[name], **values)
        return self

    def stick(self, source: str | None, target: str | None, seconds: float, **values: Any) -> Supervised:
        """A message from one device to another is not taken for so long."""
        self.links = (LinkView(1, source, target, 5, **{"taken": 4, "receiver_is_idle": True, **values}),)
        self.wait(seconds)
        self.links = ()
        return self

    def events(self, *events: TraceEvent) -> Supervised:
        self.look(events=events)
        return self

    def give_plan(self, *devices: str, directory: str = "other", request: int = -1) -> Supervised:
        """The plan for the fleet of a request, by default the last one."""
        self.look(plan=PlanReady(self._requested(request), chain_manifest(*devices, directory=directory)))
        return self

    def refuse_plan(self) -> Supervised:
        self.look(plan=PlanFailed(self._requested(-1), "nothing fits"))
        return self

    def _requested(self, number: int) -> Fleet:
        requests = self.decided(RequestPlan)
        return requests[number].fleet if requests else self.rules.fleet

    # -- what has come of it --------------------------------------------------------------------------------------------

    def decided(self, kind: type[KindOfAction]) -> list[KindOfAction]:
        return [action for action in self.actions if isinstance(action, kind)]

    @property
    def phase(self) -> str:
        return type(self.state.phase).__name__

    @property
    def placed(self) -> str:
        """The devices of the stages of the last epoch: 'd0 d1+d3 d2'."""
        return " ".join("+".join(part.devices) for part in self.state.placed.parts)

    @property
    def faults(self) -> str:
        return _in_words(action.fault for action in self.decided(RecordFault))

    @property
    def recovered(self) -> str:
        return _in_words(action.fault for action in self.decided(RecordRecovery))

    @property
    def epochs(self) -> int:
        """Epochs entered since the start of the run, without the first."""
        return len(self.decided(EnterEpoch))

    @property
    def failed_items(self) -> list[int]:
        return [action.sequence for action in self.decided(FailItem)]

    @property
    def error(self) -> str:
        return self.state.phase.error if isinstance(self.state.phase, Ended) else ""

    @property
    def requested(self) -> list[str]:
        """The devices of each fleet for which a plan was requested."""
        return [" ".join(action.fleet.names) for action in self.decided(RequestPlan)]

    @property
    def ended(self) -> int:
        return len(self.decided(EndRun))


def _in_words(faults: Iterable[Fault]) -> str:
    return ", ".join(f"{fault.kind} {fault.device}" for fault in faults)


Script = Callable[[Supervised], object]
