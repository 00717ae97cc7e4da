"""What each node of a model costs on each device.

A Profile is a Graph with numbers. It is all that a strategy gets of a model, so a test can build one by hand. `profilers` make
Profiles; `multiedge.formats.profile` reads and writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from multiedge.errors import ProfileError
from multiedge.graph import Graph, Node
from multiedge.pipeline_cost import PipelineCost
from multiedge.quantity import Knowledge, least
from multiedge.spans import SpanCost, least_shares, spans_with

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MOST_SPAN_NODES = 4000
"""Nodes up to which all spans are held in a table: 128 MB for each cost."""


@dataclass(frozen=True)
class Span:
    """The costs of nodes [start, stop) together.

    Attributes:
        start: First node.
        stop: End of the nodes, not included.
        macs: Multiply-accumulates.
        flops: All floating-point operations.
        parameter_bytes: Parameters that the nodes read; one that several of them read counts once.
        output_bytes: Activations that they write.
        peak_live_bytes: Largest size of the activations that exist while one of them runs, including those that only later
            nodes need.
        seconds: Wall time by device name.
    """

    start: int
    stop: int
    macs: int
    flops: float
    parameter_bytes: int
    output_bytes: int
    peak_live_bytes: int
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class MemoryUse:
    """How a worker holds stages, in addition to the runtime. The defaults are the least that any worker takes.

    Attributes:
        working_copies: Bytes of the runtime's arena per byte of live activations; gaps between them count.
        buffered_items: Messages of each transfer that a worker holds: those that wait, or the slots that it maps.
        packing_copies: By type of operator, how many more copies of a weight exist while it is packed.
        folded: By type of operator, the type of the next operator that the runtime folds into its weight. Until loading is
            done, both versions of such a weight exist.
        body_copies: By type of operator inside a sub-graph, how many more copies of all its weights exist until all weights of
            that sub-graph are packed.
        weight_copies: Copies of each weight that stay: 2 where the file is mapped, and what is computed with is packed.
    """

    working_copies: int = 1
    buffered_items: int = 1
    packing_copies: Mapping[str, int] = field(default_factory=dict, hash=False)
    folded: Mapping[str, str] = field(default_factory=dict, hash=False)
    body_copies: Mapping[str, int] = field(default_factory=dict, hash=False)
    weight_copies: int = 1

    def at_least(self, other: MemoryUse) -> MemoryUse:
        """The larger of both in every figure.

        Args:
            other: How another worker holds stages.

        Returns:
            A new MemoryUse.
        """
        return MemoryUse(
            max(self.working_copies, other.working_copies),
            max(self.buffered_items, other.buffered_items),
            _larger(self.packing_copies, other.packing_copies),
            {**self.folded, **other.folded},
            _larger(self.body_copies, other.body_copies),
            max(self.weight_copies, other.weight_copies),
        )

    def stage_bytes(
        self, *, parameters: Ints | int, live: Ints | int, buffers: Ints | int, packing: Ints | int, folded: Ints | int
    ) -> Ints:
        """The peak of one stage, or of many if the arguments are arrays of one length.

        Args:
            parameters: Bytes of the parameters that it reads.
            live: Bytes of its largest live set.
            buffers: Bytes that enter and leave for one item.
            packing: The most bytes that exist, in addition, while one of its parameters, or those of one sub-graph, are packed.
            folded: Bytes of its parameters into which another operator is folded.

        Returns:
            Bytes, without the runtime: the larger of the peaks of loading and of running.
        """
        running = self.working_copies * live + self.buffered_items * buffers
        return np.asarray(self.weight_copies * parameters + np.maximum(running, packing + folded), dtype=np.int64)


def _larger(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in one.keys() | other.keys()}


@dataclass(frozen=True, eq=False)
class Profile:
    """Costs of a model; its arrays have one entry per node, in topological order.

    Attributes:
        graph: The model.
        macs: Multiply-accumulates, (n,).
        flops: All floating-point operations, 2 per MAC included, (n,).
        seconds: Wall time by device name, (n,) each; inf for a node that the device must not hold.
        sources: The method by device name, such as 'measured' or 'scaled by speed 0.5'.
        spread_s: Half a 95 % confidence interval of `seconds`, by device name, (n,) each; only of measured times.
        overhead_s: Seconds per stage and item in addition to the nodes, by device name.
        uncounted: Operator types and tensors whose operations are not known; they are missing in `macs` and `flops`.
        fused: Activations that exist only inside the runtime's fused nodes. Strategies do not cut there, since that would undo
            the fusion.
        settings: Machine, runtime, threads and repeats.
        memory_use: How the workers hold stages in memory; of the backends of a fleet the larger figures.
        known: How the times are known, by device name; a missing one is estimated.
        notes: Remarks for those who plan with it.
        spans: What consecutive nodes cost together, by device name, where their times do not add up. Of such a device,
            `seconds` only says how the time of a span is divided among its nodes.
        pipeline: What the executor itself takes on this machine; None if that was not measured.
        is_mean: Whether `seconds` are means over all items, where nodes compute for some of them only: see
            `multiedge.planning.rates`.

    Raises:
        UnknownSizeError: If the size of a tensor or parameter of the graph is not known.
        ProfileError: If an array has another length than the graph, or a fused tensor is not made and read by its nodes.
    """

    graph: Graph
    macs: Ints
    flops: Floats
    seconds: Mapping[str, Floats] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    spread_s: Mapping[str, Floats] = field(default_factory=dict)
    overhead_s: Mapping[str, float] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()
    fused: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)
    memory_use: MemoryUse = field(default_factory=MemoryUse)
    known: Mapping[str, Knowledge] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    spans: Mapping[str, SpanCost] = field(default_factory=dict)
    pipeline: PipelineCost | None = None
    is_mean: bool = False

    def __post_init__(self) -> None:
        self.graph.require_sizes()
        count = len(self.graph.nodes)
        arrays = {"macs": self.macs, "flops": self.flops, **{f"seconds[{d}]": s for d, s in self.seconds.items()}}
        for name, array in arrays.items():
            if array.shape != (count,):
                raise ProfileError(f"profile of {self.graph.name}: {name} has shape {array.shape}, expected ({count},)")

        for name in self.fused:
            if name not in self.graph.producer or not self.graph.consumers.get(name):
                raise ProfileError(f"profile of {self.graph.name}: fused tensor '{name}' is not made and read by its nodes")

    def __len__(self) -> int:
        return len(self.graph.nodes)

    def seconds_on(self, device: str) -> Floats:
        """Wall time of each node on one device.

        Args:
            device: Name of the device.

        Returns:
            Seconds, (n,).

        Raises:
            ProfileError: If the profile has no times for this device.
        """
        if device not in self.seconds:
            raise ProfileError(
                f"profile of {self.graph.name}: no times for device '{device}' (it has {', '.join(self.seconds) or 'none'});"
                " profile the model for this fleet, or state the device's speed"
            )
        return self.seconds[device]

    def require_additive(self, devices: Iterable[str]) -> None:
        """Refuses devices where the time of a stage is not the sum over its nodes.

        Args:
            devices: Names of the devices.

        Raises:
            ProfileError: If the times of one of them do not add up.
        """
        for device in devices:
            if device in self.spans:
                raise ProfileError(
                    f"profile of {self.graph.name}: this strategy adds up the times of nodes, and those of device '{device}' do"
                    " not add up; plan with 'latency', 'throughput' or 'flow'"
                )

    def least_seconds_on(self, device: str) -> Floats:
        """The least time that each node takes on one device, whatever other nodes the device holds.

        Args:
            device: Name of the device.

        Returns:
            Seconds, (n,): where times add up `seconds_on`; otherwise the least share of the node in any span, and inf if the
            device cannot hold it.

        Raises:
            ProfileError: If the profile has no times for this device.
        """
        seconds, matrix = self.seconds_on(device), self.span_matrix_s(device)
        return seconds if matrix is None or device not in self.spans else least_shares(matrix, seconds)

    def span_matrix_s(self, device: str) -> Floats | None:
        """The times of all spans on one device, where times do not add up, or where it must not hold some nodes.

        Args:
            device: Name of the device.

        Returns:
            Seconds by first node and end, (n + 1, n + 1), as `span_s` has them; None where times add up over all nodes.

        Raises:
            ProfileError: If there are too many spans for such a table.
        """
        cost, seconds = self.spans.get(device), self.seconds.get(device)
        if cost is None and (seconds is None or np.isfinite(seconds).all()):
            return None
        key = id(seconds if cost is None else cost)
        if key not in self._span_matrices:
            if len(self) > MOST_SPAN_NODES:
                raise ProfileError(
                    f"profile of {self.graph.name}: times that do not add up over nodes are planned with for at most"
                    f" {MOST_SPAN_NODES} nodes, got {len(self)}"
                )
            self._span_matrices[key] = cost.matrix_s(len(self)) if cost else _sums_s(self.seconds_on(device))
        return self._span_matrices[key]

    def span_s(self, device: str, start: int, stop: int, held: tuple[int, int] | None = None) -> float:
        """The time of one item through consecutive nodes on one device, without the overhead of a stage.

        Args:
            device: Name of the device.
            start: First node.
            stop: End of the nodes, not included.
            held: The nodes [start, stop) that the device holds, these among them; None if it holds no others. Where times do
                not add up, the nodes take the share of the held span's time that `seconds` gives them.

        Returns:
            Seconds; inf if the device cannot hold the span.

        Raises:
            ProfileError: If the profile has no times for this device.
        """
        seconds = self.seconds_on(device)
        if device not in self.spans:
            return float(seconds[start:stop].sum())
        first, last = held or (start, stop)
        whole, part = float(seconds[first:last].sum()), float(seconds[start:stop].sum())
        share = part / whole if whole > 0 else (stop - start) / (last - first)
        return self.spans[device].seconds(first, last) * share

    @property
    def reference(self) -> str:
        """What a device of speed 1 was taken for, in words; '' where times were measured, or if that is not known."""
        return str(self.settings.get("reference", ""))

    def knowledge_of(self, devices: Iterable[str]) -> Knowledge:
        """How the times of several devices are known together.

        Args:
            devices: Names of the devices.

        Returns:
            The least of them.
        """
        return least(self.known.get(device, Knowledge.ESTIMATED) for device in devices)

    def with_seconds(self, device: str, seconds: Floats, source: str) -> Profile:
        """This profile with new times for one device.

        Args:
            device: Name of the device.
            seconds: Wall time of each node, (n,).
            source: The method by which they were found.

        Returns:
            A new Profile.
        """
        return replace(self, seconds={**self.seconds, device: seconds}, sources={**self.sources, device: source})

    def with_speed(self, factors: Mapping[str, float]) -> Profile:
        """This profile for devices whose speed has changed.

        Args:
            factors: New speed over the old one, by device name; with 0.5 nodes and overheads take twice the time.

        Returns:
            A new Profile.
        """
        factors = {device: factor for device, factor in factors.items() if factor != 1.0 and device in self.seconds}
        return replace(
            self,
            seconds={**self.seconds, **{device: self.seconds[device] / factor for device, factor in factors.items()}},
            overhead_s={**self.overhead_s, **{d: self.overhead_s.get(d, 0.0) / factor for d, factor in factors.items()}},
            spans={
                device: cost.at_speed(factors[device]) if device in factors else cost for device, cost in self.spans.items()
            },
        )

    @cached_property
    def excludes_nodes(self) -> bool:
        """Whether there is a node that a device must not hold, in `seconds`."""
        return not all(np.isfinite(values).all() for values in self.seconds.values())

    @cached_property
    def _span_matrices(self) -> dict[int, Floats]:
        """By identity of the costs in `spans`, of which several devices may share one, or of times."""
        return {}

    @cached_property
    def cut_bytes(self) -> Ints:
        """Bytes that are sent over each boundary, (n + 1,), in the mean over all items: the inputs at 0, 0 at n."""
        if not self.graph.has_rates:
            return self.held_cut_bytes
        return np.array([self.graph.sent_bytes_of(cut.tensors) for cut in self.graph.cuts], dtype=np.int64)

    @cached_property
    def held_cut_bytes(self) -> Ints:
        """Bytes that exist at each boundary, (n + 1,), of an item that has all tensors."""
        return np.array([cut.nbytes for cut in self.graph.cuts], dtype=np.int64)

    @cached_property
    def open_boundaries(self) -> Bools:
        """Whether each boundary, (n + 1,), is free of fused tensors and not closed by states, so that a stage may end and the
        next one begin there."""
        closed, fused = self.graph.closed_boundaries, self.fused
        return np.array([fused.isdisjoint(cut.tensors) and cut.after not in closed for cut in self.graph.cuts], dtype=np.bool_)

    @cached_property
    def output_bytes(self) -> Ints:
        """Bytes of activations that each node writes, (n,); constants count as parameters where they are read."""
        tensors = self.graph.tensors.keys() - self.graph.parameters.keys()
        size_of = self.graph.size_of
        sizes = [sum(size_of(name) for name in node.writes if name in tensors) for node in self.graph.nodes]
        return np.array(sizes, dtype=np.int64)

    @cached_property
    def live_bytes(self) -> Ints:
        """Bytes of activations that exist while each node runs, (n,): all that is live before it, plus what it writes."""
        return self.held_cut_bytes[:-1] + self.output_bytes

    @cached_property
    def parameter_bytes(self) -> Ints:
        """Bytes of parameters that each node reads, (n,); a shared one counts for each of its readers."""
        size_of = self.graph.size_of
        return np.array([sum(map(size_of, names)) for names in self.graph.parameters_read], dtype=np.int64)

    @cached_property
    def packing_bytes(self) -> Ints:
        """Bytes of the most copies, in addition to the result, while a parameter, or those of a sub-graph, are packed for each
        node, (n,)."""
        copies = self.memory_use.packing_copies
        single = np.array([copies.get(node.op_type, 0) for node in self.graph.nodes], dtype=np.int64) * self._largest_parameter
        inside = np.array([max(map(self._body_bytes, node.bodies), default=0) for node in self.graph.nodes], dtype=np.int64)
        return np.asarray(np.maximum(single, inside))

    def _body_bytes(self, body: Mapping[str, tuple[str, ...]]) -> int:
        """Bytes of the additional copies of a sub-graph's parameters; which sub-graph comes last is not known."""
        copies, parameters = self.memory_use.body_copies, self.graph.parameters
        each = {name: copies.get(op_type, 0) for op_type, names in body.items() for name in names if name in parameters}
        return sum(count * self.graph.size_of(name) for name, count in each.items() if count)

    @cached_property
    def folded_bytes(self) -> Ints:
        """Bytes of the parameter of each node into which its only reader is folded, otherwise 0, (n,)."""
        graph, folded = self.graph, self.memory_use.folded

        def is_folded(node: Node) -> bool:
            readers = [graph.nodes[reader].op_type for name in node.writes for reader in graph.consumers.get(name, ())]
            return node.op_type in folded and readers == [folded[node.op_type]]

        return np.array([is_folded(node) for node in graph.nodes], dtype=np.int64) * self._largest_parameter

    @cached_property
    def _largest_parameter(self) -> Ints:
        held, size_of = self.graph.held, self.graph.size_of
        sizes = [max((size_of(name) for name in names if name not in held), default=0) for names in self.graph.parameters_read]
        return np.array(sizes, dtype=np.int64)

    @cached_property
    def recent_stages(self) -> dict[tuple[tuple[int, ...], frozenset[str], frozenset[str]], tuple[int, int]]:
        """Bytes of parameters and of activations at their peak, by nodes, tensors that enter and tensors that are kept.

        `multiedge.planning.cost` fills it with the last stages.
        """
        return {}

    def span(self, start: int = 0, stop: int | None = None) -> Span:
        """Costs of some consecutive nodes together.

        Args:
            start: First node.
            stop: End of the nodes, not included; None is the end of the model.

        Returns:
            Sums and peaks over the nodes.

        Raises:
            ProfileError: If there are no such nodes.
        """
        stop = len(self) if stop is None else stop
        if not 0 <= start < stop <= len(self):
            raise ProfileError(f"profile of {self.graph.name}: no nodes [{start}, {stop}); it has {len(self)}")
        parameters = self.graph.parameters
        names = {name for node in self.graph.nodes[start:stop] for name in node.reads if name in parameters}
        return Span(
            start=start,
            stop=stop,
            macs=int(self.macs[start:stop].sum()),
            flops=float(self.flops[start:stop].sum()),
            parameter_bytes=sum(map(self.graph.size_of, names)),
            output_bytes=int(self.output_bytes[start:stop].sum()),
            peak_live_bytes=int(self.live_bytes[start:stop].max()),
            seconds={device: float(values[start:stop].sum()) for device, values in self.seconds.items()},
        )


def _sums_s(seconds: Floats) -> Floats:
    """The times of all spans whose nodes add up, (n + 1, n + 1); inf with a node that has no time, and for no nodes."""
    missing = ~np.isfinite(seconds)
    totals = np.concatenate([[0.0], np.cumsum(np.where(missing, 0.0, seconds))])
    sums = totals[None, :] - totals[:, None]
    allowed = np.triu(~spans_with(missing), 1)
    return np.where(allowed, sums, np.inf)
