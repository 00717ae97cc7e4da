"""What `multiedge convert --report` posts."""

from __future__ import annotations

from pathlib import Path

import pytest

from multiedge.backends.choices import Choice, Choices, Outcome
from multiedge.backends.conversion.gate import SampleError
from multiedge.backends.conversion.record import Conversion, State
from multiedge.cli import main
from multiedge.commands._choosing import Chosen, Task
from multiedge.commands._reporting import conversion_report, task_of, task_of_chosen
from multiedge.errors import ModelError
from multiedge.fleet import Device
from multiedge.serving.kubernetes.message import WorkerMessage, decode_message
from multiedge.serving.kubernetes.status import Phase
from multiedge.serving.kubernetes.task import TaskInfo
from tests.builders.pipelines import small_model
from tests.builders.services import ENVIRONMENT, listening_controller

DONE = Conversion(
    State.SUCCESS,
    "net.onnx",
    "OpenVinoBackend",
    "2026.4",
    "float32",
    {},
    started_s=10.0,
    finished_s=12.0,
    errors=(SampleError("random", "y", 1e-6),),
    latency_s=1.0,
    reference_latency_s=2.0,
    artefact={"net.xml": "xxh3:1", "net.bin": "xxh3:2"},
)
WRONG = Conversion(
    State.FAILED, "b.onnx", "OpenVinoBackend", "2026.4", "float32", {}, None, 11.0, 14.0, reason="wrong", is_final=True
)


@pytest.fixture(autouse=True)
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def posted(seen: list[tuple[str, str, bytes]]) -> list[WorkerMessage]:
    return [decode_message(body) for _, _, body in seen]


def test_a_success_has_the_facts_of_its_record() -> None:
    task = task_of("openvino", [DONE], Path("/models/.converted/net/net.xml"))
    expected = TaskInfo(State.SUCCESS, 10.0, 12.0, "openvino", "2026.4", "float32", "/models/.converted/net/net.xml", "xxh3:1")
    assert (task.error, task.latency_ratio) == (1e-6, 0.5)
    assert (task.state, task.artefact, task.digest) == (expected.state, expected.artefact, expected.digest)
    assert (task.backend, task.version, task.precision) == ("openvino", "2026.4", "float32")


def test_of_several_parts_one_that_failed_counts() -> None:
    task = task_of("openvino", [DONE, WRONG], Path("/models/.converted/net/net.xml"))
    assert (task.state, task.reason, task.is_final, task.artefact) == (State.FAILED, "wrong", True, "")
    assert (task.started_s, task.finished_s) == (10.0, 14.0)


def test_a_conversion_is_told_when_it_begins_and_when_it_ends() -> None:
    with listening_controller(200, 200) as (url, seen), conversion_report(url) as report:
        report(task_of("openvino", [DONE], Path("net.xml")))
    begun, ended = posted(seen)
    assert (begun.status, ended.status) == (Phase.RUNNING, Phase.COMPLETED)
    assert begun.task is not None
    assert ended.task is not None
    assert (begun.task.state, ended.task.state) == (State.RUNNING, State.SUCCESS)
    assert ended.task.started_s == begun.task.started_s


def test_an_error_is_told_and_raised() -> None:
    with listening_controller(200, 200) as (url, seen), pytest.raises(ModelError), conversion_report(url):
        raise ModelError("no such model file")
    ended = posted(seen)[-1]
    assert ended.status is Phase.FAILED
    assert ended.task is not None
    assert (ended.task.state, ended.task.reason, ended.task.is_final) == (State.FAILED, "no such model file", True)


def test_without_an_address_nobody_is_told() -> None:
    with conversion_report(None) as report:
        report(task_of("openvino", [DONE], Path("net.xml")))


def test_an_address_needs_a_worker(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name)
    assert main(["convert", "net.onnx", "--backend", "openvino", "--report", "http://controller:8480"]) == 1
    assert "--report: expected the environment variable MULTIEDGE_WORKER_NAME" in capsys.readouterr().err


def test_a_runtime_that_opens_the_model_itself_has_nothing_to_convert(tmp_path: Path) -> None:
    small_model(tmp_path / "net.onnx")
    with listening_controller(200, 200) as (url, seen):
        assert main(["convert", str(tmp_path / "net.onnx"), "--backend", "onnxruntime", "--report", url]) == 0
    task = posted(seen)[-1].task
    assert task is not None
    assert (task.state, task.backend, task.artefact) == (State.SUCCESS, "onnxruntime", str(tmp_path / "net.onnx"))


CHOICES = Choices(
    "net.onnx",
    1,
    (
        Choice("onnxruntime", "float32", "1.2", Outcome.TIMED, seconds=1.0, error=0.0),
        Choice("openvino", "float32", "2026.4", Outcome.FAILED, reason="wrong outputs"),
    ),
)


def test_the_fastest_runtime_that_is_right_is_reported(tmp_path: Path) -> None:
    small_model(tmp_path / "net.onnx")
    task = task_of_chosen(Chosen(Task(tmp_path / "net.onnx", Device("worker", backend="auto")), CHOICES))
    assert (task.state, task.backend, task.precision, task.latency_ratio) == (State.SUCCESS, "onnxruntime", "float32", 1.0)
    assert task.artefact == str(tmp_path / "net.onnx")


def test_no_runtime_that_is_right_is_a_failure_with_the_reasons(tmp_path: Path) -> None:
    wrong = Choices("net.onnx", 1, CHOICES.rows[1:])
    task = task_of_chosen(Chosen(Task(tmp_path / "net.onnx", Device("worker", backend="auto")), wrong))
    assert (task.state, task.is_final) == (State.FAILED, True)
    assert task.reason.endswith("no runtime can run it: openvino float32: wrong outputs")
