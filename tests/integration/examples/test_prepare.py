"""prepare.py from nothing to models, pictures and the whole model's answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.builders.example_checkout import BENCH, ROOT, checkout, require_bench, run

require_bench()
sys.path.insert(0, str(ROOT / BENCH))

from imagenet_bench.index import read_index  # noqa: E402


def prepare(cache: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(ROOT, f"{BENCH}/prepare.py", "--cache", str(cache), "--model", "efficientnet_lite0", *options)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout(tmp_path_factory) / ".cache" / "imagenet"


def test_whole_model_has_18_of_the_20_photographs_right(cache: Path) -> None:
    (kept,) = (cache / "reference").glob("efficientnet_lite0-*.npy")
    labels = [label for _, label in read_index(cache / "pictures" / "index.txt")]
    right = np.load(kept).argmax(axis=1) == labels
    assert (len(right), right.sum()) == (20, 18)


def test_exported_graph_is_plain(cache: Path) -> None:
    model = onnx.load(cache / "models" / "efficientnet_lite0" / "model.onnx", load_external_data=False)
    kinds = {node.op_type for node in model.graph.node}
    assert kinds == {"Conv", "Clip", "Add", "GlobalAveragePool", "Flatten", "Gemm"}
    assert [each.name for each in model.graph.input] == ["image"]
    assert [each.name for each in model.graph.output] == ["logits"]
    note = json.loads((cache / "models" / "efficientnet_lite0" / "model.json").read_text())
    assert note == {"model": "efficientnet_lite0", "weights": "efficientnet-lite0-57934424.pth", "trained": True}


def test_second_run_keeps_what_is_there(cache: Path) -> None:
    files = [path for path in cache.rglob("*") if path.is_file() and path.name != "index.txt"]
    before = {path: path.stat().st_mtime_ns for path in files}
    done = prepare(cache)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in files} == before


@pytest.mark.slow
def test_weights_that_do_not_fit_end_in_one_line(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.pth").write_bytes(b"no state dict")
    done = prepare(tmp_path / "cache", "--weights", f"efficientnet_lite0={tmp_path / 'broken.pth'}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"prepare.py: {tmp_path}/broken.pth: expected a state dict for efficientnet_lite0"
    )
    assert not (tmp_path / "cache" / "models" / "efficientnet_lite0" / "model.onnx").exists()


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--weights", "resnet=x.pth"], "--weights: expected MODEL=FILE with MODEL one of"),
        (["--weights", "efficientnet_lite0=gone.pth"], "gone.pth: expected a file of weights, found none"),
        (["--ilsvrc2012", "gone.tar", "gone.tar.gz"], "gone.tar.gz: expected the devkit archive"),
        (["--limit", "0"], "--limit: expected at least 1 picture, got 0"),
    ],
)
def test_what_cannot_be_prepared_ends_in_one_line(cache: Path, options: list[str], wrong: str) -> None:
    done = prepare(cache, *options)
    assert done.returncode == 1
    assert wrong in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
