"""The entries of the live page, as values. None is: not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from multiedge.serving.seeing.watch import Sample, Status

RunPhase = Literal["running", "silent", "ended"]


@dataclass(frozen=True)
class StageEntry:
    """A stage of a row of a deployment on a node; `row` is '' for a plan that the deployment has no more."""

    deployment: str
    row: str
    stage: int
    phase: str
    reason: str = ""


@dataclass(frozen=True)
class NodeEntry:
    """A node; `busy` is the share of the time for which it computes for runs, `load` that of its processors for anything."""

    name: str
    address: str
    status: Status
    lost_unix_s: float | None
    load: float | None
    busy: float | None
    memory_bytes: int | None
    free_bytes: int | None
    threads: int
    battery: float | None
    flops_per_s: float | None
    stages: tuple[StageEntry, ...] = ()


@dataclass(frozen=True)
class LinkEntry:
    """A link from one node, or from a caller, to another; `share` is that of its bandwidth which is used."""

    source: str
    target: str
    bytes_per_s: float | None
    bandwidth_bytes_per_s: float | None
    rtt_s: float | None
    share: float | None


@dataclass(frozen=True)
class RowEntry:
    """A plan of a deployment: how far it is, what it promises, and at which rate pipelines run it now, None without one."""

    name: str
    kind: str
    phase: str
    reason: str
    nodes: tuple[str, ...]
    latency_s: float | None
    items_per_s: float | None
    energy_j: float | None
    accuracy: float | None
    running_items_per_s: float | None


@dataclass(frozen=True)
class DeploymentEntry:
    """A deployment."""

    name: str
    model: str
    phase: str
    reason: str
    rows: tuple[RowEntry, ...]


@dataclass(frozen=True)
class RunStageEntry:
    """A stage of a run: the devices that take its items in turn, and what the first of them sends to the next stage's."""

    stage: int
    devices: tuple[str, ...]
    busy: float | None
    bytes_per_s: float | None


@dataclass(frozen=True)
class RunEntry:
    """A run; rates and latencies are those since the report before."""

    run: str
    caller: str
    model: str
    deployment: str
    row: str
    phase: RunPhase
    answered: int
    failed: int
    unanswered: int
    items_per_s: float | None
    expected_items_per_s: float | None
    p50_s: float | None
    p99_s: float | None
    input_bytes_per_s: float | None
    output_bytes_per_s: float | None
    stages: tuple[RunStageEntry, ...]


@dataclass(frozen=True)
class FaultEntry:
    """A fault, or a return; `run` is '' for what the hub itself saw."""

    unix_s: float
    kind: str
    device: str
    run: str
    model: str
    recovered_after_s: float | None
    detail: str


@dataclass(frozen=True)
class Snapshot:
    """All that the page shows, each thing by its key."""

    nodes: Mapping[str, NodeEntry] = field(default_factory=dict)
    links: Mapping[str, LinkEntry] = field(default_factory=dict)
    deployments: Mapping[str, DeploymentEntry] = field(default_factory=dict)
    runs: Mapping[str, RunEntry] = field(default_factory=dict)
    samples: Mapping[str, Sample] = field(default_factory=dict)
    faults: Mapping[str, FaultEntry] = field(default_factory=dict)
