"""A worker in this process, stepped by the test, with the transport in a folder of its own."""

import json
import subprocess
import sys
from dataclasses import replace
from queue import SimpleQueue

import numpy as np
import pytest

from multiedge.executors.workers.board import MOST_TRANSFERS
from multiedge.executors.workers.messages import (
    Configure,
    Configured,
    Failed,
    Hello,
    Prepare,
    Prepared,
    SetClock,
    SetLink,
    SetSpeed,
)
from multiedge.executors.workers.worker import Worker
from multiedge.fleet import CALLER_NAME, Device, Link
from multiedge.onnx_io.manifest import digest_of
from multiedge.transports.pipe import PipeEndpoint
from tests.builders.flow import chain_routes, message, vector

DOWN = Link(bandwidth_bytes_per_s=1e-6)


class FakeControl:
    """Commands of the test, and the replies to them."""

    def __init__(self):
        self.commands = SimpleQueue()
        self.replies = []
        self.reply = self.replies.append

    def watch(self, board, endpoint, gpu=None):
        self.board = board


class Bench:
    """Worker d0 of two stages, the caller, and d1, which holds the second stage."""

    def __init__(self, folder, **hello):
        self.folder, self.control = folder, FakeControl()
        self.caller, self.d1 = PipeEndpoint(folder, CALLER_NAME), PipeEndpoint(folder, "d1")
        values = {"speed": 1.0, "factor": 1.0, "links": {}, "backends": {}, "micro_batch": 1, "record": False, **hello}
        device = Device("d0", backend="synthetic")
        given = Hello(device=device, cores=(), transport="pipe", caller=CALLER_NAME, seed=0, **values)
        self.worker = Worker(self.control, folder, given)
        self.routes = chain_routes("d0", "d1")
        self.describe(0)

    def describe(self, stage):
        """Makes the file of a stage that adds 1."""
        text = json.dumps({"inputs": [f"t{stage}"], "outputs": {f"t{stage + 1}": f"t{stage}"}, "add": 1})
        (self.folder / f"stage_{stage}.json").write_text(text)

    def send(self, *commands):
        """What the worker replied."""
        self.control.replies.clear()
        for command in commands:
            self.control.commands.put(command)
        self.worker.step(0.0)
        return self.control.replies

    def configure(self, epoch=1, routes=None):
        return self.send(Configure(epoch, str(self.folder), routes or self.routes))

    def feed(self, value, sequence=0, **fields):
        self.caller.send("d0", message(0, value, sequence=sequence, **fields))

    def made(self, endpoint, timeout_s=5.0):
        """The next message of the worker."""
        for _ in range(100):
            self.worker.step(timeout_s / 100)
            if arrived := endpoint.receive(0.0):
                return arrived[0]
        raise AssertionError("nothing arrived")

    def close(self):
        for endpoint in (self.caller, self.d1, self.worker._loop.endpoint):
            endpoint.close()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_worker_enters_an_epoch_and_says_what_it_loaded_and_takes(bench):
    (reply,) = bench.configure(3)
    assert isinstance(reply, Configured)
    assert (reply.epoch, [load.stage for load in reply.loads]) == (3, [0])
    assert reply.loads[0].start_s <= reply.loads[0].stop_s
    assert reply.resident_bytes is not None
    assert reply.resident_bytes > 1 << 20


def test_its_times_are_on_the_clock_of_the_caller(bench):
    bench.send(SetClock(1e6))
    (reply,) = bench.configure()
    assert reply.loads[0].start_s > 1e6
    bench.feed(5.0)
    assert bench.made(bench.d1).sent_s > 1e6


def test_items_pass_through_its_stages(bench):
    bench.configure()
    bench.feed(5.0)
    np.testing.assert_array_equal(bench.made(bench.d1).arrays[0], vector(6.0))
    assert bench.control.board.counts(2) == ([0.0, 1.0], [1.0, 0.0])
    assert bench.control.board.busy(0.0) is None


def test_what_was_prepared_is_not_loaded_again(bench):
    (prepared,) = bench.send(Prepare(str(bench.folder), bench.routes))
    (configured,) = bench.configure()
    assert [load.stage for load in prepared.loads] == [0]
    assert isinstance(prepared, Prepared)
    assert configured.loads == ()


def test_a_stage_that_moved_away_is_loaded_anew_when_it_comes_back(bench):
    placements = [bench.routes, chain_routes("d1", "d1"), bench.routes, bench.routes]
    loads = [len(bench.configure(epoch, routes)[0].loads) for epoch, routes in enumerate(placements)]
    assert loads == [1, 0, 1, 0]


@pytest.mark.parametrize("kind", [Configure, Prepare])
def test_a_stage_that_cannot_be_loaded_is_a_failure_with_its_file(bench, kind):
    (bench.folder / "stage_0.json").unlink()
    arguments = (str(bench.folder), bench.routes)
    (reply,) = bench.send(kind(1, *arguments) if kind is Configure else kind(*arguments))
    assert isinstance(reply, Failed)
    assert reply.reason == "load"
    assert "stage_0" in reply.detail


def test_a_stage_whose_file_is_not_the_one_of_the_plan_is_a_failure(bench):
    files = {"stage_0.json": digest_of(bench.folder / "stage_0.json")}
    parts = (replace(bench.routes.parts[0], files=files), bench.routes.parts[1])
    routes = replace(bench.routes, parts=parts)
    (known,) = bench.configure(routes=routes)
    assert isinstance(known, Configured)
    bench.configure(2, chain_routes("d1", "d1"))
    bench.describe(7)
    (bench.folder / "stage_7.json").replace(bench.folder / "stage_0.json")
    (failed,) = bench.configure(3, routes)
    assert failed.reason == "changed"
    assert "'stage_0.json' has changed since the plan was written" in failed.detail


def test_exhausted_memory_is_a_failure_of_its_own(bench, monkeypatch):
    def open_stage(*arguments):
        raise MemoryError

    monkeypatch.setattr("multiedge.backends.stages.open_stage", open_stage)
    assert bench.configure() == [Failed("memory", "out of memory while loading its stages")]


def test_a_plan_with_too_many_transfers_is_a_failure(bench):
    routes = bench.routes
    many = type(routes)(routes.parts, routes.transfers * MOST_TRANSFERS)
    (reply,) = bench.configure(1, many)
    assert (reply.reason, "transfers" in reply.detail) == ("load", True)


def test_a_speed_that_changes_is_a_factor_on_the_devices_own(tmp_path):
    bench = Bench(tmp_path, speed=0.5, factor=0.5)
    try:
        assert bench.worker._pace.speed == 0.25
        bench.send(SetSpeed(0.1))
        assert bench.worker._pace.speed == 0.05
    finally:
        bench.close()


def due_of(bench, sequence):
    bench.feed(1.0, sequence=sequence)
    sent = bench.made(bench.d1)
    return sent.due_s - sent.sent_s


def test_a_link_that_leaves_the_device_delays_what_it_sends(bench):
    bench.configure()
    assert due_of(bench, 0) == 0.0
    bench.send(SetLink("d0", "d1", Link(latency_s=2.0)))
    assert due_of(bench, 1) == pytest.approx(2.0)


def test_a_link_that_leads_to_the_device_does_not_change_the_way_back(bench):
    bench.configure()
    bench.send(SetLink("d1", "d0", Link(latency_s=2.0)))
    assert due_of(bench, 0) == 0.0


def test_what_waited_for_a_link_to_the_device_arrives_when_it_is_back(bench):
    bench.describe(1)
    bench.configure(routes=chain_routes("d1", "d0"))
    bench.d1.send("d0", message(1, 5.0, source="d1", due_s=float("inf")))
    for _ in range(20):
        bench.worker.step(0.01)
    assert bench.control.board.counts(2)[1] == [0.0, 0.0]
    bench.send(SetLink("d1", "d0", DOWN))
    assert bench.control.board.counts(2)[1] == [0.0, 0.0]
    bench.send(SetLink("d1", "d0", Link()))
    assert float(bench.made(bench.caller).arrays[0][0]) == 6.0


def test_a_worker_starts_without_what_makes_and_converts_models():
    """Each device pays for it, in memory and whenever a worker is started again."""
    heavy = ("onnx", "google.protobuf", "onnxruntime", "scipy", "psutil", "multiedge.backends.conversion.convert")
    code = f"import sys, multiedge.executors.workers.worker; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
