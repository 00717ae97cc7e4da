"""Which nodes run where, what that is expected to give, and how well it is proven.

A Plan is a list of stages in topological order. Each stage is a set of nodes on one device (or on several equal
ones that take items in turn); a device may hold several stages. Transfers say which tensors go between which
stages. `multiedge.planning.cost` fills in the estimate, `multiedge.onnx_io` turns a Plan into files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from multiedge.errors import PlanError
from multiedge.graph import Graph

CALLER = -1
"""Stands for the one who feeds items and gets results, where a stage number is expected."""


@dataclass(frozen=True)
class Stage:
    """Nodes (indices, ascending) that run as one sub-model on `device`; `replicas` are further devices that run the
    same stage on other items."""

    device: str
    nodes: tuple[int, ...]
    replicas: tuple[str, ...] = ()

    @classmethod
    def span(cls, device: str, start: int, stop: int, replicas: tuple[str, ...] = ()) -> Stage:
        """The stage of nodes [start, stop)."""
        return cls(device, tuple(range(start, stop)), replicas)

    @property
    def devices(self) -> tuple[str, ...]:
        return (self.device, *self.replicas)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The nodes as half-open ranges."""
        found: list[tuple[int, int]] = []
        for node in self.nodes:
            if found and found[-1][1] == node:
                found[-1] = (found[-1][0], node + 1)
            else:
                found.append((node, node + 1))
        return tuple(found)


@dataclass(frozen=True)
class Transfer:
    """Tensors that stage `source` sends to stage `target` for every item, in one message.

    `relay` plans hand everything that is still needed to the next stage, which passes on what it does not use;
    `direct` plans send each tensor straight to each stage that reads it.
    """

    source: int
    target: int
    tensors: tuple[str, ...]
    nbytes: int


@dataclass(frozen=True)
class StageEstimate:
    """Expected cost of one stage for one item. `transfer_s` is the time to send its results on, latency included.
    `memory_limit_bytes` is the smallest memory of its devices, None if they have no limit. `utilisation` is compute time
    over bottleneck time."""

    compute_s: float
    transfer_s: float
    memory_bytes: int
    memory_limit_bytes: int | None
    utilisation: float


@dataclass(frozen=True)
class Estimate:
    """What a plan is expected to give.

    `bottleneck_s` is the busiest device's or link's time per item, so 1 / bottleneck_s is the throughput that the
    pipeline can reach; `bottleneck` names it. `latency_s` is one item alone in an idle pipeline.
    `energy_j` is per item at full throughput, None where a device declares no power. `network_bytes` is per item.
    """

    stages: tuple[StageEstimate, ...]
    bottleneck_s: float
    bottleneck: str
    latency_s: float
    energy_j: float | None
    network_bytes: int

    @property
    def fps_bound(self) -> float:
        """Items per second that no run of this plan can exceed."""
        return 1.0 / self.bottleneck_s if self.bottleneck_s > 0 else float("inf")


@dataclass(frozen=True)
class Plan:
    """A placement, its estimate and its proof.

    `objective` says what `value` and `lower_bound` measure: 'throughput' (bottleneck seconds), 'latency' (seconds) or
    'energy' (joules per item); smaller is better in all three. `lower_bound` is None if nothing is proven.
    `bound_scope` says what the bound covers ('all plans', 'contiguous plans', ...). `model` is the model's name and
    `stage_ends` the names of each stage's first and last node, for people; empty where they are not known.
    """

    strategy: str
    objective: str
    stages: tuple[Stage, ...]
    transfers: tuple[Transfer, ...]
    estimate: Estimate
    value: float
    lower_bound: float | None = None
    bound_scope: str = ""
    solve_s: float = 0.0
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    model_hash: str = ""
    model: str = ""
    stage_ends: tuple[tuple[str, str], ...] = ()

    def with_names(self, graph: Graph) -> Plan:
        """The plan with the names that `graph`, which it is for, gives to the model and the ends of stages."""
        ends = tuple((graph.nodes[stage.nodes[0]].name, graph.nodes[stage.nodes[-1]].name) for stage in self.stages)
        return replace(self, model=graph.name, stage_ends=ends)

    @property
    def gap(self) -> float | None:
        """(value - lower_bound) / value: 0 is proven optimal; None is unproven, or the value is not known."""
        if self.lower_bound is None or not math.isfinite(self.value):
            return None
        return max(0.0, (self.value - self.lower_bound) / self.value) if self.value > 0 else 0.0


def relay_transfers(graph: Graph, stages: Sequence[Stage], nbytes: Sequence[int]) -> tuple[Transfer, ...]:
    """Transfers of contiguous stages that hand on everything still needed. `nbytes` is Profile.cut_bytes."""
    found = [Transfer(CALLER, 0, graph.cuts[0].tensors, int(nbytes[0]))]
    after = 0
    for index, stage in enumerate(stages[:-1]):
        after += len(stage.nodes)
        found.append(Transfer(index, index + 1, graph.cuts[after].tensors, int(nbytes[after])))
    return tuple(found) + _result_transfers(graph, stages)


def direct_transfers(graph: Graph, stages: Sequence[Stage]) -> tuple[Transfer, ...]:
    """Transfers that send each tensor once to each stage that reads it, from the stage that makes it."""
    home = {node: index for index, stage in enumerate(stages) for node in stage.nodes}
    wanted: dict[tuple[int, int], list[str]] = {}
    for index, stage in enumerate(stages):
        for name in dict.fromkeys(name for node in stage.nodes for name in graph.activations_read(node)):
            made_by = graph.producer.get(name)
            source = CALLER if made_by is None else home[made_by]
            if source != index:
                wanted.setdefault((source, index), []).append(name)
    moves = [Transfer(a, b, tuple(names), _bytes_of(graph, names)) for (a, b), names in sorted(wanted.items())]
    return tuple(moves) + _result_transfers(graph, stages)


def _result_transfers(graph: Graph, stages: Sequence[Stage]) -> tuple[Transfer, ...]:
    home = {node: index for index, stage in enumerate(stages) for node in stage.nodes}
    made: dict[int, list[str]] = {}
    for name in graph.outputs:
        if name in graph.producer:
            made.setdefault(home[graph.producer[name]], []).append(name)
    return tuple(Transfer(source, CALLER, tuple(names), _bytes_of(graph, names)) for source, names in sorted(made.items()))


def _bytes_of(graph: Graph, names: Iterable[str]) -> int:
    return sum(graph.tensors[name].nbytes or 0 for name in names if name in graph.tensors)


def require(violations: Sequence[str], what: str = "plan") -> None:
    """Raises PlanError that lists all violations, if there are any."""
    if violations:
        raise PlanError(f"{what} cannot run: " + "; ".join(violations), violations)


@dataclass(frozen=True)
class Part:
    """One stage as a file. `inputs` and `outputs` are the sub-model's own tensor names; `files` maps every file that
    the part needs (the model and its external data, relative to the plan's folder) to its digest 'xxh3:...', or for weights
    that are linked and not copied to a fingerprint 'stat:size:mtime_ns'."""

    stage: int
    file: str
    device: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    files: Mapping[str, str]
    replicas: tuple[str, ...] = ()

    @property
    def devices(self) -> tuple[str, ...]:
        return (self.device, *self.replicas)


@dataclass(frozen=True)
class Manifest:
    """A plan folder: what `plan.json` says. `inputs` and `outputs` are the whole model's; `transfers` move tensors by name.

    `plan` is the plan with its estimate and proof, None where the folder states none; `directory` is where it was read from.
    """

    model: str
    model_hash: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parts: tuple[Part, ...]
    transfers: tuple[Transfer, ...]
    weights: str
    directory: str
    plan: Plan | None = None

    @property
    def map_info(self) -> dict[str, str]:
        """The device of each part's file, in order: what Ianvs hands to `BaseModel.load`."""
        return {part.file: part.device for part in self.parts}
