"""The mistakes that newcomers make most: each ends in one line that says where, what was expected and what to do.

`UPDATE_GOLDEN=1 pytest tests/unit/commands/test_mistakes.py` writes the lines anew; read them as a stranger would.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from multiedge import cli
from tests.builders.onnx_models import LIGHT, parsed, saved

GOLDEN = Path(__file__).parents[2] / "golden" / "mistakes.txt"
SQUEEZENET = LIGHT / "light_squeezenet.onnx"

GOOD = """\
devices:
  - {name: phone, type: cpu, memory: 1GiB, speed: 0.5}
  - {name: tablet, type: cpu, memory: 1GiB, speed: 1}
"""
FLEETS = {
    "devices.yaml": GOOD,
    "small.yaml": GOOD.replace("1GiB", "1MiB"),
    "typo.yaml": GOOD.replace("memory: 1GiB, speed: 0.5", "memmory: 1GiB, speed: 0.5"),
    "unit.yaml": GOOD.replace("memory: 1GiB, speed: 0.5", "memory: 1 gigabite, speed: 0.5"),
    "indent.yaml": "devices:\n  - name: phone\n   memory: 1GiB\n",
    "speedless.yaml": GOOD.replace(", speed: 0.5", ""),
    "other.yaml": GOOD.replace("tablet", "laptop"),
}
MISTAKES = {
    "a model that is not there": "plan modle.onnx --devices devices.yaml",
    "a file that is no model": "plan devices.yaml --devices devices.yaml",
    "devices that are not there": "plan model.onnx --devices device.yaml",
    "yaml that is not indented well": "plan model.onnx --devices indent.yaml",
    "a misspelt key": "plan model.onnx --devices typo.yaml",
    "a unit that does not exist": "plan model.onnx --devices unit.yaml",
    "a device without speed among others with": "plan model.onnx --devices speedless.yaml",
    "a misspelt strategy": "plan model.onnx --devices devices.yaml --strategy throughputt",
    "devices that are too small": "plan model.onnx --devices small.yaml",
    "an input that the model does not have": "plan dynamic.onnx --devices devices.yaml --shape inputs=1,4",
    "a folder that is no plan": "run empty --random 3",
    "the model in place of its plan": "run model.onnx --random 3",
    "a plan for other devices": "run parts --devices other.yaml --random 3",
    "inputs under another name": "run parts --inputs wrong.npz",
    "inputs of another type": "run parts --inputs double.npz",
    "inputs of another shape": "run parts --inputs small.npz",
    "a single array for inputs": "run parts --inputs single.npy",
    "text for inputs": "run parts --inputs devices.yaml",
    "an option of another type": "plan model.onnx --devices devices.yaml --strategy latency --option min_fps=fast",
    "an endpoint without its executor": "run parts --random 3 --endpoint phone=127.0.0.1:1",
    "a trace for an executor that plays none": "run parts --random 3 --executor inline --trace trace.yaml",
    "a misspelt option of an executor": "run parts --random 3 --option micro_bach=2",
    "an option of an executor of another type": "run parts --random 3 --option record_events=often",
    "an option of an executor that is given twice": "run parts --random 3 --depth 3 --option depth=4",
    "planning anew without a fleet": "run parts --random 3 --replan",
    "weights to copy, and no folder for them": "plan model.onnx --devices devices.yaml --copy-weights",
    "the old name of a profile that the runtime wrote": "profile model.onnx --trace phone=ort.json",
    "the old name of a Chrome trace": "report parts --trace trace.json",
    "an option that the profiler does not have": "profile model.onnx --budget-s 3",
    "an option that the profiler gets twice": "profile model.onnx --profiler measured --seed 3 --option seed=4",
    "watts for no trace": "report parts --devices devices.yaml",
    "a title for no page": "report parts --title Mine --json",
    "a strategy for a plan that is made": "simulate parts --devices devices.yaml --strategy single",
    "planning anew where nothing happens": "simulate parts --devices devices.yaml --adaptive",
    "late events where nothing happens": "simulate parts --devices devices.yaml --detect 1",
    "a tolerance of a plan that stays": "simulate parts --devices devices.yaml --tolerance 0.1",
    "a tolerance below nothing": "check parts --tolerance -1",
    "inputs that are not there": "run parts --inputs inputs.npz",
    "a part that was deleted": "run broken --random 3",
    "results that are not there": "report nothing.json",
    "a folder without results": "report empty",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a newcomer may have it: a model, one with an open shape, fleets, a plan."""
    folder = tmp_path_factory.mktemp("newcomer")
    shutil.copy(SQUEEZENET, folder / "model.onnx")
    saved(parsed("dynamic (float[n,4] x) => (float[n,4] y) { y = Relu(x) }"), folder / "dynamic.onnx")
    for name, text in FLEETS.items():
        (folder / name).write_text(text)
    (folder / "empty").mkdir()
    np.savez(folder / "wrong.npz", pixels=np.zeros((1, 3, 224, 224), dtype=np.float32))
    np.savez(folder / "double.npz", data_0=np.zeros((1, 3, 224, 224)))
    np.savez(folder / "small.npz", data_0=np.zeros((3, 224, 224), dtype=np.float32))
    np.save(folder / "single.npy", np.zeros((1, 3, 224, 224), dtype=np.float32))
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert cli.main(["plan", "model.onnx", "--devices", "devices.yaml", "--strategy", "equal_flops", "-o", "parts"]) == 0
    finally:
        os.chdir(before)
    shutil.copytree(folder / "parts", folder / "broken")
    next((folder / "broken").glob("*.onnx")).unlink()
    return folder


def said(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    status = cli.main(words.split())
    captured = capsys.readouterr()
    assert status == 1, captured
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


def test_each_mistake_ends_in_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    found = "".join(
        f"# {what}\n$ multiedge {words}\n{said(words, capsys).replace(str(place), 'PLACE')}\n\n"
        for what, words in MISTAKES.items()
    )
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text()


@pytest.mark.parametrize("words", ["plna model.onnx", "plan", "plan model.onnx --device devices.yaml --strategie x"])
def test_wrong_usage_shows_how_it_is_used(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words.split())
    assert ended.value.code == 2
    assert "usage: multiedge" in capsys.readouterr().err
