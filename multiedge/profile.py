"""What each node of a model costs on each device.

A Profile is a Graph plus numbers. It is all that a partitioner sees of a model, so it can be written down by hand
in a test. `profilers` make Profiles; `multiedge.formats.profile` stores them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from multiedge.errors import ProfileError
from multiedge.graph import Graph

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Span:
    """What nodes [start, stop) take together. Parameters that several of them read count once; `peak_live_bytes` is the
    most activations that exist while one of them runs, those that only pass by included."""

    start: int
    stop: int
    macs: int
    flops: float
    parameter_bytes: int
    output_bytes: int
    peak_live_bytes: int
    seconds: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Profile:
    """Costs of `graph`, arrays of one entry per node in topological order.

    `macs` are multiply-accumulates, `flops` all floating-point operations (2 per MAC included). `seconds` holds wall
    time by device name and `sources` how each was come by ('measured', 'scaled by speed 0.5', ...). `overhead_s` is
    the fixed cost that a device pays per stage and item on top of its nodes. `uncounted` names operator types and
    tensors whose cost is not known and counts as zero. `fused` are activations that the runtime's fused nodes keep to
    themselves: strategies do not cut there, since that would undo the fusion. `settings` records machine, runtime, threads
    and repeats.
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

    def __post_init__(self) -> None:
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
        """Wall seconds of each node on `device`; ProfileError if the profile does not know the device."""
        if device not in self.seconds:
            raise ProfileError(
                f"profile of {self.graph.name}: no times for device '{device}' (it has {', '.join(self.seconds) or 'none'});"
                " profile the model for this fleet, or state the device's speed"
            )
        return self.seconds[device]

    def with_seconds(self, device: str, seconds: Floats, source: str) -> Profile:
        """The profile with the times of one device set."""
        return replace(self, seconds={**self.seconds, device: seconds}, sources={**self.sources, device: source})

    def with_speed(self, factors: Mapping[str, float]) -> Profile:
        """The profile of devices that now run at `factors` of their speed: 0.5 takes twice the time, overheads too."""
        factors = {device: factor for device, factor in factors.items() if factor != 1.0 and device in self.seconds}
        return replace(
            self,
            seconds={**self.seconds, **{device: self.seconds[device] / factor for device, factor in factors.items()}},
            overhead_s={**self.overhead_s, **{d: self.overhead_s.get(d, 0.0) / factor for d, factor in factors.items()}},
        )

    @cached_property
    def cut_bytes(self) -> Ints:
        """Bytes that cross each boundary, (n + 1,): the caller's input at 0, 0 at n. Unknown sizes count as 0."""
        tensors = self.graph.tensors
        sizes = [
            cut.nbytes if cut.nbytes is not None else sum(tensors[name].nbytes or 0 for name in cut.tensors if name in tensors)
            for cut in self.graph.cuts
        ]
        return np.array(sizes, dtype=np.int64)

    @cached_property
    def open_boundaries(self) -> Bools:
        """Whether each boundary, (n + 1,), is free of fused tensors, so that a stage may end and the next one begin there."""
        return np.array([self.fused.isdisjoint(cut.tensors) for cut in self.graph.cuts], dtype=np.bool_)

    @cached_property
    def output_bytes(self) -> Ints:
        """Bytes of activations that each node writes, (n,); constants count as parameters where they are read."""
        tensors = self.graph.tensors.keys() - self.graph.parameters.keys()
        sizes = [
            sum(self.graph.tensors[name].nbytes or 0 for name in node.writes if name in tensors) for node in self.graph.nodes
        ]
        return np.array(sizes, dtype=np.int64)

    @cached_property
    def live_bytes(self) -> Ints:
        """Bytes of activations that exist while each node runs, (n,): all that is live before it, plus what it writes."""
        return self.cut_bytes[:-1] + self.output_bytes

    @cached_property
    def parameter_bytes(self) -> Ints:
        """Bytes of parameters that each node reads, (n,); a shared one counts for each of its readers."""
        sizes = self.graph.parameters
        return np.array(
            [sum(sizes[name].nbytes or 0 for name in node.reads if name in sizes) for node in self.graph.nodes], dtype=np.int64
        )

    def span(self, start: int = 0, stop: int | None = None) -> Span:
        """Sums and peaks over nodes [start, stop), the whole model by default."""
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
            parameter_bytes=sum(parameters[name].nbytes or 0 for name in names),
            output_bytes=int(self.output_bytes[start:stop].sum()),
            peak_live_bytes=int(self.live_bytes[start:stop].max()),
            seconds={device: float(values[start:stop].sum()) for device, values in self.seconds.items()},
        )
