"""The command of the chaos runs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos import __main__ as command
from tests.chaos import driver
from tests.chaos.report import Report
from tests.chaos.schedule import Schedule
from tests.chaos.target import Target


@pytest.mark.parametrize("lost", [0, 1])
def test_reports_are_printed_and_kept_and_a_broken_promise_prints_the_schedule(
    lost: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(target: Target, schedule: Schedule) -> Report:
        return Report(target.name, 20.0, 10, 10 - lost, lost=lost, injected=Counter(kill=2), pauses_s={"kill": (0.5, 1.0)})

    monkeypatch.setattr(driver, "run", run)
    options = ["--target", "pipe", "--seconds", "20", "--kind", "kill", "--seed", "4", "-o", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", ["chaos", *options])
    assert command.main() == lost
    shown = capsys.readouterr().out
    assert ("pipe: 1 of 10 items lost\nseed 4000, 20 s\n0.500 kill" in shown) == bool(lost)
    assert "pipe: 20 s, 10 items" in shown
    assert "pause after kill 1.00/1.00 s of 2 (median/max)" in shown
    (kept,) = json.loads((tmp_path / "out.json").read_text())["reports"]
    assert (kept["injected"], kept["pauses_s"]) == ({"kill": 2}, {"kill": [0.5, 1.0]})


def test_a_printed_schedule_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schedules: list[Schedule] = []
    monkeypatch.setattr(driver, "run", lambda target, schedule: schedules.append(schedule) or Report(target.name))
    (tmp_path / "schedule").write_text("seed 7, 12 s\n0.500 cut 3 1.250\n")
    monkeypatch.setattr(sys, "argv", ["chaos", "--target", "tcp", "--replay", str(tmp_path / "schedule")])
    assert command.main() == 0
    assert [str(each) for each in schedules] == ["seed 7, 12 s\n0.500 cut 3 1.250"]
