"""Work compared with the same work beside another process and in turns with it."""

from __future__ import annotations

import os
import signal

import pytest

from profilers.engine import contention
from profilers.engine.contention import Contention, measure_contention


def test_times_with_the_other_process_and_without_it_alternate(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"runs": True, "processor": 0}
    monkeypatch.setattr(os, "kill", lambda _, number: state.update(runs=number == signal.SIGCONT))
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, processors: state.update(processor=min(processors)))

    def work(pause_s: float) -> float:
        assert (pause_s > 0) == (state["runs"] and state["processor"] == 3)
        return 0.1 if not state["runs"] else {3: 0.15, 4: 0.09}[state["processor"]]

    assert contention._compared(work, other=7, own=3, beside=4) == Contention(1.0, pytest.approx(1.5))


def test_with_one_processor_there_is_nothing_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert measure_contention() is None


@pytest.mark.slow
def test_this_machine_is_as_it_was_afterwards() -> None:
    before = os.sched_getaffinity(0)
    found = measure_contention()
    assert os.sched_getaffinity(0) == before
    assert found is None or (1.0 <= found.beside < 5.0 and 1.0 <= found.in_turns < 5.0)
