"""Stages as Ray actors, with Ray faked: restarts, errors, deadlines, and devices that the cluster does not have."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from multiedge.errors import ModelError, PipelineError, StageError
from multiedge.executors.flow.stage_clock import StageClock, StageDeadlines
from multiedge.executors.ray import RESOURCE, RayExecutor, RayOptions, RayStage, Turns
from multiedge.executors.workers.threads import LostInputsError
from multiedge.plan import Part
from tests.builders.flow import chain_manifest, vector
from tests.builders.pipelines import synthetic_fleet


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        super().__init__("a long\ntrace\nlast line")
        self.cause = cause


class GetTimeoutError(RayError):
    pass


class ObjectLostError(RayError):
    pass


class FakeObject:
    """In place of a Ray object."""


class FakeRay:
    """`get` gives or raises what `answers` holds, in order."""

    exceptions = SimpleNamespace(
        RayError=RayError, RayTaskError=RayTaskError, GetTimeoutError=GetTimeoutError, ObjectLostError=ObjectLostError
    )
    ObjectRef = FakeObject
    __version__ = "fake"

    def __init__(self, *answers, resources=()):
        self.answers, self.resources, self.shut = list(answers), dict.fromkeys(resources, 1.0), False
        self.asked = []

    def get(self, handles, timeout):
        self.asked.append(handles)
        answer = self.answers.pop(0) if self.answers else GetTimeoutError()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cluster_resources(self):
        return self.resources

    def shutdown(self):
        self.shut = True


class FakeRun:
    """The method of an actor: one object for each of its results."""

    def options(self, num_returns):
        return SimpleNamespace(remote=lambda *arguments: [FakeObject() for _ in range(num_returns)])


ACTOR = SimpleNamespace(run=FakeRun(), pid=SimpleNamespace(remote=lambda: "handle"))


def fail():
    raise AssertionError("the item was sent again")


PART = Part(0, "stage_0.json", "d0", ("t0",), ("t1",), {})


def stage(*answers, restarted=False, first_s=0.05):
    clock = StageClock(StageDeadlines(first_s=first_s), {})
    return RayStage(FakeRay(*answers), ACTOR, PART, "d0", clock, first_s, lambda device, pid, sent_s: restarted, Turns())


def executor(ray, **options):
    made = RayExecutor(chain_manifest("d0", "d1"), synthetic_fleet(2), RayOptions(**options))
    made._ray = ray
    return made


def test_an_answer_counts_as_one_try():
    made = stage([7, vector(2)]).run({"t0": vector(1)}, {"t1"}, fail)
    assert float(made["t1"][0]) == 2.0


def test_an_output_that_is_not_wanted_here_stays_where_it_was_made():
    runner = stage([7])
    made = runner.run({"t0": FakeObject()}, (), fail)
    assert isinstance(made["t1"], FakeObject)
    assert [len(handles) for handles in runner._ray.asked] == [1]


def test_references_that_lead_to_nothing_are_named():
    with pytest.raises(LostInputsError, match="t0 cannot be fetched: its node is gone"):
        stage(ObjectLostError("its node is gone")).run({"t0": FakeObject()}, (), fail)


def test_outputs_that_are_lost_fail_the_item():
    with pytest.raises(StageError, match="the outputs are gone: its node is gone"):
        stage(ObjectLostError("its node is gone")).run({"t0": vector(1)}, {"t1"}, fail)


def test_an_answer_of_a_restarted_actor_counts_as_two():
    runner = stage(GetTimeoutError(), [8, vector(2)], restarted=True)
    tries = []
    runner.run({"t0": vector(1)}, {"t1"}, lambda: tries.append(1))
    assert tries == [1]


def test_what_the_stage_raises_is_raised_here():
    with pytest.raises(ModelError, match="refused"):
        stage(RayTaskError(ModelError("refused"))).run({}, (), fail)
    with pytest.raises(StageError, match="last line"):
        stage(RayTaskError(None)).run({}, (), fail)


def test_an_actor_that_is_gone_is_named_in_one_line():
    with pytest.raises(StageError, match="the actor is gone: RayError: killed"):
        stage(RayError(), RayError("long\n\nkilled\n")).run({}, (), lambda: None)
    with pytest.raises(StageError, match="the actor is gone: RayError: RayError"):
        stage(RayError(), RayError()).run({}, (), lambda: None)


def test_an_item_that_was_with_an_actor_as_it_died_is_tried_again_alone():
    runner = stage(RayError("another item killed it"), [8, vector(2)])
    tries = []
    made = runner.run({"t0": vector(1)}, {"t1"}, lambda: tries.append(1))
    assert float(made["t1"][0]) == 2.0
    assert tries == [1]


def test_who_is_alone_waits_for_others_and_lets_none_in():
    turns, running, order, first, entered = Turns(), threading.Event(), [], threading.Event(), threading.Event()

    def alone():
        with turns.alone(running):
            order.append("alone")
            entered.set()
            first.wait(10)
            order.append("alone ends")

    def together():
        with turns.together(running):
            order.append("together")

    with turns.together(running):
        waiting = threading.Thread(target=alone)
        waiting.start()
        assert not entered.wait(0.05)
        order.append("before")
    assert entered.wait(10)
    later = threading.Thread(target=together)
    later.start()
    first.set()
    waiting.join(10)
    later.join(10)
    assert order == ["before", "alone", "alone ends", "together"]


def test_closing_ends_the_wait_for_a_turn():
    turns, closed = Turns(), threading.Event()
    closed.set()
    with pytest.raises(StageError, match="the pipeline is closed"), turns.alone(closed):
        pass


def test_an_actor_that_does_not_answer_fails_the_item_in_time():
    with pytest.raises(StageError, match=r"no answer for 0\.1 s"):
        stage(first_s=0.06).run({}, (), fail)


def test_closing_ends_the_wait():
    runner = stage(first_s=60.0)
    runner.close()
    with pytest.raises(StageError, match="the pipeline is closed"):
        runner.run({}, (), fail)


def test_a_new_process_is_one_recorded_restart():
    running = executor(FakeRay())
    running._pids = {"d0": 7}
    assert [running._saw_pid("d0", pid, 1.0) for pid in (7, 8, 8)] == [False, True, False]
    (fault,) = running._faults
    assert (fault.kind, fault.device, fault.detected_s) == ("restart", "d0", 1.0)
    assert "process 7 is now 8" in fault.detail


@pytest.mark.parametrize(
    ("resources", "pinned"), [((), False), (("CPU",), False), ((f"{RESOURCE}d0", f"{RESOURCE}d1", "CPU"), True)]
)
def test_actors_are_placed_by_resources_if_the_cluster_declares_any(resources, pinned):
    assert executor(FakeRay(resources=resources))._is_pinned() is pinned


def test_a_device_that_no_node_declares_is_named_with_those_that_are():
    with pytest.raises(PipelineError) as caught:
        executor(FakeRay(resources=(f"{RESOURCE}d0",)))._is_pinned()
    assert str(caught.value) == (
        "device 'd1' is on no node of the Ray cluster; expected the resource 'multiedge_d1', found multiedge_d0"
    )


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (GetTimeoutError(), "the actor of device 'd0' did not start within 2 s"),
        (RayError("trace\nno such file"), "the actor of device 'd0' could not start: no such file"),
    ],
)
def test_an_actor_that_does_not_start_is_named(answer, line):
    running = executor(FakeRay(answer), load_s=2.0)
    running._actors = {"d0": ACTOR}
    with pytest.raises(PipelineError, match=line):
        running._wait_started("d0")


def test_memory_that_an_actor_does_not_tell_is_not_measured():
    memory = executor(FakeRay(RayError("gone")))._memory_of("d0", SimpleNamespace(memory=SimpleNamespace(remote=lambda: "h")))
    assert (memory.device, memory.peak_bytes, memory.method) == ("d0", None, "not measured: RayError")


def test_a_ray_that_was_running_before_keeps_running():
    for owns in (True, False):
        ray = FakeRay()
        running = executor(ray)
        running._owns_ray = owns
        running.close()
        assert ray.shut is owns
