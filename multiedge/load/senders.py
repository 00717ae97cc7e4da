"""The load test's side of its senders: start them, let all begin at the same time, collect what they have seen."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from multiedge.errors import NetworkError
from multiedge.formats.fields import Kind
from multiedge.formats.records import LineDecoder, encode_line
from multiedge.load.contract import Channel
from multiedge.load.messages import (
    Answered,
    Begin,
    Failed,
    Finished,
    Prepare,
    Ready,
    Seen,
    Stop,
    read_seen,
    write_work,
)
from multiedge.load.schedule import Schedule
from multiedge.measurements import Item
from multiedge.meters.cpu import own_processors

SENDER_MODULE = "multiedge.load.sender"
LEAD_S = 0.05
"""How long before the time 0 of the schedule senders are told of it."""
STOP_S = 10.0
"""How long senders that are to stop may take to write down what they have seen."""
UNANSWERED = "not answered: the run was ended before"
Progress = Callable[[int], None]
_Said = Ready | Failed | Answered | Finished


@dataclass(frozen=True)
class Sent:
    """What became of a schedule.

    Attributes:
        items: One for each request that was sent, in the order of the schedule; times in seconds from its time 0.
        first_s: For each, when the first byte of the body had come; NaN where none has.
        answers: Bytes of answers by number of the item, where they are kept.
        waited: Requests for which no connection was free when they were due.
        is_real_time: Whether all senders went before other work of this machine.
        is_whole: Whether all requests of the schedule were sent, and each was answered or has failed.
    """

    items: tuple[Item, ...]
    first_s: tuple[float, ...]
    answers: dict[int, bytes]
    waited: int
    is_real_time: bool
    is_whole: bool


def send(
    channel: Channel,
    requests: Sequence[bytes],
    schedule: Schedule,
    *,
    senders: int = 1,
    warmup: int = 2,
    keeps_answers: bool = False,
    progress: Progress = lambda count: None,
) -> Sent:
    """Sends a schedule from so many processes, which share its requests in turn.

    Args:
        channel: Where to; its connections are shared by the senders.
        requests: One for each sample.
        schedule: When.
        senders: How many processes.
        warmup: Requests that each process sends before, one after another.
        keeps_answers: Whether to return answers.
        progress: Called with the number of newly answered requests.

    Returns:
        What became of it; on Ctrl-C of what was sent until then.

    Raises:
        NetworkError: If the server cannot be reached, or the first request fails.
    """
    senders = min(senders, len(schedule))
    with tempfile.TemporaryDirectory(prefix="multiedge-load-") as name, ExitStack() as stack:
        folder = Path(name)
        write_work(folder, requests, schedule)
        is_urgent = senders < len(own_processors())  # a processor is left for all other work
        processes = [stack.enter_context(_started(folder)) for _ in range(senders)]
        for number, (process, each) in enumerate(zip(processes, _shares(channel, senders), strict=True)):
            process.say(Prepare(each, number, senders, warmup, keeps_answers, is_urgent))
        _wait(processes, Ready, lambda said: None)
        start_s = time.monotonic() + LEAD_S
        for process in processes:
            process.say(Begin(start_s))
        is_whole = _watch(processes, progress)
        seen = [read_seen(folder, number) for number in range(senders)]
        return _joined(seen, schedule, start_s, all(process.is_real_time for process in processes), is_whole)


def _shares(channel: Channel, senders: int) -> Iterator[Channel]:
    """The channel of each sender: together they have its connections, and each has at least one."""
    for number in range(senders):
        yield replace(channel, connections=max(1, len(range(number, channel.connections, senders))))


class _Sender:
    """One process that sends."""

    def __init__(self, folder: Path) -> None:
        self._socket, theirs = socket.socketpair()
        self._decoder: LineDecoder[_Said] = LineDecoder(
            (Ready, Failed, Answered, Finished), "sender", Kind("message", NetworkError)
        )
        self.answered, self.is_real_time, self.has_finished = 0, False, False
        self._log = folder / "stderr"
        try:
            with theirs, open(self._log, "ab") as errors:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", SENDER_MODULE, os.fspath(folder), str(theirs.fileno())],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stderr=errors,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
                )
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def say(self, command: Prepare | Begin | Stop) -> None:
        self._socket.sendall(encode_line(command))

    def read(self) -> tuple[_Said, ...]:
        """What it has said; NetworkError if it has ended."""
        data = self._socket.recv(1 << 16)
        if data:
            return self._decoder.feed(data)
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return (Failed(f"a sender has ended: {lines[-1] if lines else f'status {self._process.wait()}'}"),)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()


@contextmanager
def _started(folder: Path) -> Iterator[_Sender]:
    sender = _Sender(folder)
    try:
        yield sender
    finally:
        sender.end()


def _watch(senders: Sequence[_Sender], progress: Progress) -> bool:
    """Waits until all have sent everything; False if Ctrl-C has ended the run before."""
    try:
        _wait(senders, Finished, progress)
    except KeyboardInterrupt:
        left = [sender for sender in senders if not sender.has_finished]
        for sender in left:
            with suppress(OSError):  # it has finished meanwhile, and what it has said is still to be read
                sender.say(Stop())
        _wait(left, Finished, progress, STOP_S)
        return False
    return True


def _wait(senders: Sequence[_Sender], for_what: type, progress: Progress, most_s: float | None = None) -> None:
    """Returns once every sender has said so; NetworkError with the reason of the first that fails."""
    until_s = None if most_s is None else time.monotonic() + most_s
    with selectors.DefaultSelector() as selector:
        for sender in senders:
            selector.register(sender, selectors.EVENT_READ, sender)
        while selector.get_map():
            ready = selector.select(None if until_s is None else max(0.0, until_s - time.monotonic()))
            if not ready:
                raise NetworkError(f"a sender did not stop in {most_s:g} s")
            for sender in (key.data for key, _ in ready):
                if _has_said(sender, sender.read(), for_what, progress):
                    selector.unregister(sender)


def _has_said(sender: _Sender, messages: Iterable[_Said], for_what: type, progress: Progress) -> bool:
    has_said = False
    for said in messages:
        if isinstance(said, Failed):
            raise NetworkError(said.reason)
        if isinstance(said, Ready):
            sender.is_real_time = said.is_real_time
        if isinstance(said, Answered):
            progress(said.count - sender.answered)
            sender.answered = said.count
        sender.has_finished |= isinstance(said, Finished)
        has_said |= isinstance(said, for_what)
    return has_said


def _joined(seen: Sequence[Seen], schedule: Schedule, start_s: float, is_real_time: bool, is_whole: bool) -> Sent:
    """What all senders have seen, in the order of the schedule."""
    of = len(seen)
    numbers = sorted(place * of + number for number, each in enumerate(seen) for place in range(len(each.issued_s)))
    due_s = schedule.due_s.tolist()
    times = [(each.issued_s - start_s, each.first_s - start_s, each.done_s - start_s) for each in seen]
    items, first_s = [], []
    for number in numbers:
        place, sender = divmod(number, of)
        issued_s, first, done_s = (float(each[place]) for each in times[sender])
        error = seen[sender].errors.get(place, "")
        if np.isnan(done_s):
            done_s, error = max(issued_s, due_s[number]) if not np.isnan(issued_s) else due_s[number], UNANSWERED
        items.append(Item(number, due_s[number], due_s[number] if np.isnan(issued_s) else issued_s, done_s, error))
        first_s.append(first)
    answers = {place * of + sender: data for sender, each in enumerate(seen) for place, data in each.answers.items()}
    whole = is_whole and len(items) == len(schedule)
    return Sent(tuple(items), tuple(first_s), answers, sum(each.waited for each in seen), is_real_time, whole)
