"""The metrics of the mobility job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.common import class_factory
from core.common.user_module import UserModule
from multiedge.formats.devices import read_fleet
from multiedge.formats.trace import read_trace
from multiedge.measurements import Event, Item, Measurements

BENCH = Path(__file__).parents[3] / "examples" / "imagenet" / "multiedge_inference_bench"


def metric(alias: str) -> Any:
    class_factory.install()
    return UserModule(str(BENCH / "testenv" / "journey.py"), alias).registered()


def journey(*done: float, error: str = "") -> dict[str, Any]:
    items = tuple(Item(number, float(number), float(number), at, error) for number, at in enumerate(done))
    events = (Event("replan", -1, -1, "laptop", 1.0, 1.5),)
    return {"deadline_s": 0.5, "measurements": Measurements(items, events, 0.0, 9.0, settings={"executor": "simulated"})}


@pytest.mark.parametrize(("done", "percent"), [((0.1, 1.5, 2.4), 100.0), ((0.1, 1.6, 9.0), 33.3), ((7.0,), 0.0)])
def test_in_time_counts_from_when_an_item_was_due(done: tuple[float, ...], percent: float) -> None:
    assert metric("in_time")([], journey(*done)) == percent


def test_failed_items_are_never_in_time() -> None:
    assert metric("in_time")([], journey(0.1, error="the laptop left")) == 0.0


def test_rate_over_time_is_per_second_in_windows_of_three() -> None:
    assert metric("fps_over_time")([], journey(0.1, 0.2, 0.3, 6.5, 6.6, 6.7)) == "1 0 1"


def test_nothing_answered_is_no_rate() -> None:
    assert metric("fps_over_time")([], journey(0.1, error="lost")) == ""


def test_new_plans_are_counted_and_the_method_is_said() -> None:
    assert metric("replans")([], journey(0.1)) == 1
    assert metric("method")([], journey(0.1)) == "simulated"


@pytest.mark.parametrize("path", sorted(BENCH.glob("traces/*.yaml")), ids=lambda path: path.stem)
def test_traces_can_be_played_on_the_fleet_of_their_job(path: Path) -> None:
    fleet = read_fleet(BENCH / "devices" / "train-efficientnet.yaml")
    trace = read_trace(path, fleet)
    assert trace.violations(fleet) == []
    assert not trace.state_at(trace.duration_s, fleet).absent
