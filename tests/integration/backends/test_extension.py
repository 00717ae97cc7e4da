"""The backend of another package in docs/backends.md, as it is there: registered by its entry point, used by commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.packages import install
from tests.builders.pipelines import small_model

ROOT = Path(__file__).parents[3]
DEVICES = """\
devices:
  - {name: phone, speed: 0.5, backend: engine, bandwidth: 1Gbps}
  - {name: laptop, speed: 1, backend: onnxruntime, bandwidth: 1Gbps}
partition_points:
  - {input_names: [x], output_names: [h2, h1], device_name: phone}
  - {input_names: [h2, h1], output_names: ["y"], device_name: laptop}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model, its devices, and the package of the page."""
    page = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(# engine_runtime\.py\n.*?)```", page, re.DOTALL)
    point = re.search(r'\[project\.entry-points\."(?P<group>[\w.]+)"\]\n(?P<name>\w+) = "(?P<value>[\w:]+)"', page)
    assert code is not None
    assert point is not None
    install(tmp_path / "site", "engine_runtime", {}, {point["group"]: {point["name"]: point["value"]}})
    (tmp_path / "site" / "engine_runtime" / "__init__.py").write_text(code[1])
    small_model(tmp_path / "small.onnx")
    (tmp_path / "devices.yaml").write_text(DEVICES)
    return tmp_path


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "multiedge.cli", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_planned_with_converted_with_proof_and_run_beside_another_runtime(folder: Path) -> None:
    run(folder, "plan", "small.onnx", "--devices", "devices.yaml", "--strategy", "manual", "-o", "parts")
    records = json.loads(run(folder, "convert", "parts", "--backend", "engine", "--json"))
    assert [(each["state"], each["backend"]) for each in records] == [("success", "EngineBackend")] * 2
    assert all(error["relative"] <= 1e-4 for each in records for error in each["errors"] if error["relative"] is not None)
    figures = json.loads(run(folder, "run", "parts", "--devices", "devices.yaml", "--random", "6", "--json"))
    assert (figures["completed"], figures["failed"]) == (6, 0)
    ran = {each["device"]: each["provider"] for each in figures["runtimes"]}
    assert ran["phone"] == "engine"
