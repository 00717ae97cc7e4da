"""What SECURITY.md promises, one test per row that no other file covers (hostile models: test_onnx_io_damage.py)."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import multiedge as me
from multiedge import cli
from multiedge.errors import ConfigError, PlanError
from tests.builders.onnx_models import LIGHT

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for package in ("multiedge", "core", "partitioners", "profilers", "examples")
    for path in (ROOT / package).rglob("*.py")
]
SQUEEZENET = LIGHT / "light_squeezenet.onnx"
FLEET = "devices: [{name: a, memory: 1GiB}, {name: b, memory: 1GiB}]\n"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan folder of two parts."""
    folder = tmp_path_factory.mktemp("plan")
    (folder / "devices.yaml").write_text(FLEET)
    me.partition(SQUEEZENET, folder / "devices.yaml", directory=folder / "parts", strategy="equal_flops")
    return folder / "parts"


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    path = tmp_path / "devices.yaml"
    path.write_text(f"devices: !!python/object/apply:os.mkdir ['{proof}']\n")
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        me.read_fleet(path)
    assert not proof.exists()


def test_no_source_unpickles_or_evaluates() -> None:
    words = (r"import pickle", r"pickle\.", r"marshal\.", r"yaml\.(load|unsafe_load|full_load)\(", "allow_pickle=True")
    forbidden = re.compile("|".join((*words, r"(?<![.\w])(eval|exec)\(")))
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in SOURCES
        for line in path.read_text().splitlines()
        if forbidden.search(line)
    ]
    assert found == []


def test_no_source_listens_beyond_loopback_by_default() -> None:
    found = [str(path) for path in SOURCES if re.search(r"0\.0\.0\.0|\[::\]", path.read_text())]
    assert found == []


@pytest.mark.parametrize("name", ["../outside.onnx", "/etc/hostname", "sub/../../outside.onnx"])
def test_a_manifest_cannot_name_files_elsewhere(plan: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "parts"
    shutil.copytree(plan, folder)
    data = json.loads((folder / "plan.json").read_text())
    (tmp_path / "outside.onnx").write_bytes((folder / data["parts"][0]["file"]).read_bytes())
    data["parts"][0]["files"] = {name: "xxh3:0"}
    data["parts"][0]["file"] = name
    (folder / "plan.json").write_text(json.dumps(data))
    with pytest.raises(PlanError, match="leads out of the plan's folder"):
        me.read_manifest(folder)


def test_a_part_must_be_among_the_files_that_are_checked(plan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    shutil.copytree(plan, folder)
    data = json.loads((folder / "plan.json").read_text())
    (tmp_path / "outside.onnx").write_bytes((folder / data["parts"][0]["file"]).read_bytes())
    data["parts"][0]["file"] = "../outside.onnx"
    (folder / "plan.json").write_text(json.dumps(data))
    with pytest.raises(PlanError, match=r"\.\./outside\.onnx"):
        me.read_manifest(folder)


def test_a_part_that_was_exchanged_is_refused(plan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    shutil.copytree(plan, folder)
    part = sorted(folder.glob("*.onnx"))[0]
    part.write_bytes(part.read_bytes() + b"\0")
    with pytest.raises(PlanError, match="has changed since the plan was written"):
        me.read_manifest(folder)


def test_inputs_cannot_be_pickles(plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "item.npz", data_0=np.array([{"a": 1}], dtype=object))
    assert cli.main(["run", str(plan), "--inputs", str(tmp_path / "item.npz")]) == 1
    assert "expected an .npz with one array per input" in capsys.readouterr().err
