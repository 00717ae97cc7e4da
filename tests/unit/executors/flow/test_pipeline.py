import pytest

from multiedge.executors.flow import pipeline
from multiedge.executors.flow.contract import Closing, Record, RunOptions
from multiedge.executors.flow.pipeline import Pipeline
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
    Pipeline(executor, RunOptions(), [Device("a")]).map([])
    assert [device.name for device in asked] == (["a"] if here else [])
