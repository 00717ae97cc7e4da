"""Links by the kernel: as fast as asked, nothing lost when a device or a link fails, nothing left behind."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest

from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.errors import MultiedgeError, PipelineError
from multiedge.executors import open_pipeline
from multiedge.executors.flow.scenarios import scenario
from multiedge.executors.processes import ProcessesExecutor
from multiedge.executors.workers.options import Deadlines, Emulation
from multiedge.fleet import Device, Fleet, Link
from multiedge.trace import LinkEvent, Trace
from multiedge.transports import namespaces
from multiedge.transports.namespaces import NAMESPACES, Network
from tests.builders.pipelines import item, small_plan, synthetic_chain, synthetic_fleet, vectors
from tests.builders.stage_hosts import ended

TOLERANCE = 0.05
BY_KERNEL = Emulation(namespaces=True)
PATIENCE = Deadlines(heartbeat_s=1.0, floor_s=0.5, first_s=5.0, link_s=0.4, cooldown_s=0.3)
DOWN = Link(bandwidth_bytes_per_s=1e-6)
END_LIMIT_S = 2.0


def obstacle() -> str:
    """Why namespaces cannot be tested here, in words; '' if they can."""
    try:
        Network(Fleet((Device("d0"),)), "caller").close()
    except MultiedgeError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(reason := obstacle()), reason=reason)


def of_process(pid: int) -> list[str]:
    """Namespaces and interfaces that hold the process in their names."""
    found = [path.name for path in NAMESPACES.glob(f"multiedge-{pid}.*")]
    return found + [name for name in psutil.net_if_stats() if name.startswith(f"me{pid}-")]


def own_files() -> list[str]:
    """What this process has open, without the database that onnxruntime opens with a process's first session and keeps."""
    links = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    files = [os.readlink(link) for link in links if link.is_symlink()]
    return [file for file in files if "onnxruntime.db" not in file]


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    before = len(own_files())
    yield
    assert of_process(os.getpid()) == []
    assert len(own_files()) <= before, own_files()


def arrives(network: Network, source: str, target: str) -> bool:
    """Whether a datagram from one device reaches another."""
    receive = "import socket, sys; s = socket.socket(type=socket.SOCK_DGRAM); s.bind((sys.argv[1], 9)); print('up', flush=True)"
    receive += "; s.settimeout(0.3); s.recv(9)"
    send = "import socket, sys; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x' * 900, (sys.argv[1], 9))"
    host = network.hosts[target]
    listener = [*network.command(target), sys.executable, "-c", receive, host]
    with ended(listener, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == "up\n"
        subprocess.run([*network.command(source), sys.executable, "-c", send, host], check=True)
        return process.wait(timeout=10) == 0


def test_what_is_dropped_one_way_still_arrives_the_other_way_and_bytes_are_counted() -> None:
    network = Network(Fleet((Device("a"), Device("b")), {("a", "b"): Link(1e6)}), "caller")
    try:
        assert (arrives(network, "a", "b"), arrives(network, "b", "a")) == (True, True)
        network.drop("a", "b")
        assert (arrives(network, "a", "b"), arrives(network, "b", "a")) == (False, True)
        network.deliver("a", "b")
        assert arrives(network, "a", "b")
        sent = network.sent_bytes()
        assert sent["a", "b"] >= 2 * 900
        assert sent["caller", "a"] < 900
    finally:
        network.close()


@pytest.mark.timing
@pytest.mark.parametrize(
    ("rate", "nbytes", "count"),
    [pytest.param(0.5e6, 40_000, 30, marks=pytest.mark.slow), (2e6, 80_000, 50), (20e6, 400_000, 100)],
)
def test_the_kernel_holds_a_link_to_its_rate(
    tmp_path: Path, rate: float, nbytes: int, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, latency = synthetic_chain(tmp_path, stages=2), 0.03
    fleet = Fleet(synthetic_fleet(2).devices, {("d0", "d1"): Link(rate, latency)})
    feed = {"t0": np.zeros(nbytes // 4, dtype=np.float32)}
    with open_pipeline(manifest, fleet, emulation=BY_KERNEL) as pipeline:
        results, full = pipeline.map([feed] * count)
        _, single = pipeline.map([feed] * 5, scenario("singlestream"))
    done = [result.done_s for result in results]
    # The median, so that a host that halts for a moment does not count as a slow link.
    acts = nbytes / statistics.median(later - earlier for earlier, later in pairwise(done))
    alone = statistics.median(entry.done_s - entry.issued_s for entry in single.items)
    with capsys.disabled():
        print(f"\nlink of {rate:.0f} B/s: acts as {acts:.0f}; one message of {nbytes / rate + latency:.3f} s: {alone:.3f} s")
    assert acts == pytest.approx(rate, rel=TOLERANCE)
    assert alone == pytest.approx(nbytes / rate + latency, rel=0.15)
    assert (full.settings["emulated"]["links"], full.settings["transport"]) == ("network namespaces (tbf)", "tcp")


@pytest.mark.timing
def test_each_way_has_its_own_rate_and_the_caller_that_of_his_device(tmp_path: Path) -> None:
    """Into d1 at 4 MB/s, out of it at 1 MB/s; the caller is at d0, whose worker it reaches without delay."""
    manifest, nbytes = synthetic_chain(tmp_path, stages=2), 100_000
    links = {("d0", "d1"): Link(4e6), ("d1", "d0"): Link(1e6)}
    fleet = Fleet(synthetic_fleet(2).devices, links, source="d0")
    feed = {"t0": np.zeros(nbytes // 4, dtype=np.float32)}
    with open_pipeline(manifest, fleet, emulation=BY_KERNEL) as pipeline:
        _, measured = pipeline.map([feed] * 9, scenario("singlestream"))
    ways: dict[tuple[str, str], list[float]] = {}
    for event in measured.events:
        if event.kind == "transfer":
            ways.setdefault((event.device, event.peer), []).append(event.seconds)
    took = {way: statistics.median(seconds) for way, seconds in ways.items()}
    assert took["caller", "d0"] < 0.01
    assert took["d0", "d1"] == pytest.approx(nbytes / 4e6, rel=0.3)
    assert took["d1", "caller"] == pytest.approx(nbytes / 1e6, rel=0.3)


@pytest.mark.timing
def test_a_device_that_computes_while_its_link_carries(tmp_path: Path) -> None:
    """Stages of 100 ms, and messages of 100 ms that no socket's buffer holds: one item each 100 ms, not each 200."""
    manifest, rate, nbytes = synthetic_chain(tmp_path, stages=2, seconds=0.1), 80e6, 8_000_000
    fleet = Fleet(synthetic_fleet(2).devices, {("d0", "d1"): Link(rate)})
    with open_pipeline(manifest, fleet, emulation=BY_KERNEL) as pipeline:
        results, _ = pipeline.map([{"t0": np.zeros(nbytes // 4, dtype=np.float32)}] * 15)
    each = (results[-1].done_s - results[0].done_s) / (len(results) - 1)
    assert each == pytest.approx(0.1, rel=0.25)


def kill(executor: ProcessesExecutor, device: str) -> None:
    os.kill(executor.pool.workers[device].pid, signal.SIGKILL)


def stop(executor: ProcessesExecutor, device: str) -> None:
    os.kill(executor.pool.workers[device].pid, signal.SIGSTOP)


def cut_off(executor: ProcessesExecutor, device: str) -> None:
    for peer in executor.fleet.names:
        if peer != device:
            executor.set_link(device, peer, DOWN)
            executor.set_link(peer, device, DOWN)


@pytest.mark.parametrize(
    ("harm", "kinds"),
    [
        (kill, {"crash"}),
        pytest.param(stop, {"hang", "slow"}, marks=pytest.mark.slow),  # one that is stopped as it computes is slow
        (cut_off, {"link"}),
    ],
    ids=["kill", "stop", "cut_off"],
)
def test_no_item_is_lost_or_answered_twice(
    tmp_path: Path, harm: Callable[[ProcessesExecutor, str], None], kinds: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, fleet = small_plan(tmp_path)
    inputs = vectors(400)
    whole = OnnxRuntimeBackend().open(tmp_path / "small.onnx")
    with open_pipeline(manifest, fleet, deadlines=PATIENCE, emulation=BY_KERNEL) as pipeline:
        executor = pipeline.executor
        assert isinstance(executor, ProcessesExecutor)

        def source() -> Iterator[dict[str, np.ndarray]]:
            for number, tensors in enumerate(inputs):
                if number == 150:
                    harm(executor, "d1")
                yield tensors

        results, measured = pipeline.map(source())
    assert [result.item for result in results] == list(range(len(inputs)))
    for result, tensors in zip(results, inputs, strict=True):
        np.testing.assert_allclose(result.require()["y"], whole.run(tensors)["y"], rtol=1e-5, atol=1e-6)
    assert kinds & {fault.kind for fault in measured.faults}
    with capsys.disabled():
        print(
            f"\n{harm.__name__}: {[(f.kind, f.device, round((f.recovered_s or 0) - f.detected_s, 3)) for f in measured.faults]}"
        )


def cut(at_s: float, for_s: float) -> Trace:
    """The link between the first two devices is down for a while."""
    back = LinkEvent(at_s + for_s, ("d0", "d1"), bandwidth_bytes_per_s=2e6)
    return Trace((LinkEvent(at_s, ("d0", "d1"), bandwidth_bytes_per_s=0.0), back))


def test_a_link_that_is_down_for_a_moment_loses_nothing(tmp_path: Path) -> None:
    """Too short a moment to give the device up: what was sent arrives when the link is back."""
    manifest, down_s = synthetic_chain(tmp_path, stages=2, seconds=0.005), 0.3
    patient = replace(PATIENCE, link_s=5.0)
    with open_pipeline(
        manifest, synthetic_fleet(2), trace=cut(0.2, down_s), deadlines=patient, emulation=BY_KERNEL
    ) as pipeline:
        results, measured = pipeline.map(item(number) for number in range(150))
    assert [float(result.require()["t2"][0]) for result in results] == [number + 2.0 for number in range(150)]
    assert measured.faults == ()
    done = [result.done_s for result in results]
    assert max(later - earlier for earlier, later in pairwise(done)) > 0.9 * down_s


@pytest.mark.slow
def test_a_device_behind_a_link_that_is_cut_comes_back_to_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The caller is at d0, which feeds d1: d2 stands in while the link is cut, then d1 works again over the same network."""
    manifest = synthetic_chain(tmp_path, stages=2, seconds=0.004)
    fleet = replace(synthetic_fleet(3), source="d0")
    with open_pipeline(
        manifest, fleet, trace=cut(0.3, 1.5), deadlines=PATIENCE, fallbacks={1: ("d2",)}, emulation=BY_KERNEL
    ) as pipeline:
        before = of_process(os.getpid())
        results, measured = pipeline.map(item(number) for number in range(1500))
        assert of_process(os.getpid()) == before
    assert [float(result.require()["t2"][0]) for result in results] == [number + 2.0 for number in range(1500)]
    by = [event.device for event in measured.events if event.kind == "compute" and event.stage == 1]
    assert (by[0], by[-1]) == ("d1", "d1")
    assert "d2" in by
    kinds = [fault.kind for fault in measured.faults]
    assert "link" in kinds
    assert "return" in kinds
    with capsys.disabled():
        print("\n" + ", ".join(f"{fault.kind} {fault.device}" for fault in measured.faults))


def test_a_plan_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, load_bytes=200 * 2**20)
    with pytest.raises(PipelineError, match="device 'd0' takes"):
        open_pipeline(manifest, synthetic_fleet(3, memory_bytes=150 * 2**20), emulation=BY_KERNEL)


def test_two_networks_at_the_same_time_are_separate(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path)
    with (
        open_pipeline(manifest, synthetic_fleet(3), emulation=BY_KERNEL) as first,
        open_pipeline(manifest, synthetic_fleet(3), emulation=BY_KERNEL) as second,
    ):
        for pipeline in (first, second):
            results, _ = pipeline.map(item(number) for number in range(20))
            assert [float(result.require()["t3"][0]) for result in results] == [number + 3.0 for number in range(20)]


ENDLESS = """
import itertools, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.builders.pipelines import item, synthetic_chain, synthetic_fleet
from multiedge.executors import open_pipeline
from multiedge.executors.workers.options import Emulation
manifest = synthetic_chain(Path(sys.argv[1]), seconds=0.01)
with open_pipeline(manifest, synthetic_fleet(3), emulation=Emulation(namespaces=True)) as pipeline:
    print("running", flush=True)
    pipeline.map(item(number) for number in itertools.count())
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    """After Ctrl-C immediately; if a run was killed, the next network removes what is left."""
    command = [sys.executable, "-c", ENDLESS, str(tmp_path), str(Path(__file__).parents[3])]
    with ended(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "running\n"
        assert len(of_process(run.pid)) == 6
        os.kill(run.pid, how)
        run.wait(timeout=10)
    if how is signal.SIGKILL:
        assert len(of_process(run.pid)) == 6
        namespaces.remove_orphans()
    until = time.monotonic() + END_LIMIT_S
    while of_process(run.pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert of_process(run.pid) == []


def test_a_command_that_is_terminated_removes_its_namespaces(tmp_path: Path) -> None:
    manifest, _ = small_plan(tmp_path)
    command = [sys.executable, "-m", "multiedge", "run", manifest.directory, "--random", "1000000", "--namespaces"]
    with ended(command, cwd=Path(__file__).parents[3], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        until = time.monotonic() + 30.0
        while len(of_process(run.pid)) < 6 and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=20) == 143
    assert of_process(run.pid) == []
