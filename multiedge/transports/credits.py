"""How many bytes may be on their way from one process to another: no queue of a receiver grows without bound.

The sender counts the bytes of the messages that it starts, the receiver those that it has taken, and tells the sender so. A
message starts while less than half of the window is outstanding, or if it fits into the window. So at most half a window and
one message wait at the receiver. It reports at the latest when half a window was taken that it has not reported: a sender
whose messages were all taken may therefore always start another, however large, and nobody waits for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

WINDOW_BYTES = 8 << 20


@dataclass
class SendWindow:
    """The sender's side; both counts begin with the connection."""

    window_bytes: int = WINDOW_BYTES
    started_bytes: int = 0
    granted_bytes: int = 0

    def may_start(self, nbytes: int) -> bool:
        """Whether a message of this size may be sent now."""
        outstanding = self.started_bytes - self.granted_bytes
        return outstanding < self.window_bytes // 2 or outstanding + nbytes <= self.window_bytes

    def start(self, nbytes: int) -> None:
        self.started_bytes += nbytes

    def grant(self, total_bytes: int) -> None:
        """The receiver has taken so many bytes since the connection began."""
        self.granted_bytes = max(self.granted_bytes, min(total_bytes, self.started_bytes))


@dataclass
class ReceiveWindow:
    """The receiver's side."""

    window_bytes: int = WINDOW_BYTES
    taken_bytes: int = 0
    reported_bytes: int = 0

    def take(self, nbytes: int) -> None:
        self.taken_bytes += nbytes

    @property
    def must_report(self) -> bool:
        """Whether the sender may wait for a report."""
        return 2 * (self.taken_bytes - self.reported_bytes) >= self.window_bytes

    def report(self) -> int:
        """What to tell the sender: all bytes that were taken since the connection began."""
        self.reported_bytes = self.taken_bytes
        return self.taken_bytes
