"""The status as JSON, and back."""

from __future__ import annotations

import pytest

from multiedge.backends.conversion.record import State
from multiedge.formats.fields import Field
from multiedge.serving.kubernetes.status import (
    Condition,
    Conversion,
    Phase,
    Status,
    WorkerLine,
    read_status,
    status_to_json,
)
from multiedge.serving.kubernetes.task import TaskInfo

CONVERTED = TaskInfo(State.SUCCESS, 10.5, 12.25, "openvino", "1", "float32", "a.xml", "ab", 1e-6, 0.5)
STATUS = Status(
    phase=Phase.RUNNING,
    generation=3,
    address="classify-inference.default.svc:8081",
    ready_workers=1,
    wanted_workers=2,
    conversions=(
        Conversion("x86-cpu", "k1", "w1", 1, "n1", CONVERTED),
        Conversion("arm-cpu", "k2", "w2", 4, task=TaskInfo(State.FAILED, 10.0, 11.0, reason="OOMKilled", is_final=True)),
    ),
    conditions=(Condition("Ready", None, "Starting", "waits", 12.0, 3),),
    workers=(WorkerLine("w1", "conversion", "x86-cpu", Phase.COMPLETED, "n1"),),
)


@pytest.mark.parametrize("status", [STATUS, Status()])
def test_a_status_is_read_as_it_was_written(status: Status) -> None:
    assert read_status(Field(status_to_json(status), "status")) == status


def test_a_resource_without_a_status_has_an_empty_one() -> None:
    assert read_status(Field({}, "resource")["status"]) == Status()


def test_the_columns_count_what_is_done_of_all() -> None:
    data = status_to_json(STATUS)
    assert (data["phase"], data["converted"], data["ready"], data["backends"]) == ("running", "1/2", "1/2", "openvino")


def test_what_is_not_known_is_left_out_of_a_conversion() -> None:
    assert status_to_json(Status(conversions=(Conversion("auto", "k"),)))["conversions"] == [
        {"hardware": "auto", "key": "k", "state": "pending", "attempts": 0}
    ]
