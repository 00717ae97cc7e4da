"""`multiedge calibrate`: what was measured, as lines for devices.yaml or as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from multiedge.cli import main
from multiedge.commands import calibrate as command
from multiedge.errors import MissingDependencyError
from multiedge.formats.devices import read_fleet
from profilers.engine.calibration import Calibration, Hop
from profilers.engine.roofline import Capability

CALIBRATION = Calibration(1, Capability(4e10, 1e10, 2e-6, 3e9, "made up"), 5e-6)
HOP = Hop(2e-5, 3e9)
RUNTIME_BYTES = (90 << 20) + 1


@pytest.fixture
def kept() -> list[Calibration]:
    """The calibrations that become the reference of static profiles."""
    return []


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, kept: list[Calibration]) -> list[tuple[object, ...]]:
    """What was asked for; the figures are made up."""
    calls: list[tuple[object, ...]] = []

    def measure(threads: int, backend: str, progress: object) -> tuple[Calibration, Hop]:
        calls.append((threads, backend))
        return CALIBRATION, HOP

    monkeypatch.setattr(command, "measure", measure)
    monkeypatch.setattr(command, "keep", kept.append)
    monkeypatch.setattr(command, "renewed_pipeline_cost", lambda *how: None)
    monkeypatch.setattr(command, "runtime_bytes", lambda threads, backend: RUNTIME_BYTES)
    return calls


def test_one_thread_is_kept_as_the_reference_of_static_profiles(
    measured: list[tuple[object, ...]], kept: list[Calibration], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert [main(["calibrate", "--threads", "2"]), kept] == [0, []]
    assert [main(["calibrate"]), kept] == [0, [CALIBRATION]]


def test_json_holds_every_figure(measured: list[tuple[object, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--name", "nano", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["name"] == "nano"
    assert data["runtime_bytes"] == RUNTIME_BYTES
    assert data["hop"] == {"latency_s": 2e-5, "bytes_per_s": 3e9}
    assert (data["threads"], data["stage_overhead_s"], data["backend"]) == (1, 5e-6, "onnxruntime")
    assert measured == [(1, "onnxruntime")]


@pytest.mark.parametrize("name", ["nano", "pi-5.local", "no", "12", "a: b", "#1", "[x]", "ü", 'say "hi"'])
def test_lines_can_be_used_as_a_fleet(
    measured: list[tuple[object, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["calibrate", "--name", name]) == 0
    (tmp_path / "devices.yaml").write_text(capsys.readouterr().out)
    (device,) = read_fleet(tmp_path / "devices.yaml").devices
    assert device.name == name
    assert (device.flops_per_s, device.memory_bytes_per_s, device.threads) == (4e10, 1e10, 1)
    assert device.runtime_bytes == 91 << 20


@pytest.mark.parametrize("threads", ["0", "-1", str((os.cpu_count() or 1) + 1)])
def test_threads_that_the_machine_does_not_have_are_refused(
    measured: list[tuple[object, ...]], threads: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "--threads", threads]) == 1
    assert f"--threads: expected 1 to {os.cpu_count()} (this machine's CPUs), got {threads}" in capsys.readouterr().err
    assert measured == []


def test_what_could_not_be_measured_without_a_package_is_one_line(
    measured: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(names: object) -> object:
        raise MissingDependencyError("cryptography", extra="fleet")

    monkeypatch.setattr(command, "identities_of_one_run", missing)
    assert main(["calibrate"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "TLS" in line]
    assert len(lines) == 1
    assert "messages over TLS were not measured" in lines[0]
    assert "multi-edge-bench[fleet]" in lines[0]
