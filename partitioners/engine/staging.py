"""From 'which device for each group' to stages that can run one after another."""

from __future__ import annotations

from collections.abc import Sequence

from multiedge.fleet import Fleet
from multiedge.plan import Stage
from partitioners.engine.dag import Dag
from partitioners.engine.dag_search import Placement


def widest_stages(dag: Dag, fleet: Fleet, placement: Placement) -> tuple[Stage, ...]:
    """Few stages: each takes every group of its device that can run before another device is needed.

    A device holds several stages where placements interleave. For two devices the number of stages is the least, over
    the two choices of who begins.
    """
    begin = sorted({placement[group] for group in range(len(dag)) if not dag.predecessors[group]})
    found = [_widest_from(dag, placement, device) for device in begin]
    return _as_stages(dag, fleet, min(found, key=len))


def _widest_from(dag: Dag, placement: Placement, device: int) -> list[tuple[int, list[int]]]:
    waiting = [len(before) for before in dag.predecessors]
    ready: dict[int, list[int]] = {place: [] for place in set(placement)}
    for group, count in enumerate(waiting):
        if not count:
            ready[placement[group]].append(group)
    stages: list[tuple[int, list[int]]] = []
    while any(ready.values()):
        if not ready[device]:
            device = max(ready, key=lambda place: len(ready[place]))
        taken: list[int] = []
        while ready[device]:
            group = ready[device].pop()
            taken.append(group)
            for reader in dag.successors[group]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready[placement[reader]].append(reader)
        stages.append((device, taken))
    return stages


def scheduled_stages(dag: Dag, fleet: Fleet, placement: Placement, order: Sequence[int]) -> tuple[Stage, ...]:
    """Stages that keep branches parallel: along the topological `order`, a device's stage ends after a group that
    another device waits for and before one that waits for another device."""
    open_stage: dict[int, list[int]] = {}
    stages: list[tuple[int, list[int]]] = []
    for group in order:
        device = placement[group]
        if any(placement[before] != device for before in dag.predecessors[group]):
            open_stage.pop(device, None)
        if device not in open_stage:
            open_stage[device] = []
            stages.append((device, open_stage[device]))
        open_stage[device].append(group)
        if any(placement[after] != device for after in dag.successors[group]):
            open_stage.pop(device, None)
    return _as_stages(dag, fleet, stages)


def _as_stages(dag: Dag, fleet: Fleet, stages: Sequence[tuple[int, Sequence[int]]]) -> tuple[Stage, ...]:
    return tuple(
        Stage(fleet.names[device], tuple(sorted(node for group in groups for node in dag.members[group])))
        for device, groups in stages
    )
