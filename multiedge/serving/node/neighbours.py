"""What a node knows of its connections to others, and when it measures them."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from multiedge.errors import MultiedgeError
from multiedge.formats.records import encode_line
from multiedge.network.records import LinkState
from multiedge.serving.node.probe import Busy, answer_probe
from multiedge.serving.node.server import Accepted

log = logging.getLogger(__name__)

FIRST_REFRESH_S, REFRESH_S = 30.0, 600.0
"""A connection is measured again after so long, once this node and the other are idle: soon after the first time, when nodes
may have been starting, then more and more rarely."""
AGAIN_S = 1.0
"""Before a node that was busy is asked again; it doubles each time, up to REFRESH_S."""


@dataclass(frozen=True)
class Known:
    """What is known of a connection: `due_s` is when it is to be measured next, after `times` with a result, and `failures`
    without one since."""

    address: str
    due_s: float
    link: LinkState | None = None
    times: int = 0
    failures: int = 0


def updated(known: Mapping[str, Known], peers: Mapping[str, str], now_s: float) -> dict[str, Known]:
    """What is known of the nodes that there are now: a new one, or one with a new address, is measured soon."""
    same = {name: each for name, each in known.items() if peers.get(name) == each.address}
    return {name: same.get(name, Known(address, now_s)) for name, address in peers.items()}


def after(known: Known, link: LinkState | None, now_s: float, chance: float) -> Known:
    """What is known after an attempt; `link` is None if it had no result. `chance` in [0, 1) keeps nodes apart in time."""
    if link is not None:
        wait_s = min(REFRESH_S, FIRST_REFRESH_S * 2**known.times)
        return Known(known.address, now_s + wait_s * (1 + chance), link, known.times + 1)
    wait_s = min(REFRESH_S, AGAIN_S * 2**known.failures)
    return Known(known.address, now_s + wait_s * (0.5 + chance), known.link, known.times, known.failures + 1)


def next_due(known: Mapping[str, Known], now_s: float) -> str | None:
    """The node whose connection has been due for longest; None if none is."""
    due = [(each.due_s, name) for name, each in known.items() if each.due_s <= now_s]
    return min(due)[1] if due else None


class Neighbours:
    """Measures the connections to other nodes, one at a time, while this node is idle.

    A node takes part in one measurement at a time, as sender or as receiver, so that none disturbs another.

    Args:
        measure: Name and address to a LinkState, or None if that node is busy; `multiedge.serving.node.probe.measure_link`.
        is_idle: Whether this node has nothing else to do.
        seed: Of the times at which it tries again.
    """

    def __init__(self, measure: Callable[[str, str], LinkState | None], is_idle: Callable[[], bool], seed: int) -> None:
        self._measure, self._is_idle = measure, is_idle
        self._random = random.Random(seed)
        self._known: dict[str, Known] = {}
        self._lock, self._taking_part = threading.Lock(), threading.Lock()

    @property
    def links(self) -> tuple[LinkState, ...]:
        """What was measured, by name."""
        with self._lock:
            return tuple(each.link for _, each in sorted(self._known.items()) if each.link)

    def set_peers(self, peers: Mapping[str, str]) -> None:
        """The addresses of the other nodes, by name."""
        with self._lock:
            self._known = updated(self._known, peers, time.monotonic())

    def step(self) -> bool:
        """Measures the connection that is due, if any; whether one was."""
        with self._lock:
            name = next_due(self._known, time.monotonic())
            known = self._known[name] if name else None
        if name is None or known is None or not self._is_idle() or not self._taking_part.acquire(blocking=False):
            return False
        try:
            link = self._measure(name, known.address)
        except MultiedgeError as error:
            link = None
            if not known.failures:
                log.warning("%s", error)
        finally:
            self._taking_part.release()
        with self._lock:
            if self._known.get(name) == known:
                self._known[name] = after(known, link, time.monotonic(), self._random.random())
        return True

    def answer(self, accepted: Accepted) -> None:
        """The other side of a measurement."""
        if not self._is_idle() or not self._taking_part.acquire(blocking=False):
            accepted.connection.sendall(encode_line(Busy()))
            return
        try:
            answer_probe(accepted.connection)
        finally:
            self._taking_part.release()
