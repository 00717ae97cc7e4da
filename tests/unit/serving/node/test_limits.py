"""What the workers of a node may take, and what a node tells of itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from multiedge.errors import ConfigError
from multiedge.executors.workers.messages import Hello
from multiedge.fleet import CALLER_NAME, Device
from multiedge.network.encoding import decode, encode
from multiedge.network.records import NodeState
from multiedge.serving.node.limits import Limits, machine_memory_bytes
from multiedge.serving.node.speed import Speed
from multiedge.serving.node.state import Description, Machine, battery, installed_backends

GIB = 1 << 30


def hello(device: Device, speed: float = 1.0, memory_limit_bytes: int | None = None) -> Hello:
    return Hello(device, {}, speed, 1.0, (), "pipe", {}, CALLER_NAME, 1, False, 0, memory_limit_bytes)


def test_a_worker_gets_no_more_than_the_limits() -> None:
    limits = Limits(GIB, 2, 0.5)
    given = limits.applied(hello(Device("pi", memory_bytes=2 * GIB, threads=8)))
    assert (given.device.memory_bytes, given.device.threads, given.speed, given.memory_limit_bytes) == (GIB, 2, 0.5, GIB)
    less = limits.applied(hello(Device("pi", memory_bytes=5, threads=1), speed=0.25, memory_limit_bytes=7))
    assert (less.device.memory_bytes, less.device.threads, less.speed, less.memory_limit_bytes) == (5, 1, 0.25, 7)
    assert limits.applied(hello(Device("pi"))).device.memory_bytes == GIB


def test_limits_are_those_of_the_machine_by_default() -> None:
    limits = Limits.of(None, None, 1.0)
    assert limits.memory_bytes == machine_memory_bytes()
    assert limits.threads >= 1


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ((1 << 60, None, 1.0), r"--memory: expected more than 0 and at most \d+MiB"),
        ((None, 10_000, 1.0), r"--threads: expected 1 to \d+ \(processors of this machine\), got 10000"),
        ((None, 0, 1.0), "--threads"),
        ((None, None, 0.0), "--cpu-share: expected more than 0 and at most 1, got 0"),
        ((None, None, 1.5), "--cpu-share"),
        ((None, None, float("nan")), "--cpu-share"),
    ],
)
def test_limits_that_the_machine_does_not_have_are_refused(values: tuple[int | None, int | None, float], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        Limits.of(*values)


@pytest.mark.parametrize(("text", "limited"), [("1048576\n", True), ("max\n", False)])
def test_a_container_has_the_memory_of_its_limit(tmp_path: Path, text: str, limited: bool) -> None:
    (tmp_path / "memory.max").write_text(text)
    assert (machine_memory_bytes(tmp_path / "memory.max") == 1048576) is limited
    assert machine_memory_bytes(tmp_path / "absent") == psutil.virtual_memory().total


def test_a_node_describes_itself_and_what_it_does_not_know_is_none() -> None:
    description = Description("pi", "h:1", Limits(GIB, 2, 0.5), 100.0, ("onnxruntime",))
    unknown = description.state(Machine(5, None, None), None)
    assert (unknown.flops_per_s, unknown.load, unknown.battery, unknown.free_bytes) == (None, None, None, 5)
    state = description.state(Machine(5, 0.2, 0.9), Speed(2, 10e9, 4e9))
    assert (state.flops_per_s, state.memory_bytes_per_s) == (5e9, 2e9)  # half of the time
    assert decode(NodeState, encode(state), "test") == state


def test_the_machine_is_read() -> None:
    machine = Machine.read(Limits(GIB, 1))
    assert 0 <= machine.free_bytes <= GIB
    assert machine.load is not None
    assert "onnxruntime" in installed_backends()


@pytest.mark.parametrize(
    ("sensor", "share"),
    [(lambda: None, None), (lambda: SimpleNamespace(percent=50), 0.5), (None, None)],
)
def test_a_battery_is_a_share_of_its_charge(sensor: object, share: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", sensor, raising=False)
    assert battery() == share
