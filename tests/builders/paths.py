"""A plan of two paths through unlike replicas, with synthetic parts: boundaries differ, and the first stage is shared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from multiedge.fleet import Device, Fleet, Link
from multiedge.plan import Manifest, Part, Plan, Stage
from tests.builders.graphs import chain_graph
from tests.builders.plans import paths_plan
from tests.builders.profiles import profile_of

NODES = 4
SPEEDS = {"d0": 0.2, "d1": 0.1, "d2": 0.1, "d3": 0.04, "d4": 0.1}
"""d4 is to spare."""
WORK_S = 0.002
"""Of each node at speed 1: a stage on d1 of three nodes takes 60 ms for an item."""


def paths_fleet(**links: Link) -> Fleet:
    """Emulated devices of these speeds; links such as `d0_d1` cost something."""
    devices = tuple(Device(name, backend="synthetic", speed=speed) for name, speed in SPEEDS.items())
    return Fleet(devices, {tuple(name.split("_")): link for name, link in links.items()})


def two_paths(fleet: Fleet | None = None, rates: tuple[float, float] = (50 / 3, 20.0), replicas: tuple[str, ...] = ()) -> Plan:
    """Items pass node 0 on d0, then nodes 1-3 on d1, or nodes 1-2 on d2 and 3 on d3: 16.7 and 20 items per second at most.

    The paths are the stages 0, 2 and 0, 1, 3; `replicas` are those of stage 2, on d1.
    """
    profile = profile_of(chain_graph(NODES, sizes=16), {name: WORK_S / speed for name, speed in SPEEDS.items()})
    head, tail = Stage.span("d0", 0, 1), Stage.span("d1", 1, 4, replicas)
    others = [Stage.span("d2", 1, 3), Stage.span("d3", 3, 4)]
    return paths_plan(profile, fleet or paths_fleet(), (rates[0], [head, tail]), (rates[1], [head, *others]))


def paths_manifest(plan: Plan, directory: str | Path = "plan") -> Manifest:
    """The manifest of a plan of consecutive nodes, without files."""
    ends = [(stage.nodes[0], stage.nodes[-1] + 1) for stage in plan.stages]
    parts = tuple(
        Part(number, f"nodes_{start}_{stop}.json", stage.device, (f"t{start}",), (f"t{stop}",), {}, stage.replicas)
        for number, (stage, (start, stop)) in enumerate(zip(plan.stages, ends, strict=True))
    )
    return Manifest("chain", "", ("t0",), (f"t{NODES}",), parts, plan.transfers, "none", str(directory), plan)


def synthetic_paths(directory: Path, plan: Plan | None = None, work_s: float = WORK_S) -> Manifest:
    """The same with files: each node adds 1 to its input after `work_s` of processor time."""
    return _with_files(paths_manifest(plan or two_paths(), directory), {name: {"work_seconds": work_s} for name in SPEEDS})


def waiting_paths(directory: Path, plan: Plan | None = None) -> Manifest:
    """The same, in which stages wait for as long as they would compute: other work of the host does not delay them.

    To be run without emulation of speed.
    """
    seconds = {name: {"seconds": WORK_S / speed} for name, speed in SPEEDS.items()}
    return _with_files(paths_manifest(plan or two_paths(), directory), seconds)


def _with_files(manifest: Manifest, of_node: Mapping[str, Mapping[str, float]]) -> Manifest:
    """What a stage does of its device, times the number of its nodes."""
    for part in manifest.parts:
        (source,), (made,) = part.inputs, part.outputs
        nodes = int(made[1:]) - int(source[1:])
        times = {key: value * nodes for key, value in of_node[part.device].items()}
        description = {"inputs": [source], "outputs": {made: source}, "add": nodes, **times}
        (Path(manifest.directory) / part.file).write_text(json.dumps(description))
    return manifest
