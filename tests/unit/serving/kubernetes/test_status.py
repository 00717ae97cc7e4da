"""The status as JSON, and back."""

from __future__ import annotations

import re

import pytest

from multiedge.backends.conversion.record import State
from multiedge.errors import ConfigError
from multiedge.formats.fields import Field
from multiedge.serving.kubernetes.status import (
    Condition,
    Conversion,
    Phase,
    Status,
    WorkerLine,
    read_status,
    read_time,
    status_to_json,
    time_text,
)

STATUS = Status(
    phase=Phase.RUNNING,
    generation=3,
    address="classify-inference.default.svc:8081",
    ready_workers=1,
    wanted_workers=2,
    conversions=(
        Conversion(
            "x86-cpu", "k1", "w1", State.SUCCESS, 1, 10.5, 12.25, "n1", "openvino", "1", "float32", "a.xml", "ab", 1e-6, 0.5
        ),
        Conversion("arm-cpu", "k2", "w2", State.FAILED, 4, 10.0, 11.0, reason="OOMKilled", is_final=True),
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


@pytest.mark.parametrize("text", ["2020-11-03T08:39:22.517Z", "2020-11-03T09:39:22.517+01:00"])
def test_times_have_their_zone(text: str) -> None:
    assert time_text(read_time(Field(text, "time"))) == "2020-11-03T08:39:22.517Z"


@pytest.mark.parametrize("text", ["yesterday", "2020-11-03T08:39:22"])
def test_a_time_without_its_zone_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("time: expected a time")):
        read_time(Field(text, "time"))
