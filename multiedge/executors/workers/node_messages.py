"""What a caller and a node send each other about one worker: a session, over one connection.

The caller opens it with OpenWorker, and then sends the commands of `messages`, of which no `directory` is a path: it is the
digest of a plan, and the node forwards the command with its own folder of that plan. The node answers with Opened, the
replies of the worker, and Views.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, get_args

from multiedge.errors import ConfigError
from multiedge.executors.workers.messages import Command, Hello, Reply
from multiedge.executors.workers.observation import Busy, Inactivity, WorkerView
from multiedge.measurements import Memory
from multiedge.transports.peers import PeerAddress

VIEW_S = 0.1
"""The longest time between two views."""
PING_S = 0.5
"""The time between two pings."""
SILENT_S = 3.0
"""A node ends the worker of a caller that has sent nothing for so long."""

# -- caller to node -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenWorker:
    """The first message: start a worker. `run` names the caller's run in the node's log."""

    run: str
    hello: Hello


@dataclass(frozen=True)
class Peers:
    """The endpoints of the run that are known by now, by device, and that of the caller."""

    peers: Mapping[str, PeerAddress] = field(default_factory=dict)


@dataclass(frozen=True)
class Ping:
    """A sign of life of the caller, sent at `at_s` on its clock."""

    at_s: float


ToNode = OpenWorker | Peers | Ping | Command

# -- node to caller -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opened:
    """The worker's endpoint listens there. An empty `host` is the one at which the caller reached the node."""

    address: PeerAddress


@dataclass(frozen=True)
class Pong:
    """The answer to the Ping of `at_s`, sent at `node_s` on the node's clock."""

    at_s: float
    node_s: float


@dataclass(frozen=True)
class Fetch:
    """How much of what the node fetches for a plan is there."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class View:
    """A WorkerView without its replies, which are messages of their own, with memory and processor time.

    Durations count until the view is sent. `fetch` is there while the node fetches files that the worker is to load.
    """

    age_s: float
    memory: Memory
    silent_s: float | None = None
    ended: str = ""
    cpu_s: float | None = None
    used_cpu_s: float | None = None
    inactivity: Inactivity | None = None
    busy: Busy | None = None
    resident_bytes: int | None = None
    sent: tuple[float, ...] = ()
    taken: tuple[float, ...] = ()
    fetch: Fetch | None = None

    @classmethod
    def of(cls, view: WorkerView, memory: Memory, used_cpu_s: float | None, fetch: Fetch | None = None) -> View:
        """What a node sends of a worker that it observes."""
        return cls(
            age_s=view.age_s,
            memory=memory,
            silent_s=view.silent_s,
            ended=view.ended,
            cpu_s=view.cpu_s,
            used_cpu_s=used_cpu_s,
            inactivity=view.inactivity,
            busy=view.busy,
            resident_bytes=view.resident_bytes,
            sent=tuple(view.sent),
            taken=tuple(view.taken),
            fetch=fetch,
        )


@dataclass(frozen=True)
class Refused:
    """No worker is started: why, in one line. The node closes the connection."""

    reason: str


def require_portable(backends: Mapping[str, Mapping[str, Any]]) -> None:
    """ConfigError for an option of a backend that is a text: it may be a path, which holds on one machine alone."""
    for backend, options in backends.items():
        for name, value in options.items():
            if isinstance(value, str | PathLike):
                raise ConfigError(
                    f"backends: {backend}: {name}: expected a number or true or false, got '{value}':"
                    " a path of one machine means nothing on another; leave it out"
                )


FromNode = Opened | Pong | View | Refused | Reply

TO_NODE: tuple[type, ...] = get_args(ToNode)
FROM_NODE: tuple[type, ...] = get_args(FromNode)
