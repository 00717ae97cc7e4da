"""The loop that sends, against a wire and a clock that the test moves."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.errors import NetworkError
from multiedge.load.contract import Record
from multiedge.load.schedule import Schedule
from multiedge.load.sender import send_all, warm_up


class FakeWire:
    """Answers after `service_s`; a send takes `send_s` of the clock."""

    def __init__(self, record: Record, service_s: float = 0.0, send_s: float = 0.0) -> None:
        self.now_s, self._record, self._service_s, self._send_s = 100.0, record, service_s, send_s
        self._done: dict[int, float] = {}
        self.sent: list[bytes] = []
        self.is_open = False

    @property
    def unanswered(self) -> int:
        return len(self._done)

    def clock(self) -> float:
        return self.now_s

    def open(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def send(self, number: int, request: bytes) -> None:
        self._record.issued_s[number] = self.now_s
        self.now_s += self._send_s
        self._done[number] = self.now_s + self._service_s
        self.sent.append(request)

    def wait(self, until_s: float) -> None:
        self.now_s = max(self.now_s, until_s)
        for number, done_s in list(self._done.items()):
            if done_s <= self.now_s:
                self._record.done_s[number] = done_s
                del self._done[number]


def schedule(*due_s: float) -> Schedule:
    return Schedule(np.array(due_s), np.arange(len(due_s)) % 2)


def test_requests_leave_when_they_are_due_whatever_became_of_earlier_ones() -> None:
    record = Record(4)
    wire = FakeWire(record, service_s=50.0)
    assert send_all(wire, schedule(0.5, 0.5, 2.0, 7.25), [b"a", b"b"], 100.0, lambda count: True, wire.clock) == 4
    assert list(record.issued_s) == [100.5, 100.5, 102.0, 107.25]
    assert list(record.done_s) == [150.5, 150.5, 152.0, 157.25]
    assert wire.sent == [b"a", b"b", b"a", b"b"]


def test_a_sender_that_is_too_slow_falls_behind_its_schedule_and_still_takes_answers() -> None:
    record = Record(1000)
    wire = FakeWire(record, send_s=2e-3)
    most = []

    def go_on(answered: int) -> bool:
        most.append(wire.unanswered)
        return True

    send_all(wire, schedule(*(number * 1e-3 for number in range(1000))), [b"a", b"b"], 100.0, go_on, wire.clock)
    lags_s = np.array(record.issued_s) - 100.0 - np.arange(1000) * 1e-3
    assert lags_s[-1] == pytest.approx(0.999, rel=0.01)
    assert max(most) < 200


def test_a_run_that_is_stopped_sends_no_more_and_waits_for_nothing() -> None:
    record = Record(100)
    wire = FakeWire(record, service_s=1000.0)
    sent = send_all(wire, schedule(*range(100)), [b"a", b"b"], 100.0, lambda count: wire.now_s < 110.2, wire.clock)
    assert sent == 11
    assert wire.unanswered == 11


def test_progress_counts_answers() -> None:
    record, counts = Record(5), []
    wire = FakeWire(record, service_s=0.1)
    send_all(wire, schedule(0, 1, 2, 3, 4), [b"a", b"b"], 100.0, lambda count: not counts.append(count), wire.clock)
    assert counts == sorted(counts)
    assert counts[-1] >= 4


def test_the_first_request_that_fails_ends_the_warm_up() -> None:
    record = Record(2)

    class Refusing(FakeWire):
        def send(self, number: int, request: bytes) -> None:
            self._record.fail(number, "status 404: no such model")

    wire = Refusing(record)
    with pytest.raises(NetworkError, match="the first request failed: status 404: no such model"):
        warm_up(wire, record, [b"a"])
    assert not wire.is_open
