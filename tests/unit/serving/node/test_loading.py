"""Stages loaded once in a worker of their own, and the calibration in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from multiedge.errors import PipelineError
from multiedge.serving.node import speed
from multiedge.serving.node.folder import LocalStages, PlanFolders
from multiedge.serving.node.limits import Limits
from multiedge.serving.node.loading import load_once
from tests.builders.children import own_children
from tests.builders.pool import FakePool, split_layers

LIMITS = Limits(1 << 30, 1)


@pytest.fixture
def stages(tmp_path: Path) -> Iterator[LocalStages]:
    pool = FakePool()
    folders = PlanFolders(tmp_path / "node", 10 << 20, pool)
    yield folders.open(pool.put(split_layers(tmp_path / "model", [3])), [1])
    folders.close()


def test_stages_are_loaded_and_the_worker_is_gone(stages: LocalStages) -> None:
    assert (load_once("pi", "onnxruntime", stages, LIMITS) or 0) > 20 << 20
    assert own_children() == []


def test_what_cannot_be_loaded_is_told_in_the_words_of_the_worker(stages: LocalStages) -> None:
    (part,) = stages.parts.values()
    (stages.directory / part.file).write_bytes(b"changed")
    with pytest.raises(PipelineError, match="has changed since the plan was written"):
        load_once("pi", "onnxruntime", stages, LIMITS)
    with pytest.raises(PipelineError, match="unknown backend"):
        load_once("pi", "onnxruntim", replace(stages), LIMITS)
    assert own_children() == []


def test_loading_that_is_cancelled_ends_its_worker(stages: LocalStages) -> None:
    with pytest.raises(PipelineError, match="cancelled"):
        load_once("pi", "onnxruntime", stages, LIMITS, lambda: True)
    assert own_children() == []


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What runs in place of the calibration."""
    path = tmp_path / "calibration.py"
    monkeypatch.setattr(speed, "__name__", "calibration")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return path


def test_the_calibration_is_read_from_its_process(script: Path) -> None:
    script.write_text('import sys; print(\'{"threads": %s, "flops_per_s": 5e9, "memory_bytes_per_s": 1e9}\' % sys.argv[1])')
    assert speed.measure_speed(2) == speed.Speed(2, 5e9, 1e9)


def test_a_machine_that_cannot_be_calibrated_says_why_in_one_line(script: Path) -> None:
    script.write_text('import sys; sys.exit("first line\\nno runtime")')
    with pytest.raises(PipelineError, match="cannot be calibrated: no runtime"):
        speed.measure_speed(2)


def test_a_calibration_that_is_ended_leaves_no_process(script: Path) -> None:
    script.write_text("import time; time.sleep(60)")
    start_s = time.monotonic()
    with pytest.raises(PipelineError, match="or was ended"):
        speed.measure_speed(2, lambda: time.monotonic() - start_s > 0.3)
    assert time.monotonic() - start_s < 5
    assert own_children() == []


def test_the_module_prints_what_it_calibrated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from profilers.engine import reference
    from profilers.engine.roofline import Capability

    monkeypatch.setattr(reference, "calibrated", lambda threads: Capability(1e9 * threads, 2e9, 1e-6, 3e9, "made up"))
    speed.main("3")
    assert capsys.readouterr().out == '{"threads": 3, "flops_per_s": 3000000000.0, "memory_bytes_per_s": 2000000000.0}\n'
