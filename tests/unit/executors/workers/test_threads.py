"""A thread per stage, over runners that a test holds back, breaks and counts."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from multiedge.errors import ConfigError, MissingDependencyError, ModelError, PipelineError, StageError
from multiedge.executors.workers.threads import Job, LostInputsError, ThreadsExecutor, ThreadsOptions
from multiedge.measurements import Fault
from multiedge.plan import CALLER, Transfer
from tests.builders.flow import chain_manifest, vector
from tests.builders.paths import paths_fleet, paths_manifest, two_paths
from tests.builders.pipelines import synthetic_fleet

WAIT_S = 10.0


@dataclass
class FakeRunner:
    """Adds 1. Waits for `gate` before each item, raises for the values in `refuses`, and needs `tries` for each item."""

    stage: int
    gate: threading.Event
    refuses: frozenset[float] = frozenset()
    tries: int = 1
    ran: list[float] = field(default_factory=list)
    closed: bool = False
    takes_references: bool = False

    def run(self, tensors, wanted, again):
        value = float(tensors[f"t{self.stage}"][0])
        while not self.gate.wait(0.01):
            if self.closed:
                raise StageError("the pipeline is closed")
        for _ in range(self.tries - 1):
            again()
        self.ran.append(value)
        if value in self.refuses:
            raise ModelError(f"{value:g} is\n refused")
        return {f"t{self.stage + 1}": tensors[f"t{self.stage}"] + 1}

    def close(self):
        self.closed = True


class FakeExecutor(ThreadsExecutor):
    """Runners by stage and device; `gate` holds all of them back."""

    name, transport = "fake", "none"

    def __init__(self, manifest=None, fleet=None, **options):
        super().__init__(manifest or chain_manifest("d0", "d1"), fleet or synthetic_fleet(4), ThreadsOptions(**options))
        self.gate = threading.Event()
        self.gate.set()
        self.runners: dict[tuple[int, str], FakeRunner] = {}
        self.cannot_connect: Exception | None = None

    def connect(self, stage, device):
        if self.cannot_connect and self.runners:
            raise self.cannot_connect
        self.runners[stage, device] = FakeRunner(stage, self.gate)
        return self.runners[stage, device]


def drain(executor):
    results = []
    until = time.monotonic() + WAIT_S
    while executor.unanswered and time.monotonic() < until:
        results += executor.poll(0.2)
    return results


def values(results):
    return [None if result.tensors is None else float(next(iter(result.tensors.values()))[0]) for result in results]


def stage_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("stage-") and "server" not in thread.name]


def test_items_pass_every_stage_and_come_back_in_order():
    with FakeExecutor() as executor:
        for number in range(20):
            executor.submit(100 + number, {"t0": vector(number)})
        results = drain(executor)
    assert [result.item for result in results] == [100 + number for number in range(20)]
    assert values(results) == [number + 2.0 for number in range(20)]


def test_stages_work_on_different_items_at_the_same_time():
    with FakeExecutor() as executor:
        slow = executor.runners[1, "d1"]
        slow.gate = threading.Event()
        for number in range(3):
            executor.submit(number, {"t0": vector(number)})
        until = time.monotonic() + WAIT_S
        while len(executor.runners[0, "d0"].ran) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert executor.runners[0, "d0"].ran == [0.0, 1.0, 2.0]
        assert slow.ran == []
        slow.gate.set()
        assert values(drain(executor)) == [2.0, 3.0, 4.0]


def test_at_most_depth_items_are_under_way():
    with FakeExecutor(depth=2) as executor:
        executor.gate.clear()
        for number in range(2):
            executor.submit(number, {"t0": vector(number)})
        assert not executor.has_room
        assert executor.unanswered == 2
        waiting = threading.Thread(target=executor.submit, args=(2, {"t0": vector(2)}))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        executor.gate.set()
        waiting.join(WAIT_S)
        assert not waiting.is_alive()
        assert values(drain(executor)) == [2.0, 3.0, 4.0]


def test_replicas_take_turns():
    with FakeExecutor(chain_manifest(("d0", "d2"), "d1")) as executor:
        for number in range(6):
            executor.submit(number, {"t0": vector(number)})
        assert values(drain(executor)) == [number + 2.0 for number in range(6)]
        assert executor.runners[0, "d0"].ran == [0.0, 2.0, 4.0]
        assert executor.runners[0, "d2"].ran == [1.0, 3.0, 5.0]


def test_a_tensor_that_skips_a_stage_arrives_with_the_others():
    chain = chain_manifest("d0", "d1")
    parts = (chain.parts[0], replace(chain.parts[1], inputs=("t1", "t0")))
    skip = replace(chain, parts=parts, transfers=(*chain.transfers, Transfer(CALLER, 1, ("t0",), 16)))
    with FakeExecutor(skip) as executor:
        seen = []
        executor.runners[1, "d1"].run = lambda tensors, wanted, again: (
            seen.append(sorted(tensors)) or {"t2": tensors["t0"] + tensors["t1"]}
        )
        executor.submit(0, {"t0": vector(3)})
        assert values(drain(executor)) == [7.0]
    assert seen == [["t0", "t1"]]


def test_a_failed_item_does_not_run_in_later_stages_and_others_are_answered():
    with FakeExecutor() as executor:
        executor.runners[0, "d0"].refuses = frozenset({7.0})
        for number in (6, 7, 8):
            executor.submit(number, {"t0": vector(number)})
        results = drain(executor)
        assert executor.runners[1, "d1"].ran == [7.0, 9.0]
    assert values(results) == [8.0, None, 10.0]
    assert results[1].error == "stage 0 on 'd0' failed: ModelError: 7 is refused"


def test_of_two_failures_of_an_item_the_first_is_kept():
    chain = chain_manifest("d0", "d1")
    parts = (chain.parts[0], replace(chain.parts[1], inputs=("t0",), outputs=("t2",)))
    moves = (Transfer(CALLER, 0, ("t0",), 16), Transfer(CALLER, 1, ("t0",), 16), Transfer(0, CALLER, ("t1",), 16))
    side_by_side = replace(chain, parts=parts, outputs=("t1", "t2"), transfers=(*moves, Transfer(1, CALLER, ("t2",), 16)))
    with FakeExecutor(side_by_side) as executor:
        executor.runners[1, "d1"].run = lambda tensors, wanted, again: (_ for _ in ()).throw(ModelError("no"))
        executor.runners[0, "d0"].refuses = frozenset({1.0})
        executor.submit(0, {"t0": vector(1)})
        (result,) = drain(executor)
    assert result.tensors is None
    assert result.error.count("failed") == 1


def test_answers_belong_to_the_caller():
    with FakeExecutor() as executor:
        frozen = vector(5)
        frozen.flags.writeable = False
        executor.runners[1, "d1"].run = lambda tensors, wanted, again: {"t2": frozen}
        executor.submit(0, {"t0": vector(0)})
        (result,) = drain(executor)
    assert result.tensors["t2"].flags.writeable
    np.testing.assert_array_equal(result.tensors["t2"], frozen)


def test_tries_of_a_runner_count_as_attempts():
    with FakeExecutor() as executor:
        executor.runners[0, "d0"].tries = 3
        executor.runners[1, "d1"].tries = 2
        executor.submit(0, {"t0": vector(0)})
        assert drain(executor)[0].attempts == 1 + 2 + 1


@pytest.mark.parametrize("record_events", [True, False])
def test_computations_are_recorded_if_that_is_wanted(record_events):
    with FakeExecutor(record_events=record_events) as executor:
        executor.submit(3, {"t0": vector(0)})
        drain(executor)
        kinds = Counter((event.kind, event.item, event.stage, event.device) for event in executor.record().events)
    loads = {("load", -1, 0, "d0"): 1, ("load", -1, 1, "d1"): 1}
    assert kinds == loads | ({("compute", 3, 0, "d0"): 1, ("compute", 3, 1, "d1"): 1} if record_events else {})


def test_the_timed_window_begins_at_the_mark():
    with FakeExecutor() as executor:
        executor.submit(-1, {"t0": vector(0)})
        drain(executor)
        executor.note_fault(Fault("server", "d0", 1.0, 2.0, "early"))
        executor.mark()
        assert {event.kind for event in executor.record().events} == {"load"}
        assert executor.record().faults == ()
        executor.note_fault(Fault("server", "d0", 3.0, None, "late"))
        assert [fault.detail for fault in executor.record().faults] == ["late"]


def test_results_hold_what_it_emulates_and_what_it_cannot_see():
    with FakeExecutor(depth=3, seed=4) as executor:
        record = executor.record()
    assert record.settings["executor"] == "fake"
    assert record.settings["emulation"] == "none"
    assert (record.settings["depth"], record.settings["seed"]) == (3, 4)
    assert record.settings["deadlines"] == {"factor": 10.0, "floor_s": 2.0, "first_s": 60.0}
    assert [(memory.device, memory.peak_bytes) for memory in record.memory] == [("d0", None), ("d1", None)]


def test_depth_is_what_the_plan_needs_unless_it_is_given():
    assert FakeExecutor().record().settings["depth"] > 2
    with pytest.raises(ConfigError, match="depth: expected 1 or more, got 0"):
        FakeExecutor(depth=0)


def test_a_stage_that_cannot_be_reached_is_named_and_no_thread_stays():
    executor = FakeExecutor()
    executor.cannot_connect = ConfigError("it has no endpoint")
    with pytest.raises(PipelineError, match="stage 1 on 'd1' could not start: it has no endpoint"):
        executor.start()
    assert executor.runners[0, "d0"].closed
    assert stage_threads() == []


def test_a_missing_package_is_not_the_fault_of_a_stage():
    executor = FakeExecutor()
    executor.cannot_connect = MissingDependencyError("grpcio", extra="remote")
    with pytest.raises(MissingDependencyError, match="grpcio"):
        executor.start()


def test_a_device_that_the_fleet_does_not_have_is_named():
    with pytest.raises(ConfigError, match="'d1'"):
        FakeExecutor(fleet=synthetic_fleet(1))


def test_closing_ends_what_is_under_way_and_may_be_repeated():
    executor = FakeExecutor()
    executor.start()
    executor.gate.clear()
    executor.submit(0, {"t0": vector(0)})
    begin = time.monotonic()
    executor.close()
    executor.close()
    assert time.monotonic() - begin < 2.0
    assert stage_threads() == []
    with pytest.raises(PipelineError, match="the pipeline is not running"):
        executor.submit(1, {"t0": vector(0)})


def test_an_executor_that_was_not_started_takes_nothing():
    with pytest.raises(PipelineError, match="the pipeline is not running: it was not started, or it is closed"):
        FakeExecutor().submit(0, {"t0": vector(0)})


def test_inputs_are_checked_before_an_item_enters():
    with FakeExecutor() as executor:
        with pytest.raises(StageError, match="item 3: input 't0' is missing"):
            executor.submit(3, {})
        assert executor.unanswered == 0


def test_a_stage_is_ready_when_its_last_transfer_arrives():
    job = Job(entry=None, tensors={}, missing=Counter({0: 1, 1: 2, CALLER: 1}))
    assert job.arrive([0, 1]) == [0]
    assert job.arrive([1]) == [1]
    assert job.arrive([]) == []
    assert job.arrive([CALLER]) == [CALLER]


def test_queues_are_bounded_by_depth():
    with FakeExecutor(depth=2) as executor:
        bounds = {worker.jobs.maxsize for worker in executor._threads.values()}
        assert bounds == {2}
        assert isinstance(executor._complete, queue.Queue)


class PathsExecutor(ThreadsExecutor):
    """A runner for each stage of a plan with paths that adds 1 for each node."""

    name, transport = "fake", "none"

    def connect(self, stage, device):
        part = self.routes.parts[stage]
        runner = FakeRunner(stage, threading.Event())
        nodes = int(part.outputs[0][1:]) - int(part.inputs[0][1:])
        runner.run = lambda tensors, wanted, again: runner.ran.append(1.0) or {part.outputs[0]: tensors[part.inputs[0]] + nodes}
        self.runners = {**getattr(self, "runners", {}), device: runner}
        return runner


def test_items_take_the_paths_of_the_plan_at_their_rates():
    with PathsExecutor(paths_manifest(two_paths()), paths_fleet(), ThreadsOptions()) as executor:
        results = []
        for number in range(22):
            executor.submit(number, {"t0": vector(number)})
            results += executor.poll(0.0)
        results += drain(executor)
        assert [float(result.require()["t4"][0]) for result in results] == [number + 4.0 for number in range(22)]
        assert {device: len(runner.ran) for device, runner in executor.runners.items()} == {
            "d0": 22,
            "d1": 10,
            "d2": 12,
            "d3": 12,
        }


@dataclass(frozen=True)
class Kept:
    """A reference to an array in the `store` of the runner that made it."""

    name: str
    value: float


@dataclass
class KeepingRunner(FakeRunner):
    """A FakeRunner that keeps what is not wanted in `store`, which all of them share."""

    takes_references: bool = True
    store: dict[Kept, np.ndarray] = field(default_factory=dict)

    def run(self, tensors, wanted, again):
        lost = [name for name, held in tensors.items() if isinstance(held, Kept) and held not in self.store]
        if lost:
            raise LostInputsError(lost, "its server is gone")
        given = {name: self.store[held] if isinstance(held, Kept) else held for name, held in tensors.items()}
        made = super().run(given, wanted, again)
        kept = {Kept(name, float(array[0])): array for name, array in made.items() if name not in wanted}
        self.store.update(kept)
        return {**made, **{key.name: key for key in kept}}


class KeepingExecutor(FakeExecutor):
    """Stages that keep their outputs, and what was released of these; stages in `foreign` take no references."""

    def __init__(self, *stages, foreign=()):
        super().__init__(chain_manifest(*stages))
        self.store, self.released, self.foreign = {}, [], foreign

    def connect(self, stage, device):
        kind = FakeRunner if stage in self.foreign else KeepingRunner
        shared = {} if stage in self.foreign else {"store": self.store}
        self.runners[stage, device] = kind(stage, self.gate, **shared)
        return self.runners[stage, device]

    def release(self, references):
        self.released += references


def test_what_stages_keep_is_passed_on_by_reference_and_released():
    with KeepingExecutor("d0", "d1", "d2") as executor:
        executor.submit(0, {"t0": vector(1)})
        assert values(drain(executor)) == [4.0]
        assert executor.record().by_caller == ()
    assert executor.released == [Kept("t1", 2.0), Kept("t2", 3.0)]


def test_a_stage_that_takes_no_references_gets_arrays_by_way_of_the_caller():
    with KeepingExecutor("d0", "d1", "d2", foreign=(1,)) as executor:
        executor.submit(0, {"t0": vector(1)})
        assert values(drain(executor)) == [4.0]
        assert executor.record().by_caller == ((0, 1), (1, 2))
    assert executor.released == []


def test_inputs_that_are_lost_are_made_again_also_those_of_an_earlier_stage():
    with KeepingExecutor("d0", "d1", "d2") as executor:
        last, run = executor.runners[2, "d2"], executor.runners[2, "d2"].run

        def forget_once(tensors, wanted, again):
            last.run = run
            executor.store.clear()
            return run(tensors, wanted, again)

        last.run = forget_once
        executor.submit(0, {"t0": vector(1)})
        (result,) = drain(executor)
    assert values([result]) == [4.0]
    assert result.attempts == 3  # the last stage once more, and the second one, whose input was lost too
    assert [executor.runners[stage, f"d{stage}"].ran for stage in range(3)] == [[1.0, 1.0], [2.0, 2.0], [3.0]]
