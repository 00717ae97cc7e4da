"""HALDA: layers assigned to the devices of a ring so that one token takes the least time.

Li et al., "Prima.cpp: Fast 30-70B LLM Inference on Heterogeneous and Low-Resource Home Clusters", 2025 (arXiv:2504.08791). Its
model of a token's latency is a sum over the devices of the ring, in their fixed order: the time of the layers that a device
holds, and of the message to the next one. HALDA chooses the numbers of layers by integer programs, since all layers are alike.
Here nodes are not, and a dynamic programme over the ring, f[d, q] = min over p < q and the device u before d of
f[u, p] + transfer(u, d, p) + compute(d, [p, q)), tries every number of them.

Left out, since the cost model does not have it: weights that are read from the disk while the model runs (here memory limits
are hard), the division of a device's layers between its CPU and GPU, copies of the key-value cache, and several rounds of the
ring, which hide the reading and without it only add messages. Outputs that a model makes early count when they are all made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np

from multiedge.fleet import Device, Fleet
from multiedge.plan import Plan, Stage
from multiedge.profile import Profile
from partitioners.engine.balance import no_split
from partitioners.engine.contract import relay_plan, unused
from partitioners.engine.memory import memory_rows, result_bytes
from partitioners.engine.times import StageTimes


class Halda:
    """The contiguous plan of the least latency with the devices in the order of the ring: as declared, from the source on.

    A device that would lengthen the ring is left out, as HALDA does. Orders other than the ring's are not tried; `latency` does
    that, and proves its plans.
    """

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The plan; InfeasibleError if memory forbids all in this order."""
        start = perf_counter()
        ring = _ring(fleet)
        stages = _least_latency(profile, fleet, ring)
        if not stages:
            raise no_split(profile, ring, "latency")
        plan = relay_plan("halda", "latency", profile, fleet, stages)
        return replace(
            plan,
            solve_s=perf_counter() - start,
            left_out=unused(fleet, stages, "with a part on it, one item would not take less time"),
        )


def _ring(fleet: Fleet) -> tuple[Device, ...]:
    head = 0 if fleet.source is None else fleet.names.index(fleet.source)
    return fleet.devices[head:] + fleet.devices[:head]


def _least_latency(profile: Profile, fleet: Fleet, ring: Sequence[Device]) -> list[Stage]:
    """The stages; [] if memory forbids all. `best[d, q]` is the least time of the first q nodes with the last stage on d."""
    count = len(profile)
    cut, results = profile.cut_bytes.tolist(), result_bytes(profile).tolist()
    times = [StageTimes.of(profile, device.name) for device in ring]
    links = [[fleet.link(a.name, b.name) for b in ring] for a in ring]
    best = np.full((len(ring), count + 1), np.inf)
    begin = np.zeros((len(ring), count + 1), dtype=np.int64)
    before = np.zeros((len(ring), count + 1), dtype=np.int64)
    for start, memory in enumerate(memory_rows(profile)):
        for d, device in enumerate(ring):
            if start == 0:
                entered_s, last = _from_source_s(fleet, device, cut[0]), 0
            else:
                arrivals = [best[u, start] + links[u][d].transfer_s(cut[start]) for u in range(d)]
                last = int(np.argmin(arrivals)) if arrivals else 0
                entered_s = arrivals[last] if arrivals else math.inf
            if math.isinf(entered_s):
                continue
            fits = (memory <= device.available_bytes) & profile.open_boundaries[start + 1 :]
            needed_s = entered_s + profile.overhead_s.get(device.name, 0.0) + times[d].row(start)
            needed_s[-1] += _to_source_s(fleet, device, results[-1] - results[start])
            better = fits & (needed_s < best[d, start + 1 :])
            best[d, start + 1 :][better] = needed_s[better]
            begin[d, start + 1 :][better], before[d, start + 1 :][better] = start, last
    stages: list[Stage] = []
    d, stop = int(np.argmin(best[:, count])), count
    while stop > 0 and math.isfinite(best[d, stop]):
        stages.append(Stage.span(ring[d].name, int(begin[d, stop]), stop))
        d, stop = int(before[d, stop]), int(begin[d, stop])
    return stages[::-1]


def _from_source_s(fleet: Fleet, device: Device, nbytes: int) -> float:
    return 0.0 if fleet.source is None else fleet.link(fleet.source, device.name).transfer_s(nbytes)


def _to_source_s(fleet: Fleet, device: Device, nbytes: int) -> float:
    return 0.0 if fleet.source is None else fleet.link(device.name, fleet.source).transfer_s(nbytes)
