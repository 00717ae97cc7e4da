"""Workflows on this machine: models and functions, each alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.timing import Accuracy
from multiedge.composed import segment_of
from multiedge.errors import ProfileError
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph
from multiedge.plan import Stage
from multiedge.workflows import compose
from multiedge.workflows.optimiser.written import step_stages
from profilers.engine.calibration import Calibration
from profilers.engine.composed import measure_composed
from profilers.engine.host import Host, HostTimes
from profilers.engine.roofline import Capability
from profilers.segments import SegmentTimer
from tests.builders.fleets import fleet_of
from tests.builders.plans import direct_plan
from tests.builders.profiles import profile_of
from tests.builders.workflows import CASCADE, TRANSFORMS, VIDEO, written

MACHINE = Calibration(1, Capability(2e9, 1e9, 1e-6, 2e9, "this machine"), 1e-5)
QUICK = Accuracy(relative=1.0, budget_s=0.1, least=5, most=5, warmup=1)
SLEEP_S = 0.02


def workflow(folder: Path, text: str, transforms: str = TRANSFORMS) -> Graph:
    path = written(folder, text)
    (folder / "transforms.py").write_text(transforms, encoding="utf-8")
    return read_graph(compose(path, folder / "cache"))


def slow(transforms: str = TRANSFORMS) -> str:
    """The functions, each of which sleeps first."""
    return transforms.replace('    """The tiles', f'    import time\n\n    time.sleep({SLEEP_S})\n    """The tiles')


def measured(graph: Graph) -> HostTimes:
    return measure_composed(graph, Host(), MACHINE, QUICK)


def by_step(graph: Graph, seconds: np.ndarray) -> dict[str, float]:
    names = [segment_of(node.name) for node in graph.nodes]
    return {name: sum(s for each, s in zip(names, seconds.tolist(), strict=True) if each == name) for name in names}


def test_a_function_takes_the_time_that_it_takes(tmp_path: Path) -> None:
    graph = workflow(tmp_path, VIDEO, slow())
    times = measured(graph)
    seconds = by_step(graph, times.seconds)
    assert seconds["crop"] > 0.9 * SLEEP_S
    assert 0 < seconds["detect"] < SLEEP_S
    assert 0 < seconds["classify"] < SLEEP_S
    assert times.seconds.sum() + times.overhead_s == pytest.approx(times.latency.median_s)
    assert times.notes == ()


def test_a_model_behind_a_condition_is_timed_as_if_it_held(tmp_path: Path) -> None:
    graph = workflow(tmp_path, CASCADE.replace("below: 0.7", "below: 0"))
    seconds = by_step(graph, measured(graph).seconds)
    assert (seconds["large.when"], seconds["pick"]) == (0.0, 0.0)
    assert seconds["large"] > 0.1 * seconds["small"] > 0


def test_a_function_that_refuses_random_inputs_has_an_estimated_time_and_a_note(tmp_path: Path) -> None:
    graph = workflow(tmp_path, VIDEO, TRANSFORMS.replace("    boxes = ", '    raise ValueError("no JPEG")\n    boxes = '))
    times = measured(graph)
    assert by_step(graph, times.seconds)["crop"] > 0
    (note,) = times.notes
    assert note.startswith("step 'crop' cannot be timed, its time is estimated from the bytes it moves: transform 'crop'")
    assert "ValueError: no JPEG" in note


def test_a_stage_whose_function_refuses_random_inputs_is_named(tmp_path: Path) -> None:
    graph = workflow(tmp_path, VIDEO, TRANSFORMS.replace("    boxes = ", '    raise ValueError("no JPEG")\n    boxes = '))
    plan = direct_plan(profile_of(graph, {"a": 1.0}), fleet_of("a"), Stage.span("a", 0, len(graph.nodes)))
    with pytest.raises(ProfileError, match=r"step 'crop' refuses random inputs, .* ValueError: no JPEG; plan without"):
        SegmentTimer(accuracy=QUICK).times(graph, plan, [Host()])


def test_stages_of_a_workflow_are_timed_with_their_functions_and_the_rows_that_plans_count(tmp_path: Path) -> None:
    graph = workflow(tmp_path, VIDEO, slow())
    fleet = fleet_of("a", "b", "c")
    stages: tuple[Stage, ...] = step_stages(graph, ["detect", "crop", "classify"], [("a",), ("b",), ("c",)])
    plan = direct_plan(profile_of(graph, dict.fromkeys(fleet.names, 1.0)), fleet, *stages)
    detect_s, crop_s, classify_s = SegmentTimer(accuracy=QUICK).times(graph, plan, [Host()] * 3)
    assert crop_s > SLEEP_S
    assert 0 < detect_s < SLEEP_S
    assert 0 < classify_s < SLEEP_S
