"""The emulated link: when a message that is sent now arrives at the receiver.

A message occupies the link for its bytes divided by the bandwidth, one message after another; latency delays it, but not
the next one. A lost message is sent again, each time after a further latency, as in a reliable stream, and order is kept.
Sender and receiver share the machine's monotonic clock: a message carries the time at which it is due, and the receiver
holds it until then, so no thread sleeps for a link.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from multiedge.fleet import Link
from multiedge.transports.message import Message

DOWN_BYTES_PER_S = 1e-6
"""At or below this a link is down: its messages never arrive."""


def is_down(link: Link) -> bool:
    return link.bandwidth_bytes_per_s <= DOWN_BYTES_PER_S


@dataclass
class _State:
    link: Link
    rng: random.Random
    free_s: float = 0.0
    last_due_s: float = 0.0

    def due_s(self, nbytes: int, now_s: float) -> float:
        if is_down(self.link):
            return math.inf
        tries = 1
        while self.link.loss and self.rng.random() < self.link.loss:
            tries += 1
        self.free_s = max(now_s, self.free_s) + tries * nbytes / self.link.bandwidth_bytes_per_s
        jitter = self.rng.uniform(-self.link.jitter_s, self.link.jitter_s) if self.link.jitter_s else 0.0
        due = self.free_s + max(0.0, tries * self.link.latency_s + jitter)
        self.last_due_s = max(due, self.last_due_s)
        return self.last_due_s


class LinkShaper:
    """The links that leave one device, by peer."""

    def __init__(self, device: str, links: Mapping[str, Link], seed: int = 0) -> None:
        self._device = device
        self._seed = seed
        self._states: dict[str, _State] = {}
        for peer, link in links.items():
            self.change(peer, link)

    def change(self, peer: str, link: Link) -> None:
        """Sets the link to `peer` from now on; messages that were sent before arrive as they would have."""
        if peer in self._states:
            self._states[peer].link = link
            return
        self._states[peer] = _State(link, random.Random(f"{self._seed}:{self._device}:{peer}"))

    def has_link(self, peer: str) -> bool:
        """Whether the link to `peer` is emulated."""
        return peer in self._states

    def due_s(self, peer: str, nbytes: int, now_s: float) -> float:
        """When a message sent now arrives at `peer`: now if no link to it is emulated, infinity if it is down."""
        state = self._states.get(peer)
        return now_s if state is None else state.due_s(nbytes, now_s)


class Mailbox:
    """Messages that are due later, in the order of their due times."""

    def __init__(self) -> None:
        self._held: list[tuple[float, int, Message]] = []
        self._count = 0

    def put(self, message: Message) -> None:
        self._count += 1
        heapq.heappush(self._held, (message.due_s, self._count, message))

    def take(self, now_s: float) -> list[Message]:
        """Removes and returns every message that is due."""
        messages = []
        while self._held and self._held[0][0] <= now_s:
            messages.append(heapq.heappop(self._held)[2])
        return messages

    def sort(self, arrived: Sequence[Message], now_s: float) -> list[Message]:
        """Removes and returns every message that is due, of those held and of those that `arrived`; holds the others."""
        if not self._held:
            due = [message for message in arrived if message.due_s <= now_s]
            if len(due) == len(arrived):
                return due
        for message in arrived:
            self.put(message)
        return self.take(now_s)

    def next_due_s(self) -> float:
        """When the next message is due; inf if none is."""
        return self._held[0][0] if self._held else math.inf

    def restore(self, source: str, link: Link, now_s: float) -> None:
        """Schedules the messages that `source` sent while its link, which is up again, was down."""
        shaper = LinkShaper("", {source: link})
        lost = [message for due, _, message in self._held if due == math.inf and message.source == source]
        self._held = [entry for entry in self._held if not any(entry[2] is each for each in lost)]
        heapq.heapify(self._held)
        for message in lost:
            self.put(message._replace(due_s=shaper.due_s(source, message.nbytes, now_s)))

    def clear(self) -> None:
        self._held.clear()
