"""What a hub exchanged with somebody, for those who record what happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Exchange:
    """A request and its answer.

    Attributes:
        who: The other side, by its certificate; the hub asks by GetState, all others ask the hub.
        method: 'GET' and others of HTTP, or 'GetState'.
        path: What was asked for; '' for GetState.
        status: That of the answer.
        start_s: When the request came, UNIX time.
        stop_s: When its answer was made.
        received_bytes: Length of what the other side sent.
        sent_bytes: Length of what the hub sent.
        received: The record that the other side sent; empty for a file.
        sent: The record that the hub sent; empty for a file.
    """

    who: str
    method: str
    path: str
    status: int
    start_s: float
    stop_s: float
    received_bytes: int
    sent_bytes: int
    received: bytes = b""
    sent: bytes = b""


Observe = Callable[[Exchange], None]
"""Called after each exchange, in the hub's event loop."""


def ignore(exchange: Exchange) -> None:
    """Records nothing."""
