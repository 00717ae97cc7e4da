"""What a supervisor observes, as values: workers, links, the caller's items, a trace, and plans that were requested."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from multiedge.executors.flow.routes import Routes
from multiedge.executors.workers.messages import Reply
from multiedge.fleet import Fleet, Link
from multiedge.plan import CALLER, Manifest
from multiedge.trace import TraceEvent
from multiedge.transports.links import is_down

QUIET_S = 0.3
"""A worker that has shown no sign of life for so long may hang: a message that waits for it says nothing of the link."""


class Inactivity(str, Enum):
    """Why a process neither uses a processor nor waits for one."""

    STOPPED = "stopped"
    """Each of its threads was stopped by a signal."""
    ASLEEP = "asleep"
    """Each of its threads waits for something else than a processor or a disk."""

    @classmethod
    def of(cls, states: frozenset[str] | None) -> Inactivity | None:
        """What the states of threads say, as `thread_states` reads them; None if one is active, or nothing is known. A process
        that a debugger stops, which may write its memory to a file, counts as active."""
        if not states or not states <= {"S", "T"}:
            return None
        return cls.STOPPED if states == {"T"} else cls.ASLEEP


@dataclass(frozen=True)
class Busy:
    """The stage and the item that a worker computes, and for how long it has; `others` are in the same batch. For `waited_s` of
    this time it was ready and had no processor; 0.0 where that is not known."""

    stage: int
    sequence: int
    for_s: float
    others: tuple[int, ...] = ()
    waited_s: float = 0.0

    @property
    def had_s(self) -> float:
        """The time that the stage had: without that for which the host kept it waiting."""
        return self.for_s - self.waited_s


@dataclass(frozen=True)
class WorkerView:
    """One worker, seen from outside.

    `age_s` counts from its start, `silent_s` from its last sign of life: None before the first. `ended` says how it ended,
    '' while it runs. `cpu_s` is the processor time that it has used so far, `inactivity` why it is silent without using a
    processor or waiting for one: both None where that is not known, and while signs of life come. `replies` came since the last
    look. `sent` and `taken` count the epoch's messages by transfer. A silence of `patience_s` is unusual for it; None is not
    known.
    """

    age_s: float
    silent_s: float | None = None
    ended: str = ""
    cpu_s: float | None = None
    inactivity: Inactivity | None = None
    busy: Busy | None = None
    resident_bytes: int | None = None
    replies: tuple[Reply, ...] = ()
    sent: Sequence[float] = ()
    taken: Sequence[float] = ()
    patience_s: float | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it lives and computes nothing, so that it would take a message that has arrived."""
        return not self.ended and self.busy is None and self.silent_s is not None and self.silent_s < QUIET_S


@dataclass(frozen=True)
class LinkView:
    """Messages of one transfer that were sent and not taken. `source` and `target` are the devices at the link's ends, None
    for a caller whose place is not known. `slack_s` is what the link, as it is now, needs for one message."""

    transfer: int
    source: str | None
    target: str | None
    sent: float
    taken: float
    receiver_is_idle: bool
    slack_s: float = 0.0


@dataclass(frozen=True)
class PlanReady:
    """The plan that was requested for `fleet`."""

    fleet: Fleet
    manifest: Manifest


@dataclass(frozen=True)
class PlanFailed:
    """No plan could be made for `fleet`."""

    fleet: Fleet
    reason: str


@dataclass(frozen=True)
class Observation:
    """Everything at one moment (CLOCK_MONOTONIC).

    `limits_s` is how long each busy worker's stage may take, by device. `events` of a trace have happened since the last
    look; `may_return` says whether it will still bring devices back. `answered` lists the sequence numbers of the items that
    were answered without an error since then, `ways` those that they took, in the same order and empty where there is one only;
    `answered_s` is when the first answer of any kind came.
    """

    now_s: float
    workers: Mapping[str, WorkerView] = field(default_factory=dict)
    limits_s: Mapping[str, float] = field(default_factory=dict)
    links: tuple[LinkView, ...] = ()
    events: tuple[TraceEvent, ...] = ()
    may_return: bool = False
    answered: tuple[int, ...] = ()
    ways: tuple[int, ...] = ()
    answered_s: float | None = None
    plan: PlanReady | PlanFailed | None = None


def waiting_links(
    routes: Routes, workers: Mapping[str, WorkerView], caller: WorkerView, place: str | None, link: Callable[[str, str], Link]
) -> Iterator[LinkView]:
    """The transfers with messages that were sent and not taken. `caller` counts as idle; `place` is the device where it is."""

    def views(stage: int, way: int) -> list[WorkerView]:
        if stage == CALLER:
            return [caller]
        return [workers[device] for device in routes.homes(stage, way) if device in workers]

    for number, move in enumerate(routes.transfers):
        way = routes.way(number)
        sent = sum(view.sent[number] for view in views(move.source, way))
        taken = sum(view.taken[number] for view in views(move.target, way))
        if sent > taken:
            source, target = (place if end == CALLER else routes.homes(end, way)[0] for end in (move.source, move.target))
            slack_s = _slack_s(link(source, target), move.nbytes) if source and target else 0.0
            is_idle = all(view.is_idle for view in views(move.target, way))
            yield LinkView(number, source, target, sent, taken, is_idle, slack_s)


def _slack_s(link: Link, nbytes: int | None) -> float:
    """Nothing excuses a link that is down; of messages of unknown size only the latency is known."""
    return 0.0 if is_down(link) else link.latency_s if nbytes is None else link.transfer_s(nbytes)
