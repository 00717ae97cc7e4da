"""Which nodes run where, with an estimate and a proof.

A Plan is a list of stages in topological order. Each stage is a set of nodes on one device, or on several equal ones that take
items in turn; a device may have several stages. Transfers are the tensors that stages send to each other.

In most plans every item passes every stage. A plan with `paths` has several ways through its stages: devices of different kinds
hold the same nodes, or nodes that overlap, and each item takes one path. Every path alone is a placement of the whole model.
`multiedge.placement` has stages, transfers and paths, `multiedge.planning.cost` computes the estimate, `multiedge.onnx_io`
writes a Plan as files.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from multiedge.errors import PlanError
from multiedge.fleet import Fleet
from multiedge.graph import Graph
from multiedge.pipeline_cost import PipelineCost
from multiedge.placement import CALLER as CALLER
from multiedge.placement import HasRate as HasRate
from multiedge.placement import Path as Path
from multiedge.placement import Stage as Stage
from multiedge.placement import Transfer as Transfer
from multiedge.placement import direct_transfers as direct_transfers
from multiedge.placement import next_path as next_path
from multiedge.placement import path_transfers as path_transfers
from multiedge.placement import relay_transfers as relay_transfers
from multiedge.proof import Scope
from multiedge.quantity import Knowledge
from multiedge.states import Extended, State
from multiedge.step_costs import StepCost

LINKED = "stat:"
"""How the fingerprint of a linked file begins; that of other files is a digest."""
IDENTITY = "multiedge-"
"""How the identity of a stage begins, which `multiedge serve` gives as the version of its model."""


@dataclass(frozen=True)
class StageEstimate:
    """Expected cost of one stage for one item.

    Attributes:
        compute_s: Time to compute.
        transfer_s: Time to send its results, latency included.
        memory_bytes: Memory that it takes on each of its devices, the runtime included.
        memory_limit_bytes: The smallest memory of its devices; None if they have no limit.
        utilisation: Compute time over bottleneck time.
        sent_bytes: Bytes that it sends to other devices per item; None if unknown.
    """

    compute_s: float
    transfer_s: float
    memory_bytes: int
    memory_limit_bytes: int | None
    utilisation: float
    sent_bytes: int | None = None


@dataclass(frozen=True)
class DeviceMemory:
    """What the one process of a device takes: the runtime once, and all stages of the plan on this device.

    Attributes:
        device: Name of the device.
        planned_bytes: Expected peak.
        limit_bytes: Memory of the device; None if it has no limit.
        margin: The plan fits, since planned_bytes * (1 + margin) is at most limit_bytes.
    """

    device: str
    planned_bytes: int
    limit_bytes: int | None
    margin: float = 0.0

    @property
    def missing_bytes(self) -> int:
        """How much more memory the device needs; 0 if the plan fits."""
        return 0 if self.limit_bytes is None else max(0, math.ceil(self.planned_bytes * (1 + self.margin)) - self.limit_bytes)


@dataclass(frozen=True)
class SourceEstimate:
    """Expected cost of sending one item from the device that has the inputs.

    Attributes:
        device: Name of the device.
        transfer_s: Time to send the inputs, latency included.
        sent_bytes: Bytes that it sends to other devices per item.
    """

    device: str
    transfer_s: float
    sent_bytes: int


@dataclass(frozen=True)
class Estimate:
    """Expected cost of a plan.

    Attributes:
        stages: Cost of each stage.
        bottleneck_s: Time per item of the busiest device or link; the throughput is at most 1 / bottleneck_s.
        bottleneck: That device or link, in words.
        latency_s: Time of one item alone in an idle pipeline.
        energy_j: Energy per item at full throughput; None if a device declares no power.
        network_bytes: Bytes between devices per item.
        source: Cost of sending the inputs; None if the fleet declares no source.
        memory: What each device in use takes; empty if unknown.
        pipeline: What the executor itself takes; None if that is not known. The figures above are without it.
        expected_s: Time per item with it, of the busiest device or link or of the caller; None if it is not known.
        expected_latency_s: Time of one item alone in an idle pipeline with it; None if it is not known.
    """

    stages: tuple[StageEstimate, ...]
    bottleneck_s: float
    bottleneck: str
    latency_s: float
    energy_j: float | None
    network_bytes: int
    source: SourceEstimate | None = None
    memory: tuple[DeviceMemory, ...] = ()
    pipeline: PipelineCost | None = None
    expected_s: float | None = None
    expected_latency_s: float | None = None

    @property
    def planned_bytes(self) -> dict[str, int]:
        """Bytes that each device in use is expected to take, by name."""
        return {each.device: each.planned_bytes for each in self.memory}

    @property
    def fps_bound(self) -> float:
        """Items per second that no run of this plan can exceed."""
        return 1.0 / self.bottleneck_s if self.bottleneck_s > 0 else float("inf")

    @property
    def fps_expected(self) -> float | None:
        """Items per second with what the executor itself takes, on devices of their own; None if that is not known."""
        return 1.0 / self.expected_s if self.expected_s else None


@dataclass(frozen=True)
class Baseline:
    """The whole model on the one device that does a plan's objective best.

    Attributes:
        device: Name of the device; '' if the model does not fit on any device alone.
        value: Value of the objective there; None if the model does not fit on any device alone.
        known: How the costs of the device are known.
        expected_s: Time per item with what the executor itself takes; None if that is not known.
    """

    device: str = ""
    value: float | None = None
    known: Knowledge = Knowledge.ESTIMATED
    expected_s: float | None = None


@dataclass(frozen=True)
class Runtime:
    """What computes the stages of a device.

    Attributes:
        backend: Name of the backend.
        version: Version of the runtime where the plan was made; '' if it is not installed there.
        precision: Type of the numbers that it computes with.
    """

    backend: str
    version: str
    precision: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.backend, self.version, self.precision)))


@dataclass(frozen=True)
class MeasuredAccuracy:
    """What the runtimes and precisions of a plan cost in right answers, found by running its parts on items.

    Attributes:
        kind: 'accuracy', the share of items that get their label, or 'agreement', the share of rows whose largest value is in
            the same place as in the reference backend.
        items: How many items were run.
        reference: The share of the model as it is in the reference backend; 1 for agreement.
        value: The share of the plan.
        limit: The largest loss that was permitted.
    """

    kind: str
    items: int
    reference: float
    value: float
    limit: float

    @property
    def loss(self) -> float:
        """By how much the share is lower than that of the model as it is; below 0 if it is higher."""
        return self.reference - self.value


@dataclass(frozen=True)
class Plan:
    """A placement, its estimate and its proof.

    Attributes:
        strategy: Name of the strategy that made it.
        objective: What `value` and `lower_bound` are: 'throughput' (bottleneck seconds), 'latency' (seconds) or 'energy'
            (joules per item). Smaller is better.
        stages: In topological order.
        transfers: Tensors between stages, and from and to the caller.
        estimate: Expected cost.
        value: Value of the objective.
        lower_bound: No plan is below this value; None if nothing is proven.
        scope: The plans for which the bound holds; None if nothing is proven, or the strategy does not state it.
        solve_s: Time that the strategy took; 0 if it was not measured.
        left_out: The reason for each device that is not used, by name.
        notes: Other remarks of the strategy.
        model_hash: Hash of the model; '' if unknown.
        model: Name of the model; '' if unknown.
        stage_ends: Names of each stage's first and last node; empty if unknown.
        baseline: The best single device of the fleet; None if unknown.
        input_shapes: The shape of each input that the plan was made for, by name; empty if unknown.
        free_batch: Inputs whose first dimension the model leaves open; it was taken as 1.
        measured_sizes: Tensors whose size is that of one run on random inputs.
        options: Options of the strategy that were given.
        known: How the costs of its devices are known.
        reference: What a device of speed 1 was taken for; '' where times were measured, or if unknown.
        paths: The ways of items through the stages; empty if every item passes every stage.
        batch: Samples in an item, where the plan was made for a batch: all figures are those of an item.
        runtimes: What computes the stages of each device in use, by name; empty if unknown.
        recomputed: Tensors that each stage which reads them makes for itself, so that they are not sent.
        sequences: Sequences whose states each stage has memory for.
        accuracy: What the plan's choice of runtimes and precisions costs; None if those of the devices were not changed. A run
            uses the runtimes of a plan with it in place of those of the devices.
        steps: What steps of a sequence cost, by their size; empty if that was not asked for.
    """

    strategy: str
    objective: str
    stages: tuple[Stage, ...]
    transfers: tuple[Transfer, ...]
    estimate: Estimate
    value: float
    lower_bound: float | None = None
    scope: Scope | None = None
    solve_s: float = 0.0
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    model_hash: str = ""
    model: str = ""
    stage_ends: tuple[tuple[str, str], ...] = ()
    baseline: Baseline | None = None
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    free_batch: tuple[str, ...] = ()
    measured_sizes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    known: Knowledge = Knowledge.ESTIMATED
    reference: str = ""
    paths: tuple[Path, ...] = ()
    batch: int = 1
    runtimes: Mapping[str, Runtime] = field(default_factory=dict)
    recomputed: tuple[str, ...] = ()
    sequences: int = 1
    accuracy: MeasuredAccuracy | None = None
    steps: tuple[StepCost, ...] = ()

    def with_names(self, graph: Graph) -> Plan:
        """This plan with the names of its model and of the ends of its stages, and the shapes of the model's inputs.

        Args:
            graph: The model of the plan.

        Returns:
            A new Plan.
        """
        ends = tuple((graph.nodes[stage.nodes[0]].name, graph.nodes[stage.nodes[-1]].name) for stage in self.stages)
        return replace(
            self,
            model=graph.name,
            stage_ends=ends,
            input_shapes=graph.input_shapes,
            free_batch=graph.free_batch,
            measured_sizes=self.measured_sizes or graph.measured_sizes,
            recomputed=self.recomputed or graph.recomputed,
            sequences=max(self.sequences, graph.sequences),
        )

    def with_runtimes(self, fleet: Fleet) -> Fleet:
        """The fleet with the runtimes and precisions that the plan has chosen.

        Args:
            fleet: The devices of a run.

        Returns:
            The fleet itself if the plan has chosen none.
        """
        if self.accuracy is None:
            return fleet
        chosen = self.runtimes
        devices = (
            replace(device, backend=chosen[device.name].backend, precision=chosen[device.name].precision)
            if device.name in chosen
            else device
            for device in fleet.devices
        )
        return replace(fleet, devices=tuple(devices))

    @property
    def is_estimated(self) -> bool:
        """Whether costs are known; otherwise only the placement is."""
        return math.isfinite(self.estimate.bottleneck_s)

    @property
    def bound_scope(self) -> str:
        """The plans for which the bound holds, in words; '' if nothing is stated."""
        return "" if self.scope is None else str(self.scope)

    @property
    def gap(self) -> float | None:
        """(value - lower_bound) / value. 0 is proven optimal; None is unproven, or the value is not known."""
        if self.lower_bound is None or not math.isfinite(self.value):
            return None
        return max(0.0, (self.value - self.lower_bound) / self.value) if self.value > 0 else 0.0

    @property
    def gain(self) -> float | None:
        """How many times better the plan is than the best single device, in expected values; None if that is not known or does
        not exist."""
        single, value = self.expected_values
        return single / value if single is not None and math.isfinite(single) and 0 < value < math.inf else None

    @property
    def expected_values(self) -> tuple[float | None, float]:
        """The objective of the best single device, None if it is not known, and of the plan. Of throughput, with what the
        executor itself takes, if that is known of both."""
        baseline, expected_s = self.baseline, self.estimate.expected_s
        has_expected = baseline is None or baseline.value is None or baseline.expected_s is not None
        if self.objective == "throughput" and expected_s is not None and has_expected:
            return (baseline.expected_s if baseline else None), expected_s
        return (baseline.value if baseline else None), self.value


def unestimated_plan(strategy: str, graph: Graph, stages: Sequence[Stage]) -> Plan:
    """A plan of which only the placement is known, to cut a model whose sizes are open.

    Args:
        strategy: The name that the plan shows.
        graph: The model.
        stages: Sets of nodes that cover the model.

    Returns:
        The Plan, with direct transfers; its times are infinite and its memory is 0.
    """
    nothing = tuple(StageEstimate(math.inf, math.inf, 0, None, 0.0) for _ in stages)
    estimate = Estimate(nothing, math.inf, "not known", math.inf, None, 0)
    transfers = direct_transfers(graph, stages)
    return Plan(strategy, "latency", tuple(stages), transfers, estimate, math.inf, model_hash=graph.model_hash)


def require(violations: Sequence[str], what: str = "plan") -> None:
    """Checks that there are no violations.

    Args:
        violations: Texts from `multiedge.planning.checks`.
        what: The plan, as the error names it.

    Raises:
        PlanError: If there are any; it lists all.
    """
    if violations:
        raise PlanError(f"{what} cannot run: " + "; ".join(violations), violations)


@dataclass(frozen=True)
class Part:
    """One stage as a file.

    Attributes:
        stage: Number of the stage.
        file: The sub-model, relative to the plan's folder.
        device: Name of the device that runs it.
        inputs: The tensors that it takes for each item: the sub-model's own inputs without those of states, and SEQUENCE if it
            has states.
        outputs: The sub-model's own output tensors without those of states.
        files: Every file that the part needs, relative to the plan's folder, with its digest 'xxh3:...', or for linked weights
            a fingerprint 'stat:size:mtime_ns'.
        replicas: Names of other devices that run it on other items.
        states: What the part keeps from one step of a sequence to the next.
        extended: Inputs of which items have the values of their own tokens alone; the part keeps the others.
        sequences: The most sequences whose states are kept.
        returned: Of a part with states, the outputs that go to the caller alone: they are kept of the last step only.
    """

    stage: int
    file: str
    device: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    files: Mapping[str, str]
    replicas: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    extended: tuple[Extended, ...] = ()
    sequences: int = 1
    returned: tuple[str, ...] = ()

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of all its devices."""
        return (self.device, *self.replicas)


@dataclass(frozen=True)
class Manifest:
    """A plan folder, the content of `plan.json`.

    Attributes:
        model: Path of the whole model when the plan was made.
        model_hash: Hash of the model.
        inputs: The whole model's input tensors.
        outputs: The whole model's output tensors.
        parts: One per stage, in order.
        transfers: Tensors between stages, and from and to the caller.
        weights: 'linked' or 'copied'.
        directory: The folder.
        plan: The plan with its estimate and proof; None if the folder has none.
        profile: Digest of the profile in the folder with which it was planned; '' if there is none.
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
    profile: str = ""

    @property
    def state_pairs(self) -> tuple[tuple[str, str], ...]:
        """The input and the output of each state that its parts keep."""
        return tuple(dict.fromkeys((state.input, state.output) for part in self.parts for state in part.states))

    @property
    def recomputed(self) -> tuple[str, ...]:
        """Tensors that each part which reads them makes for itself."""
        return () if self.plan is None else self.plan.recomputed

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of the model's inputs that the plan was made for, by name; empty if unknown."""
        return {} if self.plan is None else self.plan.input_shapes

    @property
    def paths(self) -> tuple[Path, ...]:
        """The ways of items through the stages; empty if every item passes every stage."""
        return () if self.plan is None else self.plan.paths

    @property
    def taken(self) -> tuple[tuple[tuple[int, ...], tuple[Transfer, ...]], ...]:
        """The stages and transfers of an item, for each path; of all items if there are no paths."""
        if not self.paths:
            return ((tuple(range(len(self.parts))), self.transfers),)
        return tuple(
            (path.stages, tuple(move for move in self.transfers if (move.source, move.target) in path.steps))
            for path in self.paths
        )

    def require_uncalibrated(self, obstacle: str) -> None:
        """Refuses what a plan with chosen precisions cannot do.

        Args:
            obstacle: Why it cannot, and the remedy.

        Raises:
            PlanError: If the plan has chosen precisions: its calibrated parts are in its folder alone.
        """
        if self.plan is not None and self.plan.accuracy is not None:
            raise PlanError(
                f"{self.directory}: the plan has chosen precisions, whose calibrated parts are in this folder alone: {obstacle}"
            )

    def identity(self, stage: int) -> str:
        """What tells a stage from those of other models, plans and parts, on whichever machine its folder is.

        Linked weights count with their size, since the time at which they were written differs between machines.

        Args:
            stage: Number of the stage.

        Returns:
            IDENTITY and 32 hexadecimal digits.
        """
        part = self.parts[stage]
        files = {name: known.rpartition(":")[0] if known.startswith(LINKED) else known for name, known in part.files.items()}
        moves = [(move.source, move.target, move.tensors) for move in self.transfers]
        known = (self.model_hash, moves, stage, part.file, part.inputs, part.outputs, sorted(files.items()))
        return IDENTITY + hashlib.sha256(repr(known).encode()).hexdigest()[:32]

    @property
    def part_files(self) -> tuple[FilePath, ...]:
        """The file of each part, in order."""
        return tuple(FilePath(self.directory) / part.file for part in self.parts)

    @property
    def map_info(self) -> dict[str, str]:
        """The device of each part's file, in order, as Ianvs passes it to `BaseModel.load`; the first one of several."""
        devices: dict[str, str] = {}
        for part in self.parts:
            devices.setdefault(part.file, part.device)
        return devices
