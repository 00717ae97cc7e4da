"""What is known of a conversion, as JSON and back."""

from __future__ import annotations

import math

import pytest

from multiedge.backends.conversion.record import State
from multiedge.formats.fields import Field
from multiedge.serving.kubernetes.task import TaskInfo, read_task, task_to_json

CONVERTED = TaskInfo(State.SUCCESS, 10.5, 12.25, "openvino", "1", "float32", "a.xml", "ab", 1e-6, 0.5)
FAILED = TaskInfo(State.FAILED, 10.0, 11.0, reason="wrong outputs", is_final=True)


@pytest.mark.parametrize("task", [CONVERTED, FAILED, TaskInfo()])
def test_it_is_read_as_it_was_written(task: TaskInfo) -> None:
    data = Field({**task_to_json(task), "state": task.state.value}, "task")
    assert read_task(data, data["state"]) == task


def test_what_is_not_known_is_left_out() -> None:
    assert task_to_json(TaskInfo(error=math.inf, latency_ratio=math.nan)) == {}
    assert task_to_json(TaskInfo(error=0.0)) == {"error": 0.0}


def test_figures_have_the_digits_that_say_something() -> None:
    assert task_to_json(TaskInfo(error=1.23456e-6, latency_ratio=0.98765)) == {"error": 1.23e-06, "latencyRatio": 0.988}
