"""Petals: each device chooses the blocks that are served worst, and moves if that helps.

Borzunov et al., "Distributed Inference and Fine-tuning of Large Language Models Over The Internet", NeurIPS 2023
(arXiv:2312.08361), and "Petals: Collaborative Inference and Fine-tuning of Large Models", ACL 2023 demonstrations
(arXiv:2209.01188). Of all intervals of as many consecutive blocks as its memory holds, a server takes the one whose
throughputs, sorted from the least, come first in lexicographic order; the throughput of a block is the sum over the servers
that hold it. This is a greedy search for the largest least throughput, since an item needs every block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet
from multiedge.plan import Plan
from multiedge.profile import Floats, Profile
from multiedge.quantity import at_least
from partitioners.engine.balance import memory_remedy, smallest_fit
from partitioners.engine.contract import unused
from partitioners.engine.memory import memory_rows
from partitioners.engine.times import StageTimes, stage_times
from partitioners.engine.walks import Walk, plan_of_walks, widest_walks

Key = tuple[tuple[float, int], ...]
Span = tuple[int, int]
TRIES = 12
"""Steps of the bisection for the memory that would do."""


class Petals:
    """Devices join in the order declared; then each moves while that raises the least throughput, at most `rounds` times over.

    Nodes are the blocks, so an interval is the longest that memory allows from its first node on. A device's throughput is that
    of all its nodes, without the network. Items take the chain of devices that has most time to spare. Left out: servers
    that come and go, and what they hear late of each other.
    """

    def __init__(self, rounds: int = 10) -> None:
        if rounds < 0:
            raise ConfigError(f"petals.rounds: expected 0 or more, got {rounds}")
        self.rounds = rounds

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The plan; InfeasibleError if the chosen blocks leave nodes without a device, although another plan may fit."""
        start = perf_counter()
        spans, walks = self._served(profile, fleet)
        if not walks:
            raise self._infeasible(profile, fleet)
        plan = plan_of_walks("petals", profile, fleet, walks, spans)
        reasons = {name: "no items are left for it" if name in spans else "it cannot hold a node" for name in fleet.names}
        return replace(plan, solve_s=perf_counter() - start, left_out=unused(fleet, plan.stages, reasons))

    def _served(self, profile: Profile, fleet: Fleet) -> tuple[dict[str, Span], list[Walk]]:
        blocks = _Blocks(profile, fleet.devices)
        spans: dict[str, Span] = {}
        for name in blocks.names:
            spans[name] = blocks.worst_served(name, spans)
        for _ in range(self.rounds):
            moved = [blocks.move(name, spans) for name in blocks.names]
            if not any(moved):
                break
        return spans, widest_walks(profile, fleet, spans)

    def _infeasible(self, profile: Profile, fleet: Fleet) -> InfeasibleError:
        """The error with a factor that was tried: more memory changes every choice, and so may do less."""

        def does(factor: str) -> bool:
            return bool(self._served(profile, _with_memory(fleet, float(factor)))[1])

        low, high = 1.0, min(smallest_fit(profile, [device]) for device in fleet.devices)
        for _ in range(TRIES if math.isfinite(high) else 0):
            middle = (low + high) / 2
            low, high = (low, middle) if does(at_least(middle, 4)) else (middle, high)
        return InfeasibleError(
            f"the greedy choice of blocks leaves nodes of {profile.graph.name} that no item can reach on {fleet.name};"
            f" {memory_remedy(high)}, or plan with 'flow' or 'throughput', which try more"
        )


class _Blocks:
    """The intervals that each device can hold, and the throughput of each node."""

    def __init__(self, profile: Profile, devices: Sequence[Device]) -> None:
        self._count = len(profile)
        self._times = stage_times(profile, [device.name for device in devices])
        self._overhead_s = {device.name: profile.overhead_s.get(device.name, 0.0) for device in devices}
        found = _longest(profile, devices, self._times)
        self._intervals = {device.name: found[device.name] for device in devices if found[device.name]}

    @property
    def names(self) -> tuple[str, ...]:
        """The devices that can hold something, in order."""
        return tuple(self._intervals)

    def worst_served(self, name: str, spans: Mapping[str, Span]) -> Span:
        """The interval for a device, given those of the others; of equal ones the first."""
        rates = self._rates({other: span for other, span in spans.items() if other != name})
        return min(self._intervals[name], key=lambda span: (_key(rates[slice(*span)]), span))

    def move(self, name: str, spans: dict[str, Span]) -> bool:
        """Whether the device moved, since the least throughput, or the next to it, is larger so."""
        moved = {**spans, name: self.worst_served(name, spans)}
        better = _key(self._rates(moved)) > _key(self._rates(spans))
        if better:
            spans[name] = moved[name]
        return better

    def _rates(self, spans: Mapping[str, Span]) -> Floats:
        rates = np.zeros(self._count)
        for name in sorted(spans):
            start, stop = spans[name]
            seconds = self._times[name].between(start, stop) + self._overhead_s[name]
            rates[start:stop] += 1.0 / seconds if seconds > 0 else math.inf
        return rates


def _key(rates: Floats) -> Key:
    """Orders intervals as their sorted throughputs do; after its end an interval counts as served without limit."""
    values, counts = np.unique(rates, return_counts=True)
    return (*zip(values.tolist(), (-counts).tolist(), strict=True), (math.inf, 0))


def _longest(profile: Profile, devices: Sequence[Device], times: Mapping[str, StageTimes]) -> dict[str, list[Span]]:
    """For each device the intervals that it can hold and that are no part of another one, from the first node on."""
    found: dict[str, list[Span]] = {device.name: [] for device in devices}
    for start, memory in enumerate(memory_rows(profile)):
        if profile.open_boundaries[start]:
            for device in devices:
                has_time = np.isfinite(times[device.name].row(start))
                ends = np.nonzero((memory <= device.available_bytes) & profile.open_boundaries[start + 1 :] & has_time)[0]
                held = found[device.name]
                if len(ends) and (not held or start + 1 + int(ends[-1]) > held[-1][1]):
                    held.append((start, start + 1 + int(ends[-1])))
    return found


def _with_memory(fleet: Fleet, factor: float) -> Fleet:
    devices = (
        device if device.memory_bytes is None else replace(device, memory_bytes=math.ceil(device.memory_bytes * factor))
        for device in fleet.devices
    )
    return replace(fleet, devices=tuple(devices))
