import os
from pathlib import Path

import pytest

from multiedge.executors.workers.emulation import PERIOD_US, Pace, Quota, assign_cores, pin
from multiedge.fleet import Device


@pytest.fixture
def clock(monkeypatch):
    """Time as a test sets it: [seconds that have passed, seconds of processor time]. Sleeping takes 0.25 s too long."""
    now = [10.0, 5.0]

    def sleep(seconds):
        now[0] += seconds + 0.25

    monkeypatch.setattr("multiedge.executors.workers.emulation.time.process_time", lambda: now[1])
    monkeypatch.setattr("multiedge.executors.workers.emulation.time.sleep", sleep)
    return now


def compute(pace, clock, seconds, worked_s):
    """How long the pace has waited after a computation of so many seconds."""
    assert pace.begin() == clock[0]
    clock[0] += seconds
    clock[1] += worked_s
    before = clock[0]
    pace.stretch()
    return clock[0] - before


def test_half_the_speed_doubles_the_time_that_was_worked(clock):
    assert compute(Pace(0.5, lambda: clock[0]), clock, 1.0, 1.0) == pytest.approx(1.25)


def test_oversleeping_is_made_up_for(clock):
    pace = Pace(0.5, lambda: clock[0])
    assert [compute(pace, clock, 1.0, 1.0) for _ in range(3)] == pytest.approx([1.25, 1.0, 1.0])


def test_waiting_for_a_processor_is_not_stretched(clock):
    assert compute(Pace(0.5, lambda: clock[0]), clock, 3.0, 1.0) == pytest.approx(1.25)


def test_several_threads_count_as_the_time_that_has_passed(clock):
    assert compute(Pace(0.5, lambda: clock[0]), clock, 1.0, 4.0) == pytest.approx(1.25)


@pytest.mark.parametrize("speed", [1.0, 3.0])
def test_full_speed_and_above_never_wait(clock, speed):
    assert compute(Pace(speed, lambda: clock[0]), clock, 1.0, 1.0) == 0.0


def test_cores_are_given_only_if_there_are_enough() -> None:
    devices = [Device("a", threads=2), Device("b")]
    assert assign_cores(devices, [0, 1, 2]) == {"a": (0, 1), "b": (2,)}
    assert assign_cores(devices, [0, 1]) == {}


def test_cores_that_do_not_exist_are_no_error():
    before = os.sched_getaffinity(0)
    pin([10_000])
    pin([])
    assert os.sched_getaffinity(0) == before


def test_a_quota_says_whether_the_system_allowed_it(tmp_path):
    assert not Quota("x", 0.5, root=tmp_path).made
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("base", "files", "written"),
    [
        ("", ["cpu.max"], {"cpu.max": f"5000 {PERIOD_US}"}),
        ("cpu", ["cpu.cfs_period_us", "cpu.cfs_quota_us"], {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": "5000"}),
    ],
)
def test_a_quota_grants_its_share_of_each_period(tmp_path, monkeypatch, base, files, written):
    """With folders as a kernel with cgroups of version 2 or 1 makes them."""
    (tmp_path / "cpu").mkdir()
    made = Path.mkdir

    def mkdir(path, *args, **options):
        made(path, *args, **options)
        if path.parent == tmp_path / base:
            for name in (*files, "cgroup.procs"):
                (path / name).touch()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    quota = Quota("x", 0.5, root=tmp_path)
    assert quota.made
    quota.add(42)
    (folder,) = (tmp_path / base).glob("multiedge-*")
    assert {name: (folder / name).read_text() for name in files} == written
    assert (folder / "cgroup.procs").read_text() == "42"
