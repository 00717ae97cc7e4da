"""The throughput that is reported, against a stopwatch around the run."""

from __future__ import annotations

import time

import numpy as np
import pytest

from multiedge.executors.flow.contract import Record, Result
from multiedge.executors.flow.drive import run_scenario
from multiedge.executors.flow.scenarios import scenario
from multiedge.measurements import Event
from multiedge.metrics import compute


class OneSleepingDevice:
    """An executor of one device that takes 4 ms an item."""

    on_this_machine = True

    def __init__(self):
        self.waiting, self.events = [], []

    has_room = property(lambda self: len(self.waiting) < 4)
    unanswered = property(lambda self: len(self.waiting))

    def submit(self, item, tensors):
        self.waiting.append((item, tensors, time.monotonic()))

    def poll(self, timeout_s):
        if not self.waiting or (timeout_s == 0.0 and self.has_room):
            return []
        item, tensors, issued = self.waiting.pop(0)
        start = time.monotonic()
        time.sleep(0.004)
        done = time.monotonic()
        self.events.append(Event("compute", item, 0, "nano", start, done))
        return [Result(item, tensors, "", issued, done)]

    def mark(self):
        self.events.clear()

    def record(self):
        return Record(tuple(self.events))


@pytest.mark.timing
@pytest.mark.parametrize("name", ["offline", "singlestream", "multistream"])
def test_fps_is_within_two_percent_of_a_stopwatch(name):
    executor, items = OneSleepingDevice(), 120
    source = ({"x": np.zeros(1)} for _ in range(items))
    start = time.perf_counter()
    _, measurements = run_scenario(executor, source, scenario(name))
    seconds = time.perf_counter() - start
    found = compute(measurements, ["fps", "fps_bound", "completed"])
    assert found["completed"].value == items
    assert found["fps"].value == pytest.approx(items / seconds, rel=0.02)
    assert found["fps"].value <= found["fps_bound"].value
