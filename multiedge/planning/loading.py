"""What devices must load to go from one plan to another."""

from __future__ import annotations

from collections.abc import Sequence

from multiedge.fleet import Fleet
from multiedge.graph import Graph
from multiedge.plan import Stage


def bytes_to_load(graph: Graph, running: Sequence[Stage], stages: Sequence[Stage]) -> dict[str, int]:
    """Bytes of parameters, by device, that `stages` need there and `running` does not hold there; no entry for none."""
    held, wanted = _held(graph, running), _held(graph, stages)
    found = {device: sum(map(graph.size_of, names - held.get(device, set()))) for device, names in wanted.items()}
    return {device: nbytes for device, nbytes in found.items() if nbytes}


def bytes_held(graph: Graph, running: Sequence[Stage], device: str, stages: Sequence[Stage], other: str) -> int:
    """Bytes of parameters that `device` holds under `running` and `other` needs under `stages`."""
    common = _held(graph, running).get(device, set()) & _held(graph, stages).get(other, set())
    return sum(map(graph.size_of, common))


def loading_bytes_per_s(fleet: Fleet, device: str) -> float:
    """The rate at which weights come: over the link from the source, otherwise over the device's own interface."""
    if fleet.source is not None and fleet.source != device:
        return fleet.link(fleet.source, device).bandwidth_bytes_per_s
    return fleet.device(device).bandwidth_bytes_per_s


def _held(graph: Graph, stages: Sequence[Stage]) -> dict[str, set[str]]:
    held: dict[str, set[str]] = {}
    for stage in stages:
        names = {name for node in stage.nodes for name in graph.nodes[node].reads if name in graph.parameters}
        for device in stage.devices:
            held.setdefault(device, set()).update(names)
    return held
