import errno
import time

import pytest

from multiedge.errors import PipelineError
from multiedge.executors.workers.messages import Configure, SetLink, SetSpeed, Stop
from multiedge.executors.workers.pool import STOP_S
from multiedge.fleet import Link
from tests.builders.flow import chain_routes
from tests.builders.supervision import fleet_of
from tests.builders.workers import fake_pool

SLOW = Link(1e3, 0.5, loss=0.1)
IN_PROCESS = Link(1e3, 0.5)


def test_a_worker_is_started_with_the_links_that_leave_its_device():
    pool, launcher = fake_pool(fleet_of(3))
    pool.start("d1")
    assert launcher.given == [("d1", 1.0, {"d0": Link(), "d2": Link()})]


def test_speeds_and_links_reach_workers_that_run_and_those_that_are_started_later():
    pool, launcher = fake_pool(fleet_of(3))
    pool.start("d0")
    pool.set_speed("d0", 0.5)
    pool.set_speed("d1", 0.25)
    assert pool.set_link("d1", "d0", SLOW) == IN_PROCESS
    pool.start("d1")
    assert launcher.started[0].commands == [SetSpeed(0.5), SetLink("d1", "d0", IN_PROCESS)]
    assert launcher.given[1] == ("d1", 0.25, {"d0": SLOW, "d2": Link()})
    assert launcher.changed == [("d1", "d0", SLOW)]
    assert (pool.link("d1", "d0"), pool.link("d0", "d1")) == (SLOW, Link())


def test_a_command_for_a_device_without_a_worker_goes_nowhere():
    pool, _ = fake_pool(fleet_of(2))
    pool.send("d0", Configure(1, "plan", chain_routes("d0")))
    pool.stop("d0")
    assert pool.observe(0.0, 1) == {}


def test_the_memory_of_the_largest_worker_of_a_device_is_kept():
    pool, launcher = fake_pool(fleet_of(2))
    for peak_bytes in (100, 300, 200):
        pool.start("d0")
        launcher.started[-1].peak_bytes = peak_bytes
        pool.stop("d0")
    pool.start("d1")
    assert [(entry.device, entry.peak_bytes) for entry in pool.memory()] == [("d0", 300), ("d1", 100)]
    assert launcher.started[0].ended_after_s == 0.0


def test_the_processor_time_of_all_workers_of_a_device_is_summed():
    pool, launcher = fake_pool(fleet_of(2))
    for spent_s in (1.0, None, 2.0):
        pool.start("d0")
        launcher.started[-1].spent_s = spent_s
        pool.stop("d0")
    pool.start("d0")
    pool.start("d1")
    assert pool.cpu_s() == {"d0": 3.5, "d1": 0.5}


def test_closing_lets_workers_end_by_themselves_for_a_moment_shared_by_all():
    pool, launcher = fake_pool(fleet_of(2))
    for name in ("d0", "d1"):
        pool.start(name)
    pool.close()
    assert [worker.commands for worker in launcher.started] == [[Stop()], [Stop()]]
    assert all(0.0 < (worker.ended_after_s or 0.0) <= STOP_S for worker in launcher.started)
    assert pool.workers == {}


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "too many open files"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "resource temporarily unavailable"),
        (MemoryError("no memory"), "no memory"),
        (PipelineError("/dev/shm: no room for 0.0 MiB"), "/dev/shm: no room for 0.0 MiB"),
    ],
)
def test_a_worker_that_cannot_be_started_is_seen_as_one_that_has_ended(refusal, reason):
    pool, launcher = fake_pool(fleet_of(1))
    launcher.refusal = refusal
    pool.start("d0")
    pool.send("d0", Stop())
    view = pool.observe(time.monotonic() + 1.0, 2)["d0"]
    assert (view.ended, list(view.sent)) == (f"could not be started: {reason}", [0.0, 0.0])
    assert view.age_s == pytest.approx(1.0, abs=0.5)
    assert pool.memory()[0].peak_bytes is None
    pool.stop("d0")
    assert pool.workers == {}
    assert pool.cpu_s() == {"d0": 0.0}
