"""Small random models and fleets for `flow`: memory, links, overheads, times that do not add up, and unlike devices."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np

from multiedge.fleet import Fleet
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile
from multiedge.profile import Floats, Profile
from multiedge.spans import BatchedSpans, MeasuredSpans, SpanCost

MIB = 1 << 20
SIZES = ((6, 2), (4, 3), (3, 4), (5, 2), (6, 4), (2, 4), (3, 3), (1, 3))
"""(nodes, devices); with (6, 4) parts cost nothing, so that an oracle can try every placement."""
QUICK = ((4, 2), (3, 2), (2, 3), (1, 3), (3, 1))


def flow_case(seed: int, sizes: tuple[tuple[int, int], ...] = SIZES) -> tuple[Profile, Fleet]:
    """A model on a fleet."""
    random = Random(seed)
    nodes, devices = sizes[seed % len(sizes)]
    free = nodes * devices > 16
    memory = None if free or random.random() < 0.35 else [random.randint(MIB // 2, 6 * MIB) for _ in range(devices)]
    fleet = synthetic_fleet([1] * devices, seed, memory_bytes=memory, links=random.random() < 0.6, source=random.random() < 0.5)
    if memory is None:
        fleet = replace(fleet, devices=tuple(replace(device, memory_bytes=None) for device in fleet.devices))
    graph = synthetic_graph(nodes, seed, skips=random.choice([0.0, 0.5]), outputs=random.randint(1, 2))
    profile = synthetic_profile(graph, fleet, seed, overhead_s=0.0 if free else random.choice([0.0, 0.0, 2e-3]))
    work = random.choice([1.0, 0.02])
    profile = replace(profile, seconds={name: seconds * work for name, seconds in profile.seconds.items()})
    some = random.choice([0.0, 0.6])
    return replace(
        profile, spans={name: _spans(random, seconds) for name, seconds in profile.seconds.items() if random.random() < some}
    ), fleet


def _spans(random: Random, seconds: Floats) -> SpanCost:
    """A table in which long spans take more, or a batch that memory limits. A span is never quicker than one inside it."""
    count = len(seconds)
    if random.random() < 0.5:
        room = float(random.randint(30, 120))
        state = np.full(count, random.randint(1, 9))
        return BatchedSpans(seconds * random.uniform(1, 6), seconds, np.full(count, 10), state, room, most_items=8)
    # What a device holds besides slows it down, and more than `longest` nodes do not fit.
    slower, longest = [random.uniform(0.05, 0.5) for _ in seconds], random.randint(1, count)
    table = np.full((count + 1, count + 1), np.inf)
    for start in range(count):
        for stop in range(start + 1, min(start + longest, count) + 1):
            table[start, stop] = seconds[start:stop].sum() * (1 + sum(slower[start:stop]))
    return MeasuredSpans(tuple(range(count + 1)), table)
