"""What a load test needs of a server: a target makes requests and reads answers, a wire carries them."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any, Protocol

import numpy.typing as npt

MOST_ERROR_CHARACTERS = 200


@dataclass(frozen=True)
class Channel:
    """Where requests go, and how.

    Attributes:
        wire: Name in `multiedge.load.WIRES`.
        host: Name or address of the server.
        port: Its port.
        method: Of gRPC, the path of the method.
        tls: Whether it is TLS.
        identity: Folder of a certificate, for servers of a fleet; '' for none.
        connections: How many connections are opened before the first request. Of HTTP, each carries one request at a time,
            of gRPC, many.
        may_grow: Whether more connections are opened during the run where all are busy; otherwise requests wait for one.
        timeout_s: How long an answer may take.
    """

    wire: str
    host: str
    port: int
    method: str = ""
    tls: bool = False
    identity: str = ""
    connections: int = 1
    may_grow: bool = True
    timeout_s: float = 30.0


@dataclass(frozen=True)
class Reading:
    """What an answer says.

    Attributes:
        error: Why it is none; '' if it is one.
        tokens: How many tokens of text it has; None where that is not known.
        is_stream: Whether it came piece by piece, so that the time of its first bytes is that of the first piece.
        outputs: Arrays by name; empty where it has none.
    """

    error: str = ""
    tokens: int | None = None
    is_stream: bool = False
    outputs: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


class Target(Protocol):
    """A model on a server, seen through a protocol. Its constructor takes a `place`, which is a `Place`, and options."""

    name: str
    """Name of the model."""
    channel: Channel
    requests: Sequence[bytes]
    """What is sent, as bytes of the wire: one for each sample."""
    is_text: bool
    """Whether answers are texts: these are read after every run, others only where accuracy is measured."""

    def read(self, answer: bytes) -> Reading:
        """Reads an answer that the wire has not refused.

        Args:
            answer: Of HTTP, head, empty line and body; of gRPC, the message.

        Returns:
            What it says.
        """
        ...


class Record:
    """What one sender has seen, by its own numbers of requests. Times are of `time.monotonic`; NaN is not yet."""

    def __init__(self, count: int, keeps_answers: bool = False) -> None:
        self.issued_s, self.first_s, self.done_s = (array("d", [nan]) * count for _ in range(3))
        self.errors: dict[int, str] = {}
        self.answers: dict[int, bytes] = {}
        self.keeps_answers = keeps_answers
        self.waited = 0
        """Requests for which no connection was free when they were due."""

    def fail(self, number: int, reason: str) -> None:
        """The request got no answer, or one that is an error."""
        self.errors[number] = " ".join(reason.split())[:MOST_ERROR_CHARACTERS]
        self.done_s[number] = time.monotonic()


class Wire(Protocol):
    """Carries requests of one sender. One thread uses it; nothing here blocks, `open` and `wait` aside."""

    unanswered: int
    """Requests that were sent, or wait for a connection, and have neither an answer nor an error."""

    def open(self) -> None:
        """Connects; raises NetworkError if the server cannot be reached."""
        ...

    def send(self, number: int, request: bytes) -> None:
        """Sends a request and records the time; what becomes of it is recorded by later calls of `wait`.

        Args:
            number: Its number in the record.
            request: Its bytes.
        """
        ...

    def wait(self, until_s: float) -> None:
        """Takes answers until a time of `time.monotonic`, and may return before.

        Args:
            until_s: The time.
        """
        ...

    def close(self) -> None:
        """Ends all connections."""
        ...
