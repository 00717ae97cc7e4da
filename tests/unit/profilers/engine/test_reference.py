"""What a device of speed 1 is taken for: measured once on a machine, kept, and said in one line."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.errors import ConfigError
from multiedge.fleet import Device, Fleet
from profilers.engine import calibration, reference
from profilers.engine.calibration import Calibration
from profilers.engine.reference import VARIABLE, calibrated, kept_at, reference_of
from profilers.engine.roofline import REFERENCE, Capability
from profilers.static import StaticProfiler
from tests.builders.graphs import chain_graph

ABLE = Capability(155.2e9, 12e9, 5e-7, 2.1e9, "this machine, 1 thread")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Grows with each calibration, whose figures are made up; caches are in an empty folder."""
    made: list[int] = []

    def calibrate(threads: int = 1) -> Calibration:
        made.append(len(made))
        return Calibration(threads, ABLE, 1e-5)

    monkeypatch.setattr(calibration, "calibrate", calibrate)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE)
    return made


def test_a_machine_is_calibrated_once_and_that_is_said_once(calls: list[int], caplog: pytest.LogCaptureFixture) -> None:
    assert [reference_of(), reference_of("calibrated")] == [ABLE, ABLE]
    assert calls == [0]
    (line,) = caplog.messages
    assert line.startswith("calibrated this machine in 0.0 s: 155 GFLOP/s (kept in ")
    assert caplog.records[0].levelno >= logging.WARNING  # what is shown where nothing is configured


def test_of_several_that_need_it_at_the_same_time_one_calibrates(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    fast = calibration.calibrate

    def slow(threads: int = 1) -> Calibration:
        time.sleep(0.2)
        return fast(threads)

    monkeypatch.setattr(calibration, "calibrate", slow)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(calibrated, [1, 1])) == [ABLE, ABLE]
    assert calls == [0]


def test_tests_keep_their_calibrations_apart_from_those_of_the_user() -> None:
    assert not kept_at().is_relative_to(Path.home() / ".cache")


def test_the_declared_reference_measures_and_keeps_nothing(
    calls: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert reference_of("declared") is REFERENCE
    monkeypatch.setenv(VARIABLE, "declared")
    assert reference_of() is REFERENCE
    assert (calls, list(tmp_path.iterdir())) == ([], [])


def test_an_option_goes_before_the_environment(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "declared")
    assert reference_of("calibrated") == ABLE


def test_another_name_in_the_environment_is_refused(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "declraed")
    with pytest.raises(ConfigError, match=r"MULTIEDGE_REFERENCE: expected calibrated or declared, got 'declraed'.*'declared'"):
        reference_of()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"flops_per_s": 0}', '{"flops_per_s": "x"}'],
    ids=["empty", "cut", "list", "none", "zero", "word"],
)
def test_a_damaged_file_is_measured_and_written_anew(calls: list[int], text: str) -> None:
    reference_of()
    kept_at().write_text(text)
    assert [reference_of(), reference_of()] == [ABLE, ABLE]
    assert calls == [0, 1]


def test_another_machine_or_runtime_is_calibrated_again(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    reference_of()
    monkeypatch.setattr(reference, "machine_name", lambda: "Linux arm64, 4 CPUs, another")
    reference_of()
    monkeypatch.setattr(OnnxRuntimeBackend, "version", "99.0")
    reference_of()
    assert calls == [0, 1, 2]


def test_a_folder_that_cannot_be_written_costs_the_time_only(
    calls: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert reference_of() == ABLE
    assert "GFLOP/s (not kept: " in caplog.text


def test_a_machine_that_cannot_be_calibrated_is_an_error_with_the_remedy(
    calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(threads: int) -> Calibration:
        raise ImportError("No module named 'onnxruntime'")

    monkeypatch.setattr(calibration, "calibrate", fail)
    with pytest.raises(ConfigError, match=r"cannot be calibrated: No module .*; give reference 'declared' \(MULTIEDGE_REF"):
        reference_of()


def test_speeds_multiply_the_calibrated_reference_and_the_profile_says_so(calls: list[int]) -> None:
    fleet = Fleet((Device("half", speed=0.5), Device("stated", flops_per_s=155.2e9, memory_bytes_per_s=12e9)), name="f")
    profile = StaticProfiler().profile(chain_graph(2), fleet)
    assert profile.seconds["half"].tolist() == pytest.approx((2 * profile.seconds["stated"]).tolist())
    assert profile.reference == "this machine, 1 thread: 155.2 GFLOP/s, 12 GB/s, 0.5 us per node"
    assert "speed 1 is taken as 155.2 GFLOP/s" in profile.notes[0]


def test_each_number_of_threads_is_calibrated_by_itself(calls: list[int]) -> None:
    assert [calibrated(2), calibrated(2), calibrated()] == [ABLE] * 3
    assert len(calls) == 2
    assert kept_at(2) != kept_at()
