"""What this machine sustains, with the clock made up, and the lines that describe it."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from multiedge.backends.timing import Accuracy
from multiedge.formats.devices import read_fleet
from profilers.engine import calibration
from profilers.engine.calibration import SIDE, STREAM_ELEMENTS, Calibration, Hop, calibrate, clock_hz, devices_yaml, measure_hop
from profilers.engine.roofline import Capability

ABLE = Capability(20e9, 8e9, 2e-6, 2.5e9, "this machine, 1 thread")


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds that each probe takes, by its number of nodes and operator; the cache of calibrations is emptied."""
    taken = {"MatMul": 0.5, "Add": 0.25, "1 Sin": 10e-6, "200 Sin": 10e-6 + 199 * 2e-6}

    def seconds(_self: object, model, _feed: object) -> float:
        kind = model.graph.node[0].op_type
        return taken[f"{len(model.graph.node)} Sin" if kind == "Sin" else kind]

    monkeypatch.setattr(calibration._Probe, "seconds", seconds)
    monkeypatch.setattr(calibration, "clock_hz", lambda: 3e9)
    calibrate.cache_clear()
    yield taken
    calibrate.cache_clear()


def test_figures_follow_from_the_times_of_four_probes(probe: dict[str, float]) -> None:
    found = calibrate(2)
    able = found.capability
    assert able.flops_per_s == pytest.approx(2 * SIDE**3 / 0.5)
    assert able.memory_bytes_per_s == pytest.approx(3 * 4 * STREAM_ELEMENTS / 0.25)
    assert able.node_overhead_s == pytest.approx(2e-6)
    assert found.stage_overhead_s == pytest.approx(8e-6)
    assert (able.freq_hz, able.source, found.threads) == (3e9, "this machine, 2 threads", 2)


def test_a_clock_that_runs_backwards_gives_no_negative_overhead(probe: dict[str, float]) -> None:
    probe["200 Sin"] = 5e-6
    found = calibrate(1)
    assert found.capability.node_overhead_s == 1e-8
    assert found.stage_overhead_s >= 0
    assert found.capability.source == "this machine, 1 thread"


def test_a_machine_is_measured_once_for_each_number_of_threads_and_backend(probe: dict[str, float]) -> None:
    assert calibrate(1) is calibrate(1)
    assert calibrate(1) is not calibrate(2)
    assert calibrate(1, "synthetic").backend == "synthetic"


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        pytest.param(SimpleNamespace(max=3000.0, current=1200.0), 3e9, id="the highest"),
        pytest.param(SimpleNamespace(max=0.0, current=1200.0), 1.2e9, id="the present one"),
        pytest.param(SimpleNamespace(max=0.0, current=0.0), 1e9, id="stated as nothing"),
        pytest.param(None, 1e9, id="not stated"),
    ],
)
def test_the_clock_is_what_the_system_states(monkeypatch: pytest.MonkeyPatch, stated: object, expected: float) -> None:
    monkeypatch.setattr(psutil, "cpu_freq", lambda: stated)
    assert clock_hz() == expected


def test_the_lines_are_a_device_that_can_be_read_back(tmp_path) -> None:
    text = devices_yaml(Calibration(2, ABLE, 30e-6), Hop(50e-6, 1.5e9), "bench")
    (tmp_path / "devices.yaml").write_text(text)
    (device,) = read_fleet(tmp_path / "devices.yaml").devices
    assert (device.name, device.threads) == ("bench", 2)
    assert (device.flops_per_s, device.memory_bytes_per_s, device.freq_hz) == (20e9, 8e9, 2.5e9)
    assert device.memory_bytes == psutil.virtual_memory().total // 2**20 * 2**20
    assert "# onnxruntime takes 2.0 us per node and 30 us per stage and item" in text
    assert "# a hop between two processes takes 50 us and 1.50 GB/s" in text


def test_a_hop_that_was_not_measured_has_no_line() -> None:
    assert "hop" not in devices_yaml(Calibration(1, ABLE, 0.0), None, "bench")


def test_a_hop_to_another_process_takes_time_and_moves_bytes() -> None:
    hop = measure_hop(Accuracy(relative=0.5, budget_s=0.2, least=5, most=8, warmup=1))
    assert 0 < hop.latency_s < 1.0
    assert hop.bytes_per_s > 1e6
