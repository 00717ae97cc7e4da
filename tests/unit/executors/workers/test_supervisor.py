"""The supervisor carries out what the policy decides: with workers that are values."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from multiedge.errors import InfeasibleError, PipelineError
from multiedge.executors.workers.messages import Configure, Prepare, SetSpeed
from multiedge.executors.workers.observation import Busy, WorkerView
from multiedge.executors.workers.options import Deadlines
from multiedge.executors.workers.state import Rules
from multiedge.executors.workers.supervisor import HASTE_S, TICK_S, Supervisor
from multiedge.fleet import Link
from multiedge.measurements import Event
from multiedge.trace import DeviceEvent, LinkEvent, Trace
from tests.builders.flow import FakeClock, chain_manifest
from tests.builders.supervision import fleet_of
from tests.builders.workers import fake_pool


@dataclass
class FakeCaller:
    """Keeps what the supervisor did."""

    epochs: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    links: list[tuple[str, str, Link]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ended: str = ""
    sent: Counter[int] = field(default_factory=Counter)

    def view(self, transfers):
        return WorkerView(0.0, 0.0, sent=[self.sent[number] for number in range(transfers)], taken=[0.0] * transfers)

    def enter_epoch(self, epoch, routes, suspected):
        self.epochs.append((epoch, routes.devices))
        self.sent.clear()

    def fail_item(self, sequence, error):
        self.failed[sequence] = error

    def end_run(self, error):
        self.ended = error

    def set_link(self, source, target, link):
        self.links.append((source, target, link))

    def record_event(self, event):
        self.events.append(event)


class Run:
    """Two stages on d0 and d1, and d2 to spare."""

    def __init__(self, trace=None, replan=None, fleet=None, starts=True, **deadlines):
        self.clock, self.caller = FakeClock(), FakeCaller()
        fleet = fleet or fleet_of(3)
        self.pool, self.launcher = fake_pool(fleet)
        rules = Rules(fleet, chain_manifest("d0", "d1"), Deadlines(**deadlines), can_replan=replan is not None)
        self.supervisor = Supervisor(rules, self.pool, self.caller, trace, replan, self.clock)
        self.look(3 if starts else 1)

    def look(self, times=1, *, each_s=1.5 * TICK_S):
        for _ in range(times):
            self.clock.now_s += each_s
            self.supervisor.look()
        return self

    def look_until_entered(self, epochs):
        """Plans are made in a thread, whose clock is the real one."""
        until = time.monotonic() + 10.0
        while len(self.caller.epochs) < epochs and time.monotonic() < until:
            self.look()
            time.sleep(0.001)
        return self

    def end(self, name):
        self.pool.workers[name].view = WorkerView(1.0, 0.0, ended="killed by signal 9")
        return self.look()

    def answer(self, sequence):
        self.supervisor.count_answer(sequence, self.clock(), is_error=False)
        return self.look()


def test_items_flow_once_every_worker_has_entered_the_first_epoch():
    run = Run()
    assert run.supervisor.state.is_running
    assert run.caller.epochs == [(1, ("d0", "d1"))]
    assert [type(command) for worker in run.launcher.started for command in worker.commands] == [Configure, Configure]


def test_a_lost_worker_is_replaced_and_returns():
    run = Run(cooldown_s=1.0).end("d1").look(3)
    assert run.caller.epochs[1:] == [(2, ("d0", "d2"))]
    run.answer(1)
    run.look(60)
    assert run.caller.epochs[2:] == [(3, ("d0", "d1"))]
    assert isinstance(run.launcher.started[3].commands[0], Prepare)
    run.answer(2)
    assert [(fault.kind, fault.device, fault.recovered_s is not None) for fault in run.supervisor.faults] == [
        ("crash", "d1", True),
        ("return", "d1", True),
    ]
    assert [event.kind for event in run.caller.events] == ["replan", "replan"]


def test_workers_are_looked_at_more_often_while_items_stand_still():
    run = Run()
    assert run.supervisor.interval_s == TICK_S
    run.end("d1")
    assert run.supervisor.interval_s == HASTE_S


def test_a_look_before_its_time_does_nothing():
    run = Run()
    run.pool.workers["d1"].view = WorkerView(1.0, 0.0, ended="killed by signal 9")
    run.look(each_s=TICK_S / 2)
    assert run.supervisor.state.is_running


@pytest.mark.parametrize(("is_idle", "intervals", "is_seen"), [(True, 1.1, True), (False, 1.1, False), (False, 2.1, True)])
def test_a_caller_with_items_to_pass_on_looks_one_interval_later(is_idle, intervals, is_seen):
    run = Run()
    run.pool.workers["d1"].view = WorkerView(1.0, 0.0, ended="killed by signal 9")
    assert run.supervisor.next_look_s == pytest.approx(run.clock() + TICK_S)
    run.clock.now_s += intervals * TICK_S
    run.supervisor.look(is_idle=is_idle)
    assert run.supervisor.state.is_running is not is_seen


def test_a_stage_may_take_as_long_as_its_observed_times_say_and_twice_as_long_after_that():
    run = Run(floor_s=0.5, rejoin=False)
    for _ in range(30):
        run.supervisor.count_compute(1, "d1", 0.1)
    run.pool.workers["d1"].view = WorkerView(9.0, 0.0, busy=Busy(1, 7, 0.9))
    assert run.look(3).supervisor.faults == ()
    run.pool.workers["d1"].view = WorkerView(9.0, 0.0, busy=Busy(1, 7, 1.1))
    (fault,) = run.look(3).supervisor.faults
    assert (fault.kind, fault.detail) == ("slow", "worker of 'd1': stage 1 runs for 1.1 s; it may take 1.0 s")


def test_a_message_that_is_not_taken_shows_that_its_link_is_down():
    run = Run(link_s=0.5, fleet=replace(fleet_of(3), source="d0"))
    run.caller.sent[0] = 1
    run.look(60)
    assert run.supervisor.faults == ()  # both ends are the caller's own device
    run = Run(link_s=0.5)
    run.caller.sent[0] = 1
    run.look(30)
    assert [(fault.kind, fault.device) for fault in run.supervisor.faults] == [("link", "d0")]


def test_a_trace_is_played_from_its_beginning():
    events = (DeviceEvent(0.1, "d0", "speed", 0.5), LinkEvent(0.1, ("d0", "d1"), 1e3), DeviceEvent(0.2, "d1", "leave"))
    run = Run(Trace(events)).look(20)
    assert (run.caller.links, run.supervisor.faults) == ([], ())
    run.supervisor.begin_trace()
    run.look(20)
    assert run.pool.workers["d0"].commands[1] == SetSpeed(0.5)
    assert run.caller.links == [("d0", "d1", Link(1e3)), ("d1", "d0", Link(1e3))]
    assert [fault.kind for fault in run.supervisor.faults] == ["leave"]


def test_faults_that_are_over_are_forgotten_as_the_timed_window_begins():
    run = Run(rejoin=False).end("d1").look(3).answer(1)
    assert len(run.supervisor.faults) == 1
    run.supervisor.begin_trace()
    assert run.supervisor.faults == ()


def test_an_answer_just_before_the_timed_window_ends_the_faults_before_it():
    run = Run(rejoin=False).end("d1").look(3)
    run.supervisor.count_answer(1, run.clock(), is_error=False)
    run.supervisor.begin_trace()
    assert run.supervisor.faults == ()


def test_a_plan_is_made_for_the_fleet_that_is_left():
    plans = []

    def replan(fleet):
        plans.append(fleet.names)
        return chain_manifest("d2", "d0", directory="other")

    run = Run(replan=replan, rejoin=False).end("d1").look_until_entered(2)
    assert plans == [("d0", "d2")]
    assert run.caller.epochs[1:] == [(2, ("d2", "d0"))]
    assert run.pool.workers["d0"].commands[-1].directory == "other"


@pytest.mark.parametrize("error", [InfeasibleError("nothing fits"), OSError("the disk is full"), ValueError("a bug")])
def test_a_run_goes_on_with_its_stages_as_they_are_if_no_plan_can_be_made(error, caplog):
    def replan(fleet):
        raise error

    run = Run(replan=replan, rejoin=False).end("d1").look_until_entered(2)
    assert run.caller.epochs[1:] == [(2, ("d0", "d2"))]
    assert f"no new plan, the stages stay as they were cut: {error}" in caplog.text


def test_an_item_that_ends_workers_is_failed():
    run = Run(cooldown_s=0.1)
    for _ in range(5):
        name = run.supervisor.state.placed.parts[1].device
        run.pool.workers[name].view = WorkerView(9.0, 0.0, ended="killed by signal 11", busy=Busy(1, 7, 0.1))
        run.look(20)
    assert run.caller.failed == {7: "5 workers ended while they computed this item"}


def test_the_items_of_a_run_that_cannot_go_on_fail_with_the_reason():
    run = Run(rejoin=False)
    for name in ("d0", "d1", "d2"):
        run.end(name).look(3)
    assert run.caller.ended.startswith("stage 0: no device is left to run it (lost: d0, d1, d2); worker of 'd0' killed")


def test_a_run_that_cannot_be_started_raises():
    run = Run(starts=False)
    run.launcher.started[0].view = WorkerView(1.0, ended="killed by signal 9")
    with pytest.raises(PipelineError, match="worker of 'd0' killed by signal 9"):
        run.look(3)
    assert run.caller.ended == ""


def test_workers_are_observed_while_a_plan_is_made():
    is_made, may_end = threading.Event(), threading.Event()

    def replan(fleet):
        is_made.set()
        may_end.wait(10.0)
        return chain_manifest("d0", directory="other")

    run = Run(Trace((DeviceEvent(0.0, "d1", "speed", 0.5),)), replan=replan, cooldown_s=0.1)
    run.supervisor.begin_trace()
    run.look()
    assert is_made.wait(10.0)
    run.end("d1").look(60)
    assert [fault.kind for fault in run.supervisor.faults] == ["crash", "return"]
    may_end.set()
    run.look_until_entered(2)
    assert run.caller.epochs[1:] == [(2, ("d0",))]
