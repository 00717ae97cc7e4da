"""The process that sends: `python -m multiedge.load.sender FOLDER SOCKET`.

It has a schedule and bytes, and does nothing beside sending them in time: what answers say is read elsewhere.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from multiedge.errors import MultiedgeError, NetworkError
from multiedge.formats.fields import Kind
from multiedge.formats.records import LineDecoder, encode_line
from multiedge.load import WIRES
from multiedge.load.contract import Record, Wire
from multiedge.load.messages import Answered, Begin, Failed, Finished, Prepare, Ready, Stop, read_work, write_seen
from multiedge.load.schedule import Schedule

PROGRESS_S = 0.25
LONGEST_WAIT_S = 0.1
SWITCH_S = 100e-6
"""How long a thread of gRPC may keep the one that sends waiting."""
PR_SET_TIMERSLACK, SLACK_NS = 29, 1000
"""Of <sys/prctl.h>: Linux wakes a process up to 50 us late, unless it states less."""
_COMMANDS = Prepare | Begin | Stop


class Peer:
    """The other end of the socket to the load test."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket, self._commands = connected, deque[_COMMANDS]()
        self._decoder: LineDecoder[_COMMANDS] = LineDecoder((Prepare, Begin, Stop), "load test", Kind("message", NetworkError))

    def say(self, message: Ready | Failed | Answered | Finished) -> None:
        with suppress(OSError):  # a load test that has ended
            self._socket.sendall(encode_line(message))

    def next(self) -> _COMMANDS:
        """The next command; Stop where nobody gives commands any more."""
        while not self._commands:
            data = self._socket.recv(1 << 16)
            if not data:
                return Stop()
            self._commands.extend(self._decoder.feed(data))
        return self._commands.popleft()

    def has_said(self) -> bool:
        """Whether a command has come, or the other end has gone. While requests are sent, each of them means to stop."""
        return bool(self._commands or select.select([self._socket], [], [], 0)[0])


def main() -> None:
    """Runs one sender."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it, too: the load test tells it to stop
    _permit_connections()
    folder, peer = Path(sys.argv[1]), Peer(socket.socket(fileno=int(sys.argv[2])))
    command = peer.next()
    if not isinstance(command, Prepare):
        return
    try:
        _serve(folder, peer, command)
    except MultiedgeError as error:
        peer.say(Failed(str(error)))


def _serve(folder: Path, peer: Peer, command: Prepare) -> None:
    requests, schedule = read_work(folder, command.number, command.of)
    make = WIRES.load(command.channel.wire)
    record = Record(command.warmup)
    warm_up(make(replace(command.channel, connections=1), record), record, requests)
    record = Record(len(schedule), command.keeps_answers)
    wire = make(command.channel, record)
    is_real_time = _wake_in_time(command.is_urgent)  # threads of gRPC, which begin with `open`, have it from here
    wire.open()
    peer.say(Ready(is_real_time))
    begin = peer.next()
    if isinstance(begin, Begin):
        sent = send_all(wire, schedule, requests, begin.start_s, lambda answered: _report(peer, answered))
        write_seen(folder, command.number, record, sent)
        peer.say(Finished(sent))
    # Closing thousands of connections takes time, and the system does it anyway.
    sys.stdout.flush()
    os._exit(0)


def warm_up(wire: Wire, record: Record, requests: Sequence[bytes]) -> None:
    """Sends the first requests one after another. Raises NetworkError for the first that fails."""
    wire.open()
    try:
        for number in range(len(record.done_s)):
            wire.send(number, requests[number % len(requests)])
            while wire.unanswered:
                wire.wait(time.monotonic() + LONGEST_WAIT_S)
            if number in record.errors:
                raise NetworkError(f"the first request failed: {record.errors[number]}")
    finally:
        wire.close()


def send_all(
    wire: Wire,
    schedule: Schedule,
    requests: Sequence[bytes],
    start_s: float,
    go_on: Callable[[int], bool],
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Sends each request when it is due, and waits for all answers. Returns how many were sent.

    `go_on` is called with the number of answers from time to time; the run ends early where it returns False.
    """
    sent, report_s, taken_s = 0, start_s + PROGRESS_S, start_s
    due = [start_s + each for each in schedule.due_s.tolist()]
    samples: list[int] = schedule.samples.tolist()
    while sent < len(due) or wire.unanswered:
        now = clock()
        if sent < len(due) and due[sent] <= now and now - taken_s < LONGEST_WAIT_S:
            wire.send(sent, requests[samples[sent]])
            sent += 1
            continue
        until_s = min(due[sent] if sent < len(due) else now + LONGEST_WAIT_S, report_s)
        wire.wait(until_s)
        taken_s = clock()
        if taken_s >= report_s:
            report_s = taken_s + PROGRESS_S
            if not go_on(sent - wire.unanswered):
                break
    return sent


def _report(peer: Peer, answered: int) -> bool:
    peer.say(Answered(answered))
    return not peer.has_said()


def _permit_connections() -> None:
    """Every connection is an open file, of which a process may have 1024 on most systems unless it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 1 << 16), hard))


def _wake_in_time(is_urgent: bool) -> bool:
    """Has the system wake this process up when a request is due. Whether it may go before all others that compute."""
    gc.collect()
    gc.disable()
    sys.setswitchinterval(SWITCH_S)
    if not sys.platform.startswith("linux"):
        return False
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, SLACK_NS)
    with suppress(OSError):
        if is_urgent:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            return True
    return False


if __name__ == "__main__":
    main()
