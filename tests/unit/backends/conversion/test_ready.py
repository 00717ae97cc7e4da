"""What is opened again without converting, and what is converted anew, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.conversion import ready as module
from multiedge.backends.conversion.ready import can_be_offline, converted, folder_of, ready
from multiedge.backends.conversion.record import State, load_conversion, save_conversion
from multiedge.backends.openvino import OpenVinoBackend
from multiedge.backends.stages import open_part
from multiedge.errors import ModelError
from multiedge.files import owner
from multiedge.onnx_io.npz import write_npz
from tests.builders.conversions import Defective
from tests.builders.pipelines import small_model

pytest.importorskip("openvino", reason="pip install 'multi-edge-bench[openvino]'")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and its conversion for OpenVINO in the folder 'kept'."""
    folder = tmp_path_factory.mktemp("ready")
    model = small_model(folder / "model.onnx")
    ready(OpenVinoBackend(), model, folder / "kept")
    return model


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folder of each conversion that is started; none really is."""
    started: list[str] = []

    def run(command: object, backend: object, folder: Path, record: Path, inputs: object, limit_s: float) -> str:
        started.append(folder.name)
        return "it was stopped by signal 9"

    monkeypatch.setattr(module, "_run_worker", run)
    return started


def test_a_part_is_converted_and_compared_in_a_process_of_its_own(first: Path) -> None:
    conversion = converted(OpenVinoBackend(), first, first.parent / "kept")
    assert conversion.state is State.SUCCESS
    assert conversion.worst_error < 1e-5
    assert list(conversion.artefact) == ["model.xml", "model.bin"]
    session = open_part(OpenVinoBackend(), first, keep=first.parent / "kept")
    assert session.run({"x": np.ones((1, 16), np.float32)}).keys() == {"y"}


def test_the_second_time_nothing_is_converted(first: Path, workers: list[str]) -> None:
    ready(OpenVinoBackend(), first, first.parent / "kept")
    assert workers == []


def test_other_options_are_another_conversion(first: Path, workers: list[str]) -> None:
    backend = OpenVinoBackend(denormals=False)
    assert folder_of(backend, first, first) != folder_of(OpenVinoBackend(), first, first)
    with pytest.raises(ModelError, match=r"model\.onnx: the conversion ended early: it was stopped by signal 9"):
        ready(backend, first, first.parent / "kept")
    ended = load_conversion(folder_of(backend, first, first.parent / "kept").with_suffix(".json"))
    assert (ended.state, ended.is_final) == (State.FAILED, False)


def test_what_a_killed_conversion_began_is_removed(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()

    def killed(*request: object) -> str:
        (tmp_path / f"multiedge-{owner(gone.pid)}-making-a").mkdir()
        return "it was stopped by signal 9"

    monkeypatch.setattr(module, "_run_worker", killed)
    converted(OpenVinoBackend(), first, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_other_abilities_of_the_processor_are_another_conversion(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = folder_of(OpenVinoBackend(), first, first)
    monkeypatch.setattr("multiedge.backends.kept._flags", lambda: "flags: another processor")
    assert folder_of(OpenVinoBackend(), first, first) != before


@pytest.mark.parametrize("damage", ["truncated", "missing", "running", "no record", "damaged record"])
def test_what_is_not_whole_is_converted_again(tmp_path: Path, first: Path, workers: list[str], damage: str) -> None:
    backend, keep = OpenVinoBackend(), tmp_path / "kept"
    folder = folder_of(backend, first, keep)
    folder.mkdir(parents=True)
    made = first.parent / "kept" / folder.name
    for path in made.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    record = folder.with_suffix(".json")
    conversion = load_conversion(made.with_suffix(".json"))
    save_conversion(replace(conversion, state=State.RUNNING) if damage == "running" else conversion, record)
    if damage == "truncated":
        (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:-1])
    elif damage == "missing":
        (folder / "model.bin").unlink()
    elif damage == "no record":
        record.unlink()
    elif damage == "damaged record":
        record.write_text("{")
    assert converted(backend, first, keep).state is State.FAILED
    assert workers == [folder.name]


def test_wrong_outputs_are_remembered_until_another_attempt_is_asked_for(
    first: Path, tmp_path: Path, workers: list[str]
) -> None:
    backend = OpenVinoBackend()
    known = converted(backend, first, first.parent / "kept")
    record = folder_of(backend, first, tmp_path).with_suffix(".json")
    save_conversion(replace(known, state=State.FAILED, reason="wrong outputs", is_final=True), record)
    with pytest.raises(ModelError, match=r"^wrong outputs$"):
        ready(backend, first, tmp_path)
    assert workers == []
    converted(backend, first, tmp_path, again=True)
    assert len(workers) == 1


def test_real_inputs_are_compared_too(first: Path, tmp_path: Path) -> None:
    write_npz(tmp_path / "real.npz", {"x": np.full((1, 16), 3, np.float32)})
    conversion = converted(OpenVinoBackend(), first, tmp_path / "kept", inputs=[tmp_path / "real.npz"])
    assert conversion.errors[-1].sample == "inputs real.npz"


def test_a_converter_that_uses_a_network_is_refused_where_there_is_always_one(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "can_be_offline", lambda: False)
    monkeypatch.setattr(Defective, "offline_only", True)
    with pytest.raises(ModelError, match=r"Defective: its converter sends data to its maker, and this system permits no"):
        converted(Defective(), first, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_process_of_a_conversion_has_no_network() -> None:
    if not can_be_offline():
        pytest.skip("this system permits no process without a network")
    code = "import socket, json; print(json.dumps([name for _, name in socket.if_nameindex()]))"
    done = subprocess.run([*module.OFFLINE, sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["lo"]
