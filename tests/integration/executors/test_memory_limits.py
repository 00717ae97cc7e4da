"""A plan that is called feasible runs under its limits, and the advice of one that is refused suffices.

Strictly: no worker's peak, loading included, is above the memory of its device.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from multiedge.errors import InfeasibleError
from multiedge.executors import open_pipeline
from multiedge.fleet import Fleet
from multiedge.formats.devices import parse_fleet
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph, write_parts
from multiedge.run import plan_model, profile_model
from partitioners.engine.remedy import least_memory_bytes
from tests.builders.fleets import with_device
from tests.builders.onnx_models import layers, noise, saved

WIDTH = 2048
LAYERS = 12
"""Of 16 MiB each: 96 MiB of weights on each of two devices, with the runtime and one weight that is packed more than 180."""


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    weight = noise(WIDTH, WIDTH, seed=1) / np.float32(WIDTH**0.5)
    return read_graph(saved(layers(LAYERS, WIDTH, weights=[weight] * LAYERS), tmp_path_factory.mktemp("model") / "model.onnx"))


def two_devices(memory: str) -> Fleet:
    return parse_fleet({"devices": [{"name": name, "speed": 1, "memory": memory} for name in ("a", "b")]})


def run_strictly(graph: Graph, fleet: Fleet, directory: Path) -> None:
    plan = plan_model(profile_model(graph, fleet), fleet)
    with open_pipeline(write_parts(graph, plan, directory), fleet) as pipeline:
        results, measured = pipeline.map([{"x": np.ones((1, WIDTH), np.float32)}] * 20)
    assert all(result.tensors for result in results)
    assert measured.faults == ()
    assert {memory.device for memory in measured.memory} == {device for stage in plan.stages for device in stage.devices}
    assert all((memory.peak_bytes or 0) <= (memory.limit_bytes or 0) for memory in measured.memory)


def test_weights_that_fit_without_the_runtime_are_refused_and_the_advice_suffices(graph: Graph, tmp_path: Path) -> None:
    """96 MiB of weights on each of two devices of 180 MiB: this was proven to fit, and both workers were ended at 209 MiB."""
    fleet = two_devices("180MiB")
    with pytest.raises(InfeasibleError) as refusal:
        plan_model(profile_model(graph, fleet), fleet)
    advice = re.search(r"; (\S+) MiB more on '(\w+)' would do", str(refusal.value))
    assert advice, refusal.value
    more = int(float(advice[1]) * 2**20)
    run_strictly(graph, with_device(fleet, advice[2], memory_bytes=(180 << 20) + more), tmp_path)


@pytest.mark.slow
def test_the_smallest_limit_for_which_a_plan_is_feasible_holds(graph: Graph, tmp_path: Path) -> None:
    fleet = two_devices("1GiB")
    limit = least_memory_bytes(profile_model(graph, fleet), fleet)
    below = fleet.with_memory_cap(limit - (1 << 12))
    with pytest.raises(InfeasibleError):
        plan_model(profile_model(graph, below), below)
    run_strictly(graph, fleet.with_memory_cap(limit), tmp_path)
