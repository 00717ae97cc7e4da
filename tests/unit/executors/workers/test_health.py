import math

import pytest

from multiedge.executors.workers.health import MOST_DOUBLINGS, memory_problem, problem_of, progress_of, stuck_links, waiting_s
from multiedge.executors.workers.observation import Busy, Inactivity, LinkView, WorkerView
from multiedge.executors.workers.options import Deadlines
from multiedge.executors.workers.state import Progress, Stuck
from multiedge.fleet import DEFAULT_RUNTIME_BYTES, Device

DEADLINES = Deadlines(heartbeat_s=2.0, floor_s=4.0, load_s=10.0, cooldown_s=3.0)
MIB = 1 << 20
STOPPED, ASLEEP = {"inactivity": Inactivity.STOPPED}, {"inactivity": Inactivity.ASLEEP}
COMPUTING = {"busy": Busy(3, 7, 0.4)}


def problem(*, owes_for_s=None, limits_memory=True, stalled_s=None, inactive_s=None, deadlines=DEADLINES, **view):
    return problem_of(
        Device("d0", memory_bytes=MIB),
        WorkerView(**{"age_s": 1.0, "silent_s": 0.0, **view}),
        limit_s=5.0,
        owes_for_s=owes_for_s,
        deadlines=deadlines,
        limits_memory=limits_memory,
        stalled_s=stalled_s,
        inactive_s=inactive_s,
    )


@pytest.mark.parametrize(
    ("view", "detail"),
    [
        ({"ended": "killed by signal 9"}, "worker of 'd0' killed by signal 9"),
        ({"silent_s": None, "age_s": 10.1}, "worker of 'd0' gave no sign of life for 10.1 s after its start"),
        ({"silent_s": None, "age_s": 19.0, "stalled_s": 11}, "worker of 'd0' gave no sign of life for 19.0 s after its start"),
        ({"silent_s": None, "age_s": 61.0, "stalled_s": 1.0}, "worker of 'd0' gave no sign of life for 61.0 s after its start"),
        ({"silent_s": 2.5}, "worker of 'd0' gives no sign of life for 2.5 s"),
        ({"silent_s": 0.9, "patience_s": 0.8}, "worker of 'd0' gives no sign of life for 0.9 s"),
        ({"silent_s": 2.5, "patience_s": 60.0}, "worker of 'd0' gives no sign of life for 2.5 s"),
        (
            {"silent_s": 2.5, "stalled_s": 2.1},
            "worker of 'd0' gives no sign of life for 2.5 s, and has not used the processor for 2.1 s",
        ),
        ({"silent_s": 61.0, "stalled_s": 0.1}, "worker of 'd0' gives no sign of life for 61.0 s, although it computes"),
        (
            {"silent_s": 0.6, "stalled_s": 0.6, "inactive_s": 0.6, **STOPPED},
            "worker of 'd0' is stopped; it gives no sign of life for 0.6 s",
        ),
        (
            {"silent_s": 0.6, "stalled_s": 0.6, "inactive_s": 0.6, "owes_for_s": 1.0, **STOPPED, **COMPUTING},
            "worker of 'd0' is stopped; it gives no sign of life for 0.6 s",
        ),
        (
            {"silent_s": 0.6, "stalled_s": 0.1, "inactive_s": 0.6, **ASLEEP},
            "worker of 'd0' sleeps, although its heartbeat is due; it gives no sign of life for 0.6 s",
        ),
        (
            {"silent_s": 0.4, "inactive_s": 0.4, "deadlines": Deadlines(heartbeat_s=0.3), **STOPPED},
            "worker of 'd0' gives no sign of life for 0.4 s",
        ),
        ({"busy": Busy(3, 7, 5.5)}, "worker of 'd0': stage 3 runs for 5.5 s; it may take 5.0 s"),
        (
            {"busy": Busy(3, 7, 9.5, waited_s=4.0)},
            "worker of 'd0': stage 3 runs for 5.5 s, without the 4.0 s that it waited for a processor; it may take 5.0 s",
        ),
        ({"owes_for_s": 10.5}, "worker of 'd0' has not loaded its stages within 10 s"),
        ({"resident_bytes": 3 * MIB}, "device 'd0' takes 3.0 MiB and has 1.0 MiB"),
    ],
)
def test_what_is_wrong_is_said_with_its_figures(view, detail):
    assert problem(**view).detail == detail


@pytest.mark.parametrize(
    "view",
    [
        {},
        {"silent_s": None, "age_s": 9.9},
        {"silent_s": None, "age_s": 59.0, "stalled_s": 9.9},
        {"silent_s": 3.5, "owes_for_s": 1.0},
        {"silent_s": 3.5, "owes_for_s": 1.0, "patience_s": 0.8},
        {"silent_s": 1.9, "patience_s": 60.0},
        {"silent_s": 30.0, "stalled_s": 1.9},
        {"silent_s": 1.9, "stalled_s": 1.9, "inactive_s": 0.4, **STOPPED},
        {"silent_s": 0.4, "stalled_s": 0.4, "inactive_s": 1.9, **STOPPED},
        {"silent_s": None, "age_s": 9.9, "stalled_s": 9.9, "inactive_s": 9.9, **STOPPED},
        {"busy": Busy(3, 7, 4.5)},
        {"busy": Busy(3, 7, 60.0, waited_s=55.5)},
        {"busy": Busy(3, 7, 4.5), "owes_for_s": 11.0},
        {"resident_bytes": 3 * MIB, "owes_for_s": 1.0},
        {"resident_bytes": 3 * MIB, "limits_memory": False},
        {"resident_bytes": None},
    ],
)
def test_what_may_be_is_no_problem(view):
    assert problem(**view) is None


def test_a_worker_that_has_ended_is_not_judged_by_its_silence():
    assert problem(ended="ended with status 1", silent_s=99.0).kind == "crash"


@pytest.mark.parametrize(
    ("view", "before", "after"),
    [
        ({"silent_s": 0.1, "cpu_s": 5.0}, Progress(1.0, 4.0), None),
        ({"silent_s": None, "cpu_s": 5.0}, None, Progress(9.7, 5.0)),
        ({"silent_s": 9.0, "cpu_s": None}, Progress(1.0, 4.0), None),
        ({"silent_s": 9.0, "cpu_s": 5.0}, None, Progress(9.7, 5.0)),
        ({"silent_s": 9.0, "cpu_s": 5.0}, Progress(1.0, 4.9), Progress(10.0, 5.0)),
        ({"silent_s": 9.0, "cpu_s": 5.0}, Progress(1.0, 4.98), Progress(1.0, 4.98)),
        ({"silent_s": 9.0, "cpu_s": 5.0, **ASLEEP}, Progress(1.0, 4.9, 8.0), Progress(10.0, 5.0, 10.0)),
    ],
    ids=["signs of life", "not started", "not known", "first seen", "computes", "threads only wake", "computes between looks"],
)
def test_a_silent_worker_that_uses_the_processor_makes_progress(view, before, after):
    assert progress_of(WorkerView(age_s=20.0, **view), before, 10.0) == after


@pytest.mark.parametrize(
    ("view", "is_loading", "before_s", "since_s"),
    [
        (STOPPED, False, 8.0, 8.0),
        ({**STOPPED, **COMPUTING}, True, 8.0, 8.0),
        (STOPPED, False, None, 10.0),
        (ASLEEP, False, 8.0, 8.0),
        ({**ASLEEP, **COMPUTING}, False, 8.0, None),
        (ASLEEP, True, 8.0, None),
        ({}, False, 8.0, None),
    ],
    ids=[
        "stopped",
        "stopped while it computes",
        "just now",
        "asleep",
        "its device may compute",
        "loads",
        "active or not known",
    ],
)
def test_a_worker_is_inactive_since_every_look_has_found_it_so_without_a_reason(view, is_loading, before_s, since_s):
    seen = WorkerView(age_s=20.0, silent_s=9.0, cpu_s=5.0, **view)
    after = progress_of(seen, Progress(1.0, 5.0, before_s), 10.0, is_loading=is_loading)
    assert after == Progress(1.0, 5.0, since_s)


def test_a_worker_that_was_inactive_as_its_silence_was_first_seen_has_been_for_the_whole_of_it():
    assert progress_of(WorkerView(age_s=20.0, silent_s=0.4, cpu_s=5.0, **STOPPED), None, 10.0).inactive_since_s == 9.7


@pytest.mark.parametrize(("runtime_bytes", "hint"), [(0, True), (DEFAULT_RUNTIME_BYTES, True), (5, False)])
def test_a_device_whose_runtime_memory_was_not_measured_gets_a_hint(runtime_bytes, hint):
    found = memory_problem(Device("d0", memory_bytes=MIB, runtime_bytes=runtime_bytes), 2 * MIB, just_loaded=True)
    assert ("state its runtime_memory" in found.detail) == hint


def test_a_transfer_is_stuck_from_when_it_took_its_last_message():
    link = LinkView(4, "d0", "d1", sent=5, taken=3, receiver_is_idle=True)
    first = stuck_links([link], {}, 10.0)
    assert first == {4: Stuck(10.0, 3)}
    assert stuck_links([link], first, 11.0) == first
    assert stuck_links([LinkView(4, "d0", "d1", 5, 4, True)], first, 11.0) == {4: Stuck(11.0, 4)}


@pytest.mark.parametrize("link", [LinkView(4, "d0", "d1", 5, 5, True), LinkView(4, "d0", "d1", 5, 3, False)])
def test_a_transfer_is_not_stuck_while_its_receiver_has_other_work_or_nothing_waits(link):
    assert stuck_links([link], {4: Stuck(1.0, 3)}, 11.0) == {}


def test_a_device_waits_twice_as_long_after_each_loss_up_to_a_limit():
    assert [waiting_s(losses, DEADLINES) for losses in (0, 1, 2, 3)] == [3.0, 3.0, 6.0, 12.0]
    assert waiting_s(100, DEADLINES) == 3.0 * 2**MOST_DOUBLINGS
    assert waiting_s(1, Deadlines(rejoin=False)) == math.inf
