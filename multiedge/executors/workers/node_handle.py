"""The caller's side of workers on nodes: each is a session with its node, over one connection."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace

from multiedge.errors import MultiedgeError, one_line
from multiedge.executors.workers.clocks import ClockOffset
from multiedge.executors.workers.messages import (
    Command,
    Configure,
    Configured,
    Failed,
    Prepare,
    Prepared,
    Reply,
    SetClock,
    Stop,
)
from multiedge.executors.workers.node_messages import (
    PING_S,
    FromNode,
    Opened,
    OpenWorker,
    Ping,
    Pong,
    Refused,
    ToNode,
    View,
)
from multiedge.executors.workers.observation import QUIET_S, WorkerView
from multiedge.executors.workers.silence import Silence
from multiedge.measurements import Memory
from multiedge.network.connection import Connection
from multiedge.transports.peers import PeerAddress

PUMP_S = 0.02
"""The time between two looks at what nodes have sent."""
FIRST_PINGS = 4
"""Pings that are sent immediately, since the first round trip takes longest."""


class NodeHandle:
    """A worker on a node. Connecting takes place in a thread; what is sent until then waits.

    Args:
        device: The device's name.
        open_session: Makes the connection. MultiedgeError if that is not possible.
        opening: The first message.
        digest_of: The digest of the plan in a folder of ours.
        silence_s: The least silence of the node that may mean that it is lost; it may be silent longer if it usually is.
        on_opened: Called with the address of the worker's endpoint, without a lock.
    """

    def __init__(
        self,
        device: str,
        open_session: Callable[[], Connection[FromNode]],
        opening: OpenWorker,
        digest_of: Callable[[str], str],
        on_opened: Callable[[NodeHandle, PeerAddress], None],
        silence_s: float = 0.7,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device, self._opening = device, opening
        self._open_session, self._digest_of, self._on_opened, self._now = open_session, digest_of, on_opened, clock
        self._lock = threading.RLock()
        self._started_s = clock()
        self._connection: Connection[FromNode] | None = None
        self._unsent: deque[ToNode] = deque()
        self._clock_offset = ClockOffset()
        self._pinged_s = -PING_S
        self._ended = ""
        self._is_closed = False
        self._view: View | None = None
        self._viewed_s = 0.0
        self._silence = Silence(silence_s)
        self._replies: list[Reply] = []
        self._opened: list[PeerAddress] = []
        threading.Thread(target=self._open, name=f"open-{device}", daemon=True).start()

    # -- for the supervisor -----------------------------------------------------------------------------------------------

    def send(self, command: Command) -> None:
        if isinstance(command, Prepare | Configure):
            command = replace(command, directory=self._digest_of(command.directory))
        self.tell(command)

    def tell(self, message: ToNode) -> None:
        """Sends the message after all earlier ones, once the node's clock is known."""
        with self._lock:
            self._unsent.append(message)
            self._send_rest()

    def observe(self, now_s: float, transfers: int) -> WorkerView:
        self.pump()
        with self._lock:
            replies, self._replies = tuple(self._replies), []
            view, ended = self._view, self._ended
            if view is None:
                nothing = [0.0] * transfers
                return WorkerView(now_s - self._started_s, ended=ended, replies=replies, sent=nothing, taken=nothing)
            seen = aged(view, max(0.0, now_s - self._viewed_s), transfers, replies, ended)
            return replace(seen, patience_s=self._silence.limit_s)

    def cpu_s(self) -> float | None:
        return self._view.used_cpu_s if self._view else None

    def memory(self) -> Memory:
        if self._view is None:
            return Memory(self.device, None, method="not measured: the node sent nothing about its worker")
        return self._view.memory

    def end(self, patience_s: float = 0.0) -> None:
        """The node ends its worker when the connection ends, or when it is cut off for SILENT_S."""
        until = self._now() + patience_s
        while not self._ended and (left_s := until - self._now()) > 0:
            self.pump()
            time.sleep(min(left_s, PUMP_S))
        with self._lock:
            self._is_closed = True
            if self._connection is not None:
                self._connection.send(Stop())
                self._connection.close()

    # -- the connection ---------------------------------------------------------------------------------------------------

    @property
    def local_host(self) -> str | None:
        """Our address on the way to this node; None while there is no connection."""
        with self._lock:
            is_open = self._connection is not None and not self._connection.ended
            return self._connection.local_host if self._connection and is_open else None

    @property
    def socket(self) -> socket.socket | None:
        """To wait for; None while there is no connection."""
        connection = self._connection
        return None if connection is None or connection.ended else connection.socket

    def can_read(self, ready: Collection[int]) -> bool:
        """Whether its socket is one of these descriptors."""
        connected = self.socket
        return connected is not None and connected.fileno() in ready

    def pump(self) -> None:
        """Takes what the node has sent, and gives it a sign of life when it is time to."""
        with self._lock:
            if self._connection is None or self._ended:
                return
            self._receive(self._connection)
            opened, self._opened = self._opened, []
        for address in opened:
            self._on_opened(self, address)

    def _receive(self, connection: Connection[FromNode]) -> None:
        try:
            for message in connection.receive():
                self._take(message)
        except MultiedgeError as error:
            self._replies.append(Failed("protocol", one_line(error)))
        if connection.ended and not self._ended:
            self._ended = f"is out of reach: {connection.ended}"
        now_s = self._now()
        if now_s - self._pinged_s >= PING_S:
            self._pinged_s = now_s
            connection.send(Ping(now_s))

    def _open(self) -> None:
        try:
            connection = self._open_session()
        except (MultiedgeError, OSError) as error:
            self._ended = f"could not be started: {one_line(error)}"
            return
        with self._lock:
            self._connection = connection
            if self._is_closed:
                connection.close()
                return
            connection.send(self._opening)
            for _ in range(FIRST_PINGS):
                connection.send(Ping(self._now()))

    def _take(self, message: FromNode) -> None:
        now_s = self._now()
        match message:
            case Pong(at_s, node_s):
                self._clock_offset.add(at_s, node_s, now_s)
                if (offset_s := self._clock_offset.news()) is not None:
                    self._tell_clock(offset_s)
                self._send_rest()
            case View():
                self._view, self._viewed_s = message, now_s
                self._silence.heard(now_s)
                if message.ended:
                    self._ended = message.ended
            case Opened(address):
                self._opened.append(address)
            case Refused(reason):
                self._ended = f"was refused: {reason}"
            case Prepared() | Configured() | Failed():
                self._replies.append(message)

    def _tell_clock(self, offset_s: float) -> None:
        if self._connection is not None:
            self._connection.send(SetClock(offset_s))

    def _send_rest(self) -> None:
        if self._connection is None or self._clock_offset.best_s is None:
            return
        while self._unsent:
            self._connection.send(self._unsent.popleft())


def aged(view: View, age_s: float, transfers: int, replies: tuple[Reply, ...] = (), ended: str = "") -> WorkerView:
    """What a view says `age_s` after it came: its durations have grown, and what the worker does now is not in an old one."""
    is_old = age_s >= QUIET_S
    return WorkerView(
        age_s=view.age_s + age_s,
        silent_s=None if view.silent_s is None else view.silent_s + age_s,
        ended=ended,
        cpu_s=None if is_old else view.cpu_s,
        inactivity=None if is_old else view.inactivity,
        busy=replace(view.busy, for_s=view.busy.for_s + age_s) if view.busy else None,
        resident_bytes=view.resident_bytes,
        replies=replies,
        sent=_counts(view.sent, transfers),
        taken=_counts(view.taken, transfers),
    )


def _counts(counts: tuple[float, ...], transfers: int) -> list[float]:
    """As many counts as the epoch has transfers: the view may be of an earlier one."""
    return [*counts[:transfers], *[0.0] * (transfers - len(counts))]
