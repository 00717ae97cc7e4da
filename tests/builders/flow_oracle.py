"""The best plan with several paths by trying every placement: an oracle for `flow` that shares no code with it.

Every device holds one span of nodes, or nothing, cut at any boundaries inside; items enter it at its start or at a cut, where
another device's span ends, and leave it at its end. For each placement a linear program finds the largest rate. Placements are
tried in the order of a bound (every node's devices, each busy with that node alone, and some weighted sums of nodes), until it
is below the best rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise, product

import numpy as np
from scipy.optimize import linprog

from multiedge.fleet import Fleet
from multiedge.plan import CALLER, Stage, Transfer
from multiedge.planning import cost, memory
from multiedge.profile import Profile


@dataclass(frozen=True)
class Choice:
    """A span of a device, the cuts inside, and its seconds for an item that enters at each of its entries."""

    start: int
    stop: int
    seconds: dict[int, float]


def best_seconds(profile: Profile, fleet: Fleet) -> float:
    """The least seconds per item of all placements; inf if there is none."""
    nodes = len(profile)
    choices = [choices_of(profile, fleet, name) for name in fleet.names]
    weights = np.vstack([np.eye(nodes), np.random.default_rng(0).dirichlet(np.ones(nodes), 40)])
    # By device and choice, the most that it adds to the weighted rate of the nodes.
    gains = [np.array([_gain(choice, weights) if choice else np.zeros(len(weights)) for choice in own]) for own in choices]
    sums = gains[0]
    for more in gains[1:]:
        sums = (sums[:, None, :] + more[None, :, :]).reshape(-1, len(weights))
    bounds = (sums / weights.sum(axis=1)).min(axis=1)
    places = list(product(*(range(len(own)) for own in choices)))
    best = 0.0
    for index in np.argsort(-bounds):
        if bounds[index] <= best * (1 + 1e-9):
            break
        placement = [own[at] for own, at in zip(choices, places[index], strict=True)]
        best = max(best, largest_rate(profile, fleet, placement))
    return 1 / best if best > 0 else float("inf")


def choices_of(profile: Profile, fleet: Fleet, name: str) -> list[Choice | None]:
    """What a device can hold: nothing, and each span with each set of cuts that fits its memory."""
    found: list[Choice | None] = [None]
    open_at = [end for end in range(len(profile) + 1) if profile.open_boundaries[end]]
    for start, stop in combinations(open_at, 2):
        inner = [end for end in open_at if start < end < stop]
        # Cuts that cost neither time nor memory are all made.
        free = not profile.overhead_s.get(name) and fleet.device(name).memory_bytes is None
        for count in range(len(inner) if free else 0, len(inner) + 1):
            for cuts in combinations(inner, count):
                choice = _choice(profile, fleet, name, (start, *cuts, stop))
                if choice is not None:
                    found.append(choice)
    return found


def _choice(profile: Profile, fleet: Fleet, name: str, ends: tuple[int, ...]) -> Choice | None:
    parts = [Stage.span(name, a, b) for a, b in pairwise(ends)]
    needed = sum(memory.stage_memory_bytes(profile, part, *_ends(profile, part)) for part in parts)
    held = {name: (ends[0], ends[-1])} if name in profile.spans else None
    times = [cost.stage_compute_s(profile, part, held) for part in parts]
    if needed > fleet.device(name).available_bytes or not np.isfinite(times).all():
        return None
    return Choice(ends[0], ends[-1], {end: sum(times[index:]) for index, end in enumerate(ends[:-1])})


def _ends(profile: Profile, part: Stage) -> tuple[list[Transfer], list[Transfer]]:
    """The transfers to and from a part that hands on all that is still needed."""
    cuts, cut_bytes, graph = profile.graph.cuts, profile.cut_bytes, profile.graph
    start, stop = part.nodes[0], part.nodes[-1] + 1
    leaving = [Transfer(0, 1, cuts[stop].tensors, int(cut_bytes[stop]))] if stop < len(profile) else []
    names = tuple(name for name in graph.outputs if start <= graph.producer.get(name, CALLER) < stop)
    if names:
        leaving.append(Transfer(0, CALLER, names, graph.bytes_of(names)))
    return [Transfer(CALLER, 0, cuts[start].tensors, int(cut_bytes[start]))], leaving


def _gain(choice: Choice, weights: np.ndarray) -> np.ndarray:
    """For each weighting of the nodes, the most weight times rate that the device adds: it enters where that pays best."""
    totals = [weights[:, entry : choice.stop].sum(axis=1) / max(seconds, 1e-12) for entry, seconds in choice.seconds.items()]
    return np.max(totals, axis=0)


def largest_rate(profile: Profile, fleet: Fleet, placement: list[Choice | None]) -> float:
    """The largest rate through one placement."""
    end = len(profile)
    graph, cut = profile.graph, profile.cut_bytes
    hops = [(None, b, 0) for b, choice in enumerate(placement) if choice and choice.start == 0]
    hops += [(a, None, end) for a, choice in enumerate(placement) if choice and choice.stop == end]
    hops += [
        (a, b, left.stop)
        for a, left in enumerate(placement)
        for b, right in enumerate(placement)
        if left and right and left.stop in right.seconds and a != b
    ]
    rows: dict[object, dict[int, float]] = {}
    for column, (a, b, at) in enumerate(hops):
        if b is None:
            continue
        choice = placement[b]
        assert choice is not None
        rows.setdefault(b, {})[column] = choice.seconds[at]
        source = fleet.source if a is None else fleet.names[a]
        made = sum(graph.size_of(name) for name in graph.outputs if at <= graph.producer.get(name, CALLER) < choice.stop)
        for one, other, nbytes in ((source, fleet.names[b], float(cut[at])), (fleet.names[b], fleet.source, float(made))):
            if one is not None and other is not None and one != other:
                row = rows.setdefault((one, other), {})
                row[column] = row.get(column, 0.0) + fleet.link(one, other).occupancy_s(nbytes)
    if not any(a is None for a, _, _ in hops):
        return 0.0
    limits = np.array([[row.get(column, 0.0) for column in range(len(hops))] for row in rows.values()])
    scale = limits.max()
    balance = np.array([[float(b == d) - float(a == d) for a, b, _ in hops] for d in range(len(placement))])
    answer = linprog(
        [-float(a is None) for a, _, _ in hops],
        A_ub=limits / scale,
        b_ub=np.ones(len(rows)),
        A_eq=balance,
        b_eq=np.zeros(len(placement)),
    )
    return -float(answer.fun) / scale if answer.status == 0 else 0.0
