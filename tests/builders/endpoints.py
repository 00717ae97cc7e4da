"""Messages and endpoints for the tests of transports."""

from __future__ import annotations

import time

import numpy as np

from multiedge.transports.message import Address, Endpoint, Message

SOON_S = 5.0
"""A test that waits this long has failed."""


def message(sequence: int, *arrays: np.ndarray, epoch: int = 1) -> Message:
    """Message `sequence` from device 'a' over transfer 0."""
    return Message(Address(epoch, 0, sequence % 4, sequence), "a", arrays)


def receive(end: Endpoint, count: int, timeout_s: float = SOON_S) -> list[Message]:
    """What arrives at `end` until there are `count` messages, or the time is over."""
    arrived: list[Message] = []
    until = time.monotonic() + timeout_s
    while len(arrived) < count and time.monotonic() < until:
        arrived += end.receive(0.1)
    return arrived


def sequences(messages: list[Message]) -> list[int]:
    return [each.address.sequence for each in messages]
