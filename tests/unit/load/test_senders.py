"""The load test's side of its senders at Ctrl-C, with senders that are no processes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from multiedge.load import senders as module
from multiedge.load.contract import Channel, Record
from multiedge.load.messages import Begin, Finished, Prepare, Ready, Stop, write_seen
from multiedge.load.schedule import Schedule
from multiedge.load.senders import send

Command = Prepare | Begin | Stop
CTRL_C = "Ctrl-C"
"""Reading this message raises KeyboardInterrupt."""


class FakeSender:
    """Sends the messages that a test gives it, and keeps what it receives."""

    answered, is_real_time, has_finished = 0, False, False
    folder: Path

    def __init__(self, number: int) -> None:
        self._number = number
        self._ours, self._theirs = socket.socketpair()
        self._said: list[Ready | Finished | str] = []
        self.received: list[type[Command]] = []

    def fileno(self) -> int:
        return self._ours.fileno()

    def say(self, command: Command) -> None:
        self.received.append(type(command))
        if isinstance(command, Prepare):
            self.speak(Ready(False))

    def speak(self, said: Ready | Finished | str) -> None:
        self._said.append(said)
        self._theirs.send(b"x")

    def read(self) -> tuple[Ready | Finished, ...]:
        self._ours.recv(1)
        said = self._said.pop(0)
        if isinstance(said, str):
            raise KeyboardInterrupt
        return (said,)

    def write(self, sent: int) -> None:
        record = Record(sent)
        for number in range(sent):
            record.issued_s[number] = record.done_s[number] = 0.0
        write_seen(self.folder, self._number, record, sent)

    def end(self) -> None:
        self._ours.close()
        self._theirs.close()


class Quick(FakeSender):
    """Has sent both of its requests and ended when Ctrl-C is pressed; what it has said of that was read before, or not yet."""

    def __init__(self, other: FakeSender, *, is_read: bool) -> None:
        super().__init__(0)
        self._other, self._is_read = other, is_read

    def say(self, command: Command) -> None:
        super().say(command)
        if isinstance(command, Begin):
            self.write(2)
            if self._is_read:
                self.speak(Finished(2))
            else:
                self._other.speak(CTRL_C)
        elif isinstance(command, Stop):
            self.speak(Finished(2))
            raise BrokenPipeError

    def read(self) -> tuple[Ready | Finished, ...]:
        said = super().read()
        if self._is_read and isinstance(said[0], Finished):
            self._other.speak(CTRL_C)
        return said


class Slow(FakeSender):
    """Has sent one of its requests when it receives Stop."""

    def say(self, command: Command) -> None:
        super().say(command)
        if isinstance(command, Stop):
            self.write(1)
            self.speak(Finished(1))


@pytest.mark.parametrize("is_read", [True, False], ids=["read before", "read afterwards"])
def test_ctrl_c_stops_who_still_sends_and_what_all_have_sent_comes_back(
    monkeypatch: pytest.MonkeyPatch, *, is_read: bool
) -> None:
    slow = Slow(1)
    both = [Quick(slow, is_read=is_read), slow]
    left = iter(both)

    @contextmanager
    def started(folder: Path) -> Iterator[FakeSender]:
        sender = next(left)
        sender.folder = folder
        try:
            yield sender
        finally:
            sender.end()

    monkeypatch.setattr(module, "_started", started)
    schedule = Schedule(np.arange(4.0), np.zeros(4, np.int64))
    sent = send(Channel("http", "h", 1), [b"a"], schedule, senders=2)
    assert [item.item for item in sent.items] == [0, 1, 2]
    assert not any(item.error for item in sent.items)
    assert not sent.is_whole
    assert [each.received for each in both] == [[Prepare, Begin] if is_read else [Prepare, Begin, Stop], [Prepare, Begin, Stop]]
