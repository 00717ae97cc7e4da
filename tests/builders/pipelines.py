"""Small plans for the tests of executors: synthetic stages, and a real model cut into parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from multiedge.fleet import Device, Fleet
from multiedge.plan import CALLER, Manifest, Part, Transfer
from tests.builders.onnx_models import layers, saved

WIDTH = 16
LAYERS = 6


def synthetic_chain(directory: Path, stages: int = 3, work_seconds: float = 0.0, **first: object) -> Manifest:
    """Stages that each add 1 to their input, after so much processor time; `first` changes the first one's description."""
    parts, moves = [], [Transfer(CALLER, 0, ("t0",), 16)]
    for number in range(stages):
        source, made = f"t{number}", f"t{number + 1}"
        description = {"inputs": [source], "outputs": {made: source}, "add": 1, "work_seconds": work_seconds}
        description.update(first if number == 0 else {})
        (directory / f"stage_{number}.json").write_text(json.dumps(description))
        parts.append(Part(number, f"stage_{number}.json", f"d{number}", (source,), (made,), {}))
        moves.append(Transfer(number, number + 1 if number + 1 < stages else CALLER, (made,), 16))
    return Manifest("chain", "", ("t0",), (f"t{stages}",), tuple(parts), tuple(moves), "none", str(directory))


def synthetic_fleet(devices: int = 3, **values: object) -> Fleet:
    return Fleet(tuple(Device(f"d{number}", backend="synthetic", **values) for number in range(devices)))


def item(value: float) -> dict[str, np.ndarray]:
    return {"t0": np.full(4, value, dtype=np.float32)}


def small_model(path: Path) -> Path:
    """An ONNX model of matrix products with a skip from the first layer to the last."""
    return saved(layers(LAYERS, WIDTH, activation="Tanh", skip=True, name="small"), path)


def small_plan(directory: Path, devices: int = 3, spare: int = 1) -> tuple[Manifest, Fleet]:
    """The small model in `devices` stages with direct sends, for a fleet with `spare` devices more."""
    import multiedge as me
    from multiedge.plan import Stage

    fleet = Fleet(tuple(Device(f"d{number}", speed=1.0, flops_per_s=1e9) for number in range(devices + spare)))
    graph = me.read_graph(small_model(directory / "small.onnx"))
    bounds = np.linspace(0, len(graph.nodes), devices + 1).astype(int)
    stages = [Stage.span(f"d{n}", int(bounds[n]), int(bounds[n + 1])) for n in range(devices)]
    plan = me.plan_by_hand(me.profile_model(graph, fleet), fleet, stages)
    return me.write_parts(graph, plan, directory / "parts"), fleet


def vectors(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(1, WIDTH)).astype(np.float32)} for _ in range(count)]
