import pytest

from multiedge.executors.flow import pipeline
from multiedge.executors.flow.contract import Closing, Emulation, Record, RunOptions
from multiedge.executors.flow.pipeline import Pipeline, planned_bytes
from multiedge.fleet import Device


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
    Pipeline(executor, RunOptions(emulation=Emulation.none()), [Device("a")]).map([])
    assert [device.name for device in asked] == (["a"] if here else [])


def test_what_a_plan_expects_is_added_up_by_device():
    stages = [
        {"device": "a", "memory_bytes": 10},
        {"device": "b", "replicas": ["c"], "memory_bytes": 5},
        {"device": "a", "memory_bytes": 2},
    ]
    assert planned_bytes({"stages": stages}) == {"a": 12, "b": 5, "c": 5}
    assert planned_bytes({}) == {}
