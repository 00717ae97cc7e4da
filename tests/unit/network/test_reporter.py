from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from multiedge.errors import NetworkError
from multiedge.network import reporter
from multiedge.network.reporter import Reporter
from multiedge.network.runs import RunReport


class _Hub:
    """Takes reports; `failures` are raised in place of that, in turn."""

    def __init__(self, *failures: NetworkError) -> None:
        self.failures, self.taken = list(failures), []
        self.asked, self.is_held = threading.Semaphore(0), threading.Event()
        self.is_held.set()

    def report(self, report: RunReport) -> None:
        self.asked.release()
        self.is_held.wait(5.0)
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(report.run)

    @contextmanager
    def open(self) -> Iterator[_Hub]:
        yield self


def _close(sender: Reporter) -> float:
    began_s = time.monotonic()
    sender.close()
    return time.monotonic() - began_s


def test_of_reports_that_could_not_be_sent_yet_the_latest_is_sent() -> None:
    hub = _Hub()
    hub.is_held.clear()
    sender = Reporter(hub.open)
    sender.offer(RunReport("first"))
    assert hub.asked.acquire(timeout=5.0)
    for name in ("second", "third"):
        sender.offer(RunReport(name))
    hub.is_held.set()
    sender.close()
    assert hub.taken == ["first", "third"]


def test_a_hub_that_is_away_is_tried_again(monkeypatch) -> None:
    monkeypatch.setattr(reporter, "REPORT_S", 0.01)
    hub = _Hub(NetworkError("away"), NetworkError("away"))
    sender = Reporter(hub.open)
    for name in ("first", "second", "third"):
        sender.offer(RunReport(name))
        assert hub.asked.acquire(timeout=5.0)
    sender.close()
    assert hub.taken == ["third"]


def test_a_hub_that_takes_no_reports_is_not_asked_again() -> None:
    hub = _Hub(NetworkError("no such route", status=404))
    sender = Reporter(hub.open)
    sender.offer(RunReport("first"))
    assert hub.asked.acquire(timeout=5.0)
    sender.offer(RunReport("second"))
    sender.close()
    assert hub.taken == []


@pytest.mark.timing
def test_a_hub_that_gives_no_answer_does_not_keep_a_run_from_its_end(monkeypatch) -> None:
    monkeypatch.setattr(reporter, "CLOSE_S", 0.05)
    hub = _Hub()
    hub.is_held.clear()
    sender = Reporter(hub.open)
    sender.offer(RunReport("first"))
    assert hub.asked.acquire(timeout=5.0)
    assert _close(sender) < 2.0
    hub.is_held.set()


def test_a_report_is_due_once_a_second() -> None:
    now = [10.0]
    sender = Reporter(_Hub().open, lambda: now[0])
    assert not sender.is_due
    now[0] = 11.0
    assert sender.is_due
    sender.offer(RunReport("first"))
    assert not sender.is_due
    sender.close()
