"""Replicas take turns, micro-batches are joined and taken apart again, and both give the same answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

import multiedge as me
from multiedge.errors import ConfigError
from multiedge.executors import open_pipeline
from multiedge.fleet import Device, Fleet
from multiedge.plan import Manifest, Stage
from tests.builders.onnx_models import layers, saved
from tests.builders.pipelines import WIDTH, item, small_plan, synthetic_chain, synthetic_fleet, vectors

ITEMS = 60


@pytest.mark.timing
def test_replicas_take_turns_and_order_is_kept(tmp_path: Path) -> None:
    chain = synthetic_chain(tmp_path, stages=2, seconds=0.01)
    first, second = chain.parts
    manifest = replace(chain, parts=(replace(first, replicas=("d2", "d3")), second))
    with open_pipeline(manifest, synthetic_fleet(4)) as pipeline:
        results, measured = pipeline.map(item(number) for number in range(ITEMS))
    assert [float(result.require()["t2"][0]) for result in results] == [number + 2.0 for number in range(ITEMS)]
    by = Counter(event.device for event in measured.events if event.kind == "compute" and event.stage == 0)
    assert by == {"d0": ITEMS / 3, "d2": ITEMS / 3, "d3": ITEMS / 3}
    # Each item takes 10 ms in the first stage: three devices together answer well above what one could.
    assert ITEMS / measured.wall_s > 1.5 / 0.01


def free_batch_plan(directory: Path) -> tuple[Manifest, Fleet, np.ndarray]:
    """Two products in two stages, the first axis free."""
    model = layers(2, WIDTH, rows="n")
    weights = [numpy_helper.to_array(weight) for weight in model.graph.initializer]
    saved(model, directory / "free.onnx")
    fleet = Fleet((Device("d0", speed=1.0), Device("d1", speed=1.0)))
    read = me.read_graph(directory / "free.onnx", {"x": [1, WIDTH]})
    plan = me.plan_by_hand(me.profile_model(read, fleet), fleet, [Stage.span("d0", 0, 1), Stage.span("d1", 1, 2)])
    return me.write_parts(read, plan, directory / "parts"), fleet, weights[0] @ weights[1]


def test_micro_batches_are_joined_and_give_the_same_answers(tmp_path: Path) -> None:
    manifest, fleet, product = free_batch_plan(tmp_path)
    inputs = vectors(ITEMS, seed=1)
    with open_pipeline(manifest, fleet, micro_batch=4, depth=12) as pipeline:
        results, measured = pipeline.map(inputs)
    for result, tensors in zip(results, inputs, strict=True):
        np.testing.assert_allclose(result.require()["y"], tensors["x"] @ product, rtol=1e-4, atol=1e-4)
    # Items that were joined share the moments at which their stage began and ended.
    shared = Counter((event.stage, event.start_s) for event in measured.events if event.kind == "compute")
    assert max(shared.values()) > 1
    assert max(shared.values()) <= 4
    assert sum(shared.values()) == 2 * ITEMS


def test_a_bad_item_fails_alone_in_a_micro_batch(tmp_path: Path) -> None:
    manifest, fleet, _ = free_batch_plan(tmp_path)
    inputs = vectors(ITEMS, seed=2)
    inputs[20] = {"x": np.zeros((1, 3), dtype=np.float32)}
    with open_pipeline(manifest, fleet, micro_batch=4, depth=12) as pipeline:
        results, _ = pipeline.map(inputs)
    assert [result.item for result in results if result.error] == [20]


def test_a_fixed_batch_is_never_joined(tmp_path: Path) -> None:
    manifest, fleet = small_plan(tmp_path)
    with open_pipeline(manifest, fleet, micro_batch=4) as pipeline:
        _, measured = pipeline.map(vectors(ITEMS))
    starts = Counter((event.stage, event.start_s) for event in measured.events if event.kind == "compute")
    assert max(starts.values()) == 1


@pytest.mark.slow
def test_more_items_under_way_than_messages_have_room_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="depth: expected at most 1024 for this plan, got 2000"):
        open_pipeline(synthetic_chain(tmp_path), synthetic_fleet(3), depth=2000)
    with open_pipeline(synthetic_chain(tmp_path), synthetic_fleet(3), depth=1024) as pipeline:
        results, _ = pipeline.map(item(number) for number in range(3000))
    assert [float(result.require()["t3"][0]) for result in results] == [number + 3.0 for number in range(3000)]


@pytest.mark.parametrize("name", ["depth", "micro_batch"])
def test_options_below_one_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected 1 or more, got 0"):
        open_pipeline(synthetic_chain(tmp_path), synthetic_fleet(3), **{name: 0})
