"""Devices and links fail while a thousand items run: nothing is lost, nothing answered twice, order and values hold."""

from __future__ import annotations

import errno
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.errors import PipelineError
from multiedge.executors import open_pipeline
from multiedge.executors.processes import ProcessesExecutor
from multiedge.executors.workers.options import Deadlines
from multiedge.fleet import Link
from multiedge.measurements import Fault
from multiedge.trace import DeviceEvent, Trace
from multiedge.transports import rundir
from tests.builders.full_disks import small_disk
from tests.builders.pipelines import item, small_plan, synthetic_chain, synthetic_fleet, vectors

ITEMS = 1000
FAULTS = 2
PATIENCE = Deadlines(heartbeat_s=1.0, floor_s=0.5, first_s=5.0, link_s=0.4, cooldown_s=0.3)
REPLAN_LIMIT_S = 1.0
DOWN = Link(bandwidth_bytes_per_s=1e-6)


def kill(executor: ProcessesExecutor, device: str) -> None:
    os.kill(executor.pool.workers[device].pid, signal.SIGKILL)


def stop(executor: ProcessesExecutor, device: str) -> None:
    os.kill(executor.pool.workers[device].pid, signal.SIGSTOP)


def slow_down(executor: ProcessesExecutor, device: str) -> None:
    executor.pool.set_speed(device, 0.05)


def cut_off(executor: ProcessesExecutor, device: str) -> None:
    for peer in executor.fleet.names:
        if peer != device:
            executor.set_link(device, peer, DOWN)
            executor.set_link(peer, device, DOWN)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "harm", [kill, pytest.param(stop, marks=pytest.mark.slow), slow_down, cut_off], ids=lambda harm: harm.__name__
)
def test_no_item_is_lost_or_answered_twice(
    tmp_path: Path, harm: Callable[[ProcessesExecutor, str], None], seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(seed)
    manifest, fleet = small_plan(tmp_path)
    inputs = vectors(ITEMS, seed)
    whole = OnnxRuntimeBackend().open(tmp_path / "small.onnx")
    moments = sorted(rng.sample(range(100, ITEMS - 100), FAULTS))
    with open_pipeline(manifest, fleet, deadlines=PATIENCE) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, ProcessesExecutor)

        def source() -> Iterator[dict[str, np.ndarray]]:
            for number, tensors in enumerate(inputs):
                if number in moments:
                    used = [name for name in executor.routes.devices if name in executor.pool.workers]
                    harm(executor, rng.choice(used))
                yield tensors

        results, measured = pipeline.map(source())
    assert [result.item for result in results] == list(range(ITEMS))
    for result, tensors in zip(results, inputs, strict=True):
        np.testing.assert_allclose(result.require()["y"], whole.run(tensors)["y"], rtol=1e-5, atol=1e-6)
    failures = [fault for fault in measured.faults if fault.kind != "return"]
    # The small model's stages stay within their deadline even at a twentieth of the speed: nothing may be called a fault.
    assert len(failures) == 0 if harm is slow_down else len(failures) >= 1
    with capsys.disabled():
        print(f"\n{harm.__name__} seed {seed}: {describe(measured.faults)}")
    replans = [event.seconds for event in measured.events if event.kind == "replan"]
    loads = sum(event.seconds for event in measured.events if event.kind == "load")
    assert all(seconds < REPLAN_LIMIT_S + loads + PATIENCE.heartbeat_s for seconds in replans)


@pytest.mark.parametrize("device", ["d1", "d2"])
def test_a_device_that_the_caller_cannot_reach_is_replaced(tmp_path: Path, device: str) -> None:
    """The caller sits at d0 and feeds d1; d2 answers it: each way is watched."""
    manifest, fleet = small_plan(tmp_path)
    first, *rest = manifest.parts
    manifest = replace(manifest, parts=(replace(first, device="d1"), replace(rest[0], device="d0"), *rest[1:]))
    with open_pipeline(manifest, replace(fleet, source="d0"), deadlines=replace(PATIENCE, rejoin=False)) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, ProcessesExecutor)
        pipeline.map(vectors(20))
        for ends in ((device, "d0"), ("d0", device)):
            executor.set_link(*ends, DOWN)
        results, measured = pipeline.map(vectors(100))
    assert all(not result.error for result in results)
    assert ("link", device) in [(fault.kind, fault.device) for fault in measured.faults]


def describe(faults: tuple[Fault, ...]) -> str:
    return ", ".join(
        f"{fault.kind} {fault.device} "
        + (
            "not recovered"
            if fault.recovered_s is None
            else f"recovered in {1000 * (fault.recovered_s - fault.detected_s):.0f} ms"
        )
        for fault in faults
    )


def test_an_item_that_a_stage_refuses_fails_alone(tmp_path: Path) -> None:
    manifest, fleet = small_plan(tmp_path)
    inputs = vectors(30)
    inputs[11] = {"x": np.zeros((1, 3), dtype=np.float32)}
    with open_pipeline(manifest, fleet) as pipeline:
        results, _ = pipeline.map(inputs)
    assert [result.item for result in results if result.error] == [11]
    assert "stage 0 on 'd0' failed" in results[11].error


def test_a_device_that_becomes_far_too_slow_is_replaced(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, work_seconds=0.005)
    with open_pipeline(manifest, synthetic_fleet(4), deadlines=replace(PATIENCE, floor_s=0.1)) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, ProcessesExecutor)
        pipeline.map(item(number) for number in range(30))
        executor.pool.set_speed("d1", 0.005)
        results, measured = pipeline.map(item(number) for number in range(100))
    assert [float(result.require()["t3"][0]) for result in results] == [number + 3.0 for number in range(100)]
    assert ("slow", "d1") in [(fault.kind, fault.device) for fault in measured.faults]


def test_an_item_that_ends_every_worker_is_given_up(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, crash_at=7.0)
    quick = Deadlines(cooldown_s=0.05)
    with open_pipeline(manifest, synthetic_fleet(4), deadlines=quick) as pipeline:
        results, _ = pipeline.map(item(number) for number in range(20))
    assert [result.item for result in results] == list(range(20))
    assert [result.item for result in results if result.error] == [7]
    assert "workers ended while they computed this item" in results[7].error


@pytest.mark.timing
def test_the_others_are_answered_while_an_item_is_tried_again(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, crash_at=7.0)
    with open_pipeline(manifest, synthetic_fleet(4), deadlines=Deadlines(cooldown_s=0.05)) as pipeline:
        results, measured = pipeline.map(item(number) for number in range(12))
    second_s = [fault.detected_s for fault in measured.failures][1]
    later = [entry.done_s for entry in measured.items if entry.item in (8, 9, 10)]
    assert [result.item for result in results if result.error] == [7]
    assert max(later) < second_s


@pytest.mark.slow
def test_items_that_end_the_only_worker_fail_alone(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, stages=1, crash_at=7.0)
    inputs = [item(7.0 if number in (5, 6) else -number) for number in range(20)]
    with open_pipeline(manifest, synthetic_fleet(1), deadlines=Deadlines(cooldown_s=0.05)) as pipeline:
        results, _ = pipeline.map(inputs)
    assert [result.item for result in results] == list(range(20))
    assert [result.item for result in results if result.error] == [5, 6]


@pytest.mark.slow
def test_a_device_that_answers_after_each_fault_is_never_given_up(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, stages=1)
    with open_pipeline(manifest, synthetic_fleet(1), deadlines=Deadlines(cooldown_s=0.05)) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, ProcessesExecutor)
        for _ in range(7):
            pipeline.map(item(number) for number in range(10))
            kill(executor, "d0")
        results, measured = pipeline.map(item(number) for number in range(10))
    assert not any(result.error for result in results)
    assert [fault.kind for fault in measured.faults].count("crash") == 1


@pytest.mark.slow
def test_a_worker_that_leaks_past_its_memory_is_replaced(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, leak_bytes=1_000_000, seconds=0.004)
    fleet = synthetic_fleet(4, memory_bytes=160 * 2**20)
    with open_pipeline(manifest, fleet, deadlines=PATIENCE) as pipeline:
        results, measured = pipeline.map(item(number) for number in range(400))
    assert all(not result.error for result in results)
    assert [fault.device for fault in measured.faults if fault.kind == "memory"][:1] == ["d0"]


def test_an_item_that_takes_more_memory_than_the_device_has_fails_alone(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, stages=1, leak_bytes=200 * 2**20, leak_at=7.0)
    fleet = synthetic_fleet(1, memory_bytes=160 * 2**20)
    with open_pipeline(manifest, fleet, deadlines=Deadlines(cooldown_s=0.05)) as pipeline:
        results, measured = pipeline.map(item(number) for number in range(20))
    assert [result.item for result in results if result.error] == [7]
    assert {fault.kind for fault in measured.faults} == {"memory", "return"}


def test_a_plan_that_exceeds_a_device_fails_by_name(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, load_bytes=200 * 2**20)
    with pytest.raises(PipelineError, match=r"device 'd0' takes \d+\.\d MiB and has 150.0 MiB"):
        open_pipeline(manifest, synthetic_fleet(3, memory_bytes=150 * 2**20))


def test_a_device_that_leaves_and_returns_is_used_again(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, seconds=0.005)
    trace = Trace((DeviceEvent(0.3, "d1", "leave"), DeviceEvent(0.9, "d1", "return")))
    with open_pipeline(manifest, synthetic_fleet(3), trace=trace) as pipeline:
        results, measured = pipeline.map(item(number) for number in range(600))
    assert all(not result.error for result in results)
    by = [event.device for event in measured.events if event.kind == "compute" and event.stage == 1]
    assert by[0] == "d1"
    assert by[-1] == "d1"
    assert set(by) > {"d1"}


def test_fallback_devices_are_taken_in_turn(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, seconds=0.002)
    deadlines = Deadlines(rejoin=False)
    with open_pipeline(manifest, synthetic_fleet(5), deadlines=deadlines, fallbacks={1: ("d4",)}) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, ProcessesExecutor)
        pipeline.map(item(number) for number in range(5))
        kill(executor, "d1")
        results, _ = pipeline.map(item(number) for number in range(50))
        assert all(not result.error for result in results)
        assert executor.routes.parts[1].device == "d4"


@pytest.mark.parametrize("executor_name", ["processes", "inline"])
def test_no_answer_comes_from_a_part_that_was_changed_on_disk(tmp_path: Path, executor_name: str) -> None:
    """Another model's part of the same name, as after a plan was written to a folder that is in use."""
    manifest, fleet = small_plan(tmp_path)
    (tmp_path / "parts" / "sub_model_1.onnx").write_bytes((tmp_path / "parts" / "sub_model_2.onnx").read_bytes())
    with pytest.raises(PipelineError, match=r"'sub_model_1\.onnx' has changed since the plan was written"):
        open_pipeline(manifest, fleet, executor_name)


def test_a_worker_that_is_started_again_gives_no_answer_from_a_changed_part(tmp_path: Path) -> None:
    manifest, fleet = small_plan(tmp_path, spare=0)
    part = tmp_path / "parts" / "sub_model_1.onnx"
    with open_pipeline(manifest, fleet, deadlines=Deadlines(rejoin=False)) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, ProcessesExecutor)
        pipeline.map(vectors(10))
        part.write_bytes(part.read_bytes() + b"\n")
        kill(executor, "d0")
        results, _ = pipeline.map(vectors(20))
    assert all("'sub_model_1.onnx' has changed since the plan was written" in result.error for result in results[-10:])


@pytest.mark.parametrize("executor_name", ["processes", "inline"])
def test_no_answer_is_computed_with_weights_that_are_overwritten_in_place(tmp_path: Path, executor_name: str) -> None:
    """Parts are linked to the model's own file, which every session maps."""
    manifest, fleet = small_plan(tmp_path)
    inputs = vectors(200)
    whole = OnnxRuntimeBackend().open(tmp_path / "small.onnx")
    expected = [whole.run(tensors)["y"] for tensors in inputs]
    content = (tmp_path / "small.onnx").read_bytes()

    def source() -> Iterator[dict[str, np.ndarray]]:
        for number, tensors in enumerate(inputs):
            if number == 60:
                with open(tmp_path / "small.onnx", "r+b") as file:
                    file.write(content[:1000] + bytes(reversed(content[1000:])))
            yield tensors

    with open_pipeline(manifest, fleet, executor_name) as pipeline:
        results, _ = pipeline.map(source())
    for result, values in zip(results, expected, strict=True):
        if result.tensors is not None:
            np.testing.assert_allclose(result.tensors["y"], values, rtol=1e-5, atol=1e-6)
    assert not any(result.error for result in results[:20])
    assert all("has changed since it was loaded" in result.error for result in results[-100:])


def test_weights_that_are_cut_short_are_a_fault_with_the_reason(tmp_path: Path) -> None:
    manifest, fleet = small_plan(tmp_path)

    def source() -> Iterator[dict[str, np.ndarray]]:
        for number, tensors in enumerate(vectors(200)):
            if number == 60:
                os.truncate(tmp_path / "small.onnx", 0)
            yield tensors

    with open_pipeline(manifest, fleet) as pipeline:
        results, _ = pipeline.map(source())
    assert not any(result.error for result in results[:20])
    assert all("has changed" in result.error for result in results[-100:])


def test_what_was_answered_is_kept_when_no_device_is_left(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, stages=1)
    with open_pipeline(manifest, synthetic_fleet(1), deadlines=Deadlines(rejoin=False)) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, ProcessesExecutor)

        def source() -> Iterator[dict[str, np.ndarray]]:
            for number in range(50):
                if number == 30:
                    kill(executor, "d0")
                yield item(number)

        results, measured = pipeline.map(source())
        again, _ = pipeline.map([item(1.0)])
    answered = [result for result in results if not result.error]
    assert [float(result.require()["t1"][0]) for result in answered] == [number + 1.0 for number in range(len(answered))]
    assert [result.item for result in results] == list(range(50))
    assert len(answered) >= 20
    assert {result.error.split(":")[1] for result in [*results[30:], *again]} == {" no device is left to run it (lost"}
    assert [fault.kind for fault in measured.faults] == ["crash"]


@pytest.mark.parametrize("devices", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_kill_every_half_second_neither_ends_the_run_nor_lengthens_its_pauses(tmp_path: Path, devices: int) -> None:
    manifest = synthetic_chain(tmp_path, stages=devices, seconds=0.002)
    rng = random.Random(devices)
    with open_pipeline(manifest, synthetic_fleet(devices)) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, ProcessesExecutor)
        begin = time.monotonic()

        def source() -> Iterator[dict[str, np.ndarray]]:
            killed = 0
            while killed < 6:
                if time.monotonic() - begin > killed * 0.5 and executor.pool.workers:
                    kill(executor, rng.choice(sorted(executor.pool.workers)))
                    killed += 1
                yield item(killed)

        results, _ = pipeline.map(source())
    assert not [result.error for result in results if result.error]
    pauses = [after.done_s - before.done_s for before, after in pairwise(results)]
    assert max(pauses) < 5.0


@pytest.mark.timing
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not show the states of threads")
def test_a_worker_that_is_stopped_is_replaced_before_its_heartbeat_is_missed_for_long(tmp_path: Path) -> None:
    """With default settings. A silence alone is judged later: on a busy machine it may be the wait for a processor."""
    manifest = synthetic_chain(tmp_path, seconds=0.001)
    with open_pipeline(manifest, synthetic_fleet()) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, ProcessesExecutor)

        def source() -> Iterator[dict[str, np.ndarray]]:
            for number in range(200):
                if number == 100:
                    stop(executor, "d1")
                yield item(number)

        results, measured = pipeline.map(source())
    assert [float(result.require()["t3"][0]) for result in results] == [number + 3.0 for number in range(200)]
    assert max(after.done_s - before.done_s for before, after in pairwise(results)) < Deadlines().heartbeat_s - 0.2
    assert [fault.kind for fault in measured.faults if "worker of 'd1' is stopped" in fault.detail] == ["hang"]


@pytest.mark.slow
def test_a_worker_that_hangs_with_the_interpreters_lock_is_charged_to_its_item(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, stages=1, hang_at=7.0)
    quick = Deadlines(heartbeat_s=0.4, cooldown_s=0.1)
    with open_pipeline(manifest, synthetic_fleet(1), deadlines=quick) as pipeline:
        results, measured = pipeline.map(item(number) for number in range(20))
    assert [result.item for result in results if result.error] == [7]
    assert "workers ended while they computed this item" in results[7].error
    assert {fault.kind for fault in measured.faults} == {"hang", "return"}


@pytest.mark.slow
def test_of_a_batch_only_the_item_that_ends_its_worker_fails(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, stages=1, crash_at=7.0, seconds=0.01, batch_is_free=True)
    quick = Deadlines(cooldown_s=0.1)
    with open_pipeline(manifest, synthetic_fleet(1), deadlines=quick, micro_batch=4, depth=12) as pipeline:
        results, _ = pipeline.map(item(number) for number in range(20))
    assert [result.item for result in results if result.error] == [7]
    assert [float(result.require()["t1"][0]) for result in results if not result.error] == [
        number + 1.0 for number in range(20) if number != 7
    ]


def test_a_lost_worker_that_cannot_be_started_for_a_while_comes_back_and_is_one_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = synthetic_chain(tmp_path, stages=1)
    with open_pipeline(manifest, synthetic_fleet(1), deadlines=Deadlines(cooldown_s=0.1)) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, ProcessesExecutor)
        starts, refusals = executor.launcher.start, iter([errno.EAGAIN, errno.EMFILE, errno.ENOMEM])

        def start(*args: Any) -> Any:
            if (refusal := next(refusals, None)) is not None:
                raise OSError(refusal, os.strerror(refusal))
            return starts(*args)

        monkeypatch.setattr(executor.launcher, "start", start)
        pipeline.map([item(1.0)])
        kill(executor, "d0")
        results, measured = pipeline.map(item(number) for number in range(20))
    assert not any(result.error for result in results)
    assert next(refusals, None) is None
    assert [fault.kind for fault in measured.faults] == ["crash", "return"]


def test_messages_for_which_shared_memory_has_no_room_go_through_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = synthetic_chain(tmp_path, stages=1, outputs={"t1": {"shape": [2 << 20], "dtype": "float32"}})
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with small_disk(tmp_path / "memory", 20 << 20) as memory:
        monkeypatch.setattr(rundir, "SHARED", memory)
        with open_pipeline(manifest, synthetic_fleet(1), depth=8) as pipeline:
            executor = pipeline.executor
            assert isinstance(executor, ProcessesExecutor)
            assert executor.directory is not None
            (executor.directory / "ballast").write_bytes(bytes(15 << 20))
            results, measured = pipeline.map(item(number) for number in range(30))
        assert list(memory.iterdir()) == []
    assert [len(result.require()["t1"]) for result in results] == [2 << 20] * 30
    assert measured.faults == ()
    assert "is full: messages of" in caplog.text
    assert not list(tmp_path.glob("multiedge-*"))
