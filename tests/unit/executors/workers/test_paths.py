"""The policy for plans with several paths: rates move, not the parts, as long as one path is whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from multiedge.executors.workers.actions import Send, StartWorker
from multiedge.executors.workers.messages import Configure, Prepare
from multiedge.executors.workers.options import Deadlines
from multiedge.trace import DeviceEvent
from tests.builders.paths import paths_fleet, paths_manifest, two_paths
from tests.builders.supervision import Script, Supervised

BOTH = "0-2 at 16.7, 0-1-3 at 20"
FIRST, SECOND = "0-2 at 16.7", "0-1-3 at 20"
REPLANS = {"can_replan": True}
HELD = "d0 d2 d1 d3"
"""The devices of the stages as planned: stage 1 on d2, stage 2 on d1."""


@dataclass(frozen=True)
class Row:
    """After `script`: which paths items take at which rates, where the stages are, in which phase, with which requests."""

    name: str
    script: Script
    paths: str
    placed: str = HELD
    epochs: int = 1
    phase: str = "Running"
    requested: list[str] = field(default_factory=list)
    rules: dict[str, Any] = field(default_factory=dict)


def away(device: str) -> DeviceEvent:
    return DeviceEvent(0.0, device, "leave")


def back(device: str) -> DeviceEvent:
    return DeviceEvent(0.0, device, "return")


ROWS = [
    Row("nothing happens", lambda run: run.wait(1.0), BOTH, epochs=0),
    Row("a device of one path ends", lambda run: run.end("d1").wait(0.1), SECOND),
    Row("a device of the other path ends", lambda run: run.end("d3").wait(0.1), FIRST),
    Row("both devices of one path end", lambda run: run.end("d2", "d3").wait(0.1), FIRST),
    Row("a device that is to spare leaves", lambda run: run.events(away("d4")).wait(0.1), BOTH, epochs=0),
    Row(
        "a device leaves and returns", lambda run: run.events(away("d1")).wait(0.1).events(back("d1")).wait(0.2), BOTH, epochs=2
    ),
    Row("a worker ends and is started again", lambda run: run.end("d1").wait(3.0), BOTH, epochs=2),
    Row(
        "no plan is requested where a path is whole",
        lambda run: run.end("d1").wait(0.1),
        SECOND,
        rules=REPLANS,
    ),
    Row(
        "the device that all paths share ends: its stage moves",
        lambda run: run.end("d0").wait(0.1),
        BOTH,
        "d4 d2 d1 d3",
    ),
    Row(
        "the device that all paths share ends: a plan is requested",
        lambda run: run.end("d0").wait(0.1),
        BOTH,
        epochs=0,
        phase="Planning",
        requested=["d1 d2 d3 d4"],
        rules=REPLANS,
    ),
    Row(
        "a path is whole again before the plan is there",
        lambda run: run.events(away("d0")).events(back("d0")).wait(0.2),
        BOTH,
        epochs=1,
        requested=["d1 d2 d3 d4"],
        rules=REPLANS,
    ),
    Row("each path loses a device: stages move", lambda run: run.end("d1", "d3").wait(0.1), BOTH, "d0 d2 d4 d0"),
    Row(
        "each path loses a device, and one returns",
        lambda run: run.events(away("d1"), away("d3")).wait(0.1).events(back("d3")).wait(0.2),
        SECOND,
        epochs=2,
    ),
]


def paths_of(run: Supervised) -> str:
    return ", ".join(f"{'-'.join(map(str, path.stages))} at {path.items_per_s:.3g}" for path in run.state.placed.paths)


def supervised(**rules: Any) -> Supervised:
    fleet = paths_fleet()
    return Supervised(paths_manifest(two_paths(fleet)), fleet, **rules).start()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_items_take_after_faults(row: Row) -> None:
    run = supervised(**row.rules)
    row.script(run)
    assert (paths_of(run), run.placed, run.phase) == (row.paths, row.placed, row.phase)
    assert (run.epochs, run.requested) == (row.epochs, row.requested)


def test_a_lost_device_costs_no_look_before_the_others_enter_the_next_epoch() -> None:
    run = supervised()
    run.end("d1")
    sent = {action.device: action.command for action in run.decided(Send)}
    assert all(isinstance(command, Configure) for command in sent.values())
    assert sorted(sent) == ["d0", "d2", "d3"]
    assert [way.devices for way in run.state.routes.ways] == [("d0", "d2", "d3")]
    run.look()
    assert run.phase == "Running"


def test_a_device_whose_path_is_broken_keeps_its_parts_and_is_not_awaited() -> None:
    run = supervised(deadlines=Deadlines(rejoin=False))
    run.change("d2", ignores=True)
    run.end("d3").wait(0.1)
    assert run.phase == "Running"
    assert run.state.routes.stages_on("d2") == (1,)


def test_a_device_that_returns_loads_its_parts_before_its_path_is_taken_up() -> None:
    run = supervised()
    run.end("d1").wait(0.1)
    run.newborn = {"d1": {"ignores": True}}
    run.wait(3.0)
    assert StartWorker("d1") in run.actions
    assert any(isinstance(each.command, Prepare) and each.device == "d1" for each in run.decided(Send))
    assert paths_of(run) == SECOND
    run.change("d1", ignores=False).wait(0.1)
    assert paths_of(run) == BOTH


def test_losses_are_forgotten_of_devices_on_the_way_of_an_answered_item() -> None:
    run = supervised()
    run.end("d1").wait(3.0)
    assert run.state.devices["d1"].losses == 1
    run.look(answered=(7,), ways=(1,), answered_s=run.now_s)
    assert run.state.devices["d1"].losses == 1
    run.look(answered=(8,), ways=(0,), answered_s=run.now_s)
    assert run.state.devices["d1"].losses == 0
