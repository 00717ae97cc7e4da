"""Every contiguous stage there is, as tables by first boundary and last boundary."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from multiedge.fleet import Fleet
from multiedge.verification.figures import most_bytes, rate
from multiedge.verification.model import Floats, Ints, Model

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Spans:
    """Stages of consecutive nodes [b, e) with relay transfers.

    Attributes:
        model: The model and its costs.
        fleet: The devices.
        most_memory_bytes: A limit for every device, in addition to its own; None for none.
    """

    model: Model
    fleet: Fleet
    most_memory_bytes: int | None = None

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices for which there are times."""
        return tuple(name for name in self.fleet.names if name in self.model.profile.seconds)

    @cached_property
    def is_stage(self) -> Bools:
        """Whether [b, e) is a stage that cuts no fused tensor, (n + 1, n + 1)."""
        is_open = self.model.is_open
        return np.triu(is_open[:, None] & is_open[None, :], 1)

    def seconds(self, device: str) -> Floats:
        """Compute time of each span, (n + 1, n + 1); its values mean nothing where `has_time` is false."""
        profile = self.model.profile
        overhead_s = profile.overhead_s.get(device, 0.0)
        if device in profile.spans:
            return np.where(self.has_time(device), self.model.span_s[device], 0.0) + overhead_s
        total = np.concatenate([[0.0], np.cumsum(profile.seconds[device])])
        return np.asarray(total[None, :] - total[:, None] + overhead_s)

    def has_time(self, device: str) -> Bools:
        """Whether there is a time for each span, (n + 1, n + 1)."""
        before = np.concatenate([[0], np.cumsum(self.model.is_excluded(device))])
        allowed = np.triu(before[None, :] == before[:, None], 1)
        has_time = np.isfinite(self.model.span_s[device]) if device in self.model.profile.spans else True
        return np.asarray(allowed & has_time)

    def fits(self, device: str) -> Bools:
        """Whether each span has a time and fits the memory of a device, (n + 1, n + 1)."""
        limits = [most_bytes(self.fleet.device(device)), self.most_memory_bytes]
        limit = min((each for each in limits if each is not None), default=None)
        held = self.is_stage & self.has_time(device)
        if limit is None:
            return held
        return held & (self.nbytes + self.fleet.device(device).runtime_bytes <= limit)

    @cached_property
    def nbytes(self) -> Ints:
        """Memory of each span without the runtime, (n + 1, n + 1)."""
        model, use, count = self.model, self.model.profile.memory_use, self.model.count
        crossing = model.crossing_bytes
        loading = np.array([model.loading_bytes(node) for node in range(count)], dtype=np.int64).reshape(count, 2)
        twice = np.concatenate([[0], np.cumsum(loading[:, 1])])
        live = _peaks(crossing[:-1] + model.written_bytes)
        ends = crossing[:, None] + crossing[None, :] + model.returned_bytes[None, :] - model.returned_bytes[:, None]
        running = use.working_copies * live + use.buffered_items * ends
        packed = _peaks(loading[:, 0]) + twice[None, :] - twice[:, None]
        return np.asarray(use.weight_copies * self._parameters + np.maximum(running, packed))

    @cached_property
    def _parameters(self) -> Ints:
        """Bytes of the parameters of each span, a shared one once: it counts at its first reader from b on."""
        count = self.model.count
        change = np.zeros((count + 2, count + 1), dtype=np.int64)
        last: dict[str, int] = {}
        for node, names in enumerate(self.model.parameters):
            for name in names:
                size = self.model.nbytes([name])
                change[last.get(name, -1) + 1, node + 1] += size
                change[node + 1, node + 1] -= size
                last[name] = node
        return np.cumsum(np.cumsum(change, axis=0), axis=1)[: count + 1]

    def occupancy_s(self, source: str | None, target: str | None) -> Floats:
        """How long what crosses each boundary occupies the link between two devices, (n + 1,)."""
        return np.asarray(self.model.crossing_sent_bytes / self.rate(source, target), dtype=np.float64)

    def rate(self, source: str | None, target: str | None) -> float:
        """Bytes per second between two devices; inf within one, and for a caller without a device."""
        is_link = source is not None and target is not None and source != target
        return rate(self.fleet.link(source, target)) if is_link and source and target else np.inf

    def latency_s(self, source: str | None, target: str | None) -> float:
        """The delay of a message between two devices."""
        is_link = source is not None and target is not None and source != target
        return self.fleet.link(source, target).latency_s if is_link and source and target else 0.0


def _peaks(values: Ints) -> Ints:
    """The largest of values[b:e] for each b and e, (n + 1, n + 1); 0 where there is none."""
    count = len(values)
    table = np.zeros((count + 1, count + 1), dtype=np.int64)
    for first in range(count):
        table[first, first + 1 :] = np.maximum.accumulate(values[first:])
    return table
