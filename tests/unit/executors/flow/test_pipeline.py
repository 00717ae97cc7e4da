import pytest

from multiedge.executors.flow import pipeline
from multiedge.executors.flow.contract import Closing, Record, RunOptions
from multiedge.executors.flow.pipeline import Pipeline, planned_bytes
from multiedge.fleet import Device
from multiedge.plan import Estimate, Plan, Stage, StageEstimate


class Nothing(Closing):
    """An executor that no item ever enters."""

    unanswered = 0

    def mark(self):
        pass

    def record(self):
        return Record()


@pytest.mark.parametrize("here", [True, False])
def test_this_machines_meters_speak_of_devices_on_this_machine_only(monkeypatch, here):
    asked = []
    monkeypatch.setattr(pipeline, "open_meters", lambda devices, *, is_emulated: asked.extend(devices) or [])
    executor = Nothing()
    executor.on_this_machine = here
    Pipeline(executor, RunOptions(), [Device("a")]).map([])
    assert [device.name for device in asked] == (["a"] if here else [])


def test_what_a_plan_expects_is_added_up_by_device():
    stages = (Stage("a", (0,)), Stage("b", (1,), ("c",)), Stage("a", (2,)))
    costs = tuple(StageEstimate(1.0, 0.0, nbytes, 100, 1.0) for nbytes in (10, 5, 2))
    plan = Plan("manual", "throughput", stages, (), Estimate(costs, 1.0, "", 3.0, None, 0), 1.0)
    assert planned_bytes(plan) == {"a": 12, "b": 5, "c": 5}
