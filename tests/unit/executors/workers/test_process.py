"""The handle of a worker process, with a small script in the place of the worker."""

import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from multiedge.executors.workers.messages import Configured, Failed, Hello, SetLink, SetSpeed, Stop
from multiedge.executors.workers.observation import Inactivity
from multiedge.executors.workers.process import WorkerProcess
from multiedge.fleet import Device, Link

HELLO = Hello(Device("d0", memory_bytes=1 << 30), {}, 1.0, 1.0, (), "pipe", {}, "caller", 1, False, 0)
BEGIN = "import socket, sys, time; s = socket.socket(fileno=int(sys.argv[-1])); "
ECHO = (
    BEGIN
    + """
import json
text = s.makefile("rb")
print("started", file=sys.stderr, flush=True)
for number, line in enumerate(text):
    kind = json.loads(line)["type"]
    if kind == "Stop": break
    s.sendall(b'{"type": "Configured", "epoch": %d, "loads": [], "resident_bytes": null}\\n' % number)
"""
)

ON_ONE_PROCESSOR_OF_TWO_PROCESSES = """
import os, sys, time
from pathlib import Path
from multiedge.executors.workers.board import Board
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
Board(Path(sys.argv[1]), "d0").show_busy(3, (7,), time.monotonic())
parent = os.getpid()
is_child = os.fork() == 0
while not is_child or os.getppid() == parent: pass
"""


ONE_BEAT = """
import sys, time
from pathlib import Path
from multiedge.executors.workers.board import Board
from multiedge.meters.memory import MemoryReading
Board(Path(sys.argv[1]), "d0").beat(time.monotonic(), MemoryReading(None))
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts a script as if it were the worker."""
    started = []

    def start(script):
        monkeypatch.setattr("multiedge.executors.workers.process.WORKER_MODULE", "worker_script")
        (tmp_path / "worker_script.py").write_text(script)
        monkeypatch.syspath_prepend(str(tmp_path))
        started.append(WorkerProcess(tmp_path, HELLO))
        return started[-1]

    yield start
    for worker in started:
        worker.end()
        assert not psutil.pid_exists(worker.pid)


def observed(worker, enough, timeout_s=20.0):
    """The first view that is enough, with all replies until then."""
    until, replies = time.monotonic() + timeout_s, ()
    while True:
        view = worker.observe(time.monotonic(), 2)
        replies += view.replies
        if enough(view, replies):
            return view, replies
        assert time.monotonic() < until, view
        time.sleep(0.005)


def test_commands_arrive_in_order_and_replies_come_back(start):
    worker = start(ECHO)
    for _ in range(3):
        worker.send(SetSpeed(0.5))
    view, replies = observed(worker, lambda view, replies: len(replies) == 4)
    assert replies == tuple(Configured(number) for number in range(4))
    assert (view.ended, view.silent_s, view.busy, list(view.sent)) == ("", None, None, [0.0, 0.0])
    assert view.age_s > 0.0


def test_a_worker_that_ends_by_itself_is_seen_to_have(start):
    worker = start(ECHO)
    worker.send(Stop())
    worker.end(patience_s=20.0)
    assert worker.observe(time.monotonic(), 0).ended == "ended with status 0: started"


def test_the_error_says_how_a_worker_ended(start):
    worker = start("raise SystemExit('no such backend')")
    view, _ = observed(worker, lambda view, replies: bool(view.ended))
    assert view.ended == "ended with status 1: no such backend"


def test_a_worker_is_ended_by_force_and_may_be_sent_to_after_that(start):
    worker = start(BEGIN + "time.sleep(600)")
    begin = time.monotonic()
    worker.end(patience_s=0.05)
    assert time.monotonic() - begin < 5.0
    worker.send(SetSpeed(1.0))
    assert worker.observe(time.monotonic(), 0).ended.startswith("killed by signal 9")


def test_sending_never_waits_for_a_worker_that_reads_nothing(start):
    worker = start(BEGIN + "time.sleep(600)")
    begin = time.monotonic()
    for _ in range(200):
        worker.send(SetLink("d0", "d" * 10_000, Link()))
    assert time.monotonic() - begin < 10.0


def test_what_is_no_reply_is_a_failure_of_the_worker(start):
    worker = start(BEGIN + "s.sendall(b'hello\\n'); time.sleep(600)")
    _, replies = observed(worker, lambda view, replies: bool(replies))
    assert replies == (Failed("protocol", "worker of 'd0': expected one message in JSON per line, got b'hello'"),)


def test_memory_is_that_of_the_process_with_the_limit_of_its_device(start):
    worker = start(ECHO)
    observed(worker, lambda view, replies: bool(replies))
    memory = worker.memory()
    assert (memory.device, memory.limit_bytes) == ("d0", 1 << 30)
    assert memory.peak_bytes is not None
    assert memory.peak_bytes > 1 << 20
    worker.end()
    assert worker.memory().method == "not measured"


def test_it_runs_under_this_interpreter_with_its_import_path(start):
    worker = start(f"import sys; assert sys.executable == {sys.executable!r}; raise SystemExit(sys.path[1:] != [])")
    view, _ = observed(worker, lambda view, replies: bool(view.ended))
    assert view.ended == "ended with status 1"


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this system does not show the wait for a processor")
def test_a_stage_that_waits_for_a_processor_is_seen_to_wait(start):
    worker = start(ON_ONE_PROCESSOR_OF_TWO_PROCESSES)
    view, _ = observed(worker, lambda view, _: view.busy is not None and view.busy.waited_s > 0.2)
    assert (view.busy.stage, view.busy.sequence) == (3, 7)
    assert 0.0 < view.busy.had_s < view.busy.for_s - 0.2


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not show the states of threads")
@pytest.mark.parametrize(
    ("then", "inactivity"), [("time.sleep(600)", Inactivity.ASLEEP), ("while True: pass", None)], ids=["sleeps", "computes"]
)
def test_a_silent_worker_is_seen_to_be_inactive_and_to_be_stopped(start, then, inactivity):
    worker = start(f"{ONE_BEAT}{then}")
    observed(worker, lambda view, _: view.silent_s is not None)
    at_its_beat = worker.observe(0.0, 2)  # whatever time it is by now
    assert (at_its_beat.silent_s, at_its_beat.inactivity) == (0.0, None), "its signs of life say enough"
    view, _ = observed(worker, lambda view, _: view.silent_s > 0.4)
    assert view.inactivity is inactivity
    psutil.Process(worker.pid).send_signal(signal.SIGSTOP)
    observed(worker, lambda view, _: view.inactivity is Inactivity.STOPPED)
