"""The largest flow through blocks that are all alike: structures of a rate, then devices for them, at higher rates in turn."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from partitioners.engine.flow_arrange import Arrangement
from partitioners.engine.flow_bound import EXACT, most_rate
from partitioners.engine.flow_network import Flow, Network, largest_flow
from partitioners.engine.flow_segments import structures

CLOSE = 2e-3
"""Relative distance between a rate that was reached and one that was not, at which the search ends."""
MOST_STRUCTURE_S = 3.0
"""Seconds for a structure; then the best one so far is taken."""
MOST_STRUCTURES = 6
"""Structures of a rate that are tried."""
ROUGH = 0.75
"""The share of the bound at which the search begins after it has failed at the bound itself."""


@dataclass(frozen=True)
class Solved:
    """A flow, and a rate that no flow exceeds."""

    flow: Flow
    most_rate: float

    @property
    def gap(self) -> float:
        """(bound - rate) / bound."""
        return max(0.0, 1.0 - self.flow.rate / self.most_rate) if self.most_rate > 0 else 0.0


def solve_uniform(network: Network, *, time_limit_s: float, seed: int) -> Solved:
    """The largest flow that is found, and its bound.

    Args:
        network: Devices and blocks that are all alike.
        time_limit_s: Seconds after which the search ends.
        seed: Of the choice of devices.

    Returns:
        The flow, of rate 0 if none was found in time, and the bound.
    """
    from scipy import optimize  # noqa: F401  # importing it is no part of the search

    begin = perf_counter()
    deadline_s = begin + time_limit_s
    bound = most_rate(network, 0.0, begin + time_limit_s / 4)
    best = _reach(network, bound * (1 - EXACT), seed, begin + time_limit_s / 3) if bound > 0 else Flow((), 0.0, {})
    low, high, rate = best.rate, bound, ROUGH * bound
    while best.rate < bound * (1 - CLOSE) and high > low * (1 + CLOSE) and perf_counter() < deadline_s:
        left_s = deadline_s - perf_counter()
        flow = _reach(network, rate, seed, perf_counter() + max(1.0, left_s / 3))
        best = max(best, flow, key=lambda each: each.rate)
        low, high = max(low, best.rate), high if flow.rate >= rate * (1 - 1e-6) else rate
        high = max(high, low)
        rate = (low + high) / 2 if low > 0 else ROUGH * rate
    return Solved(best, most_rate(network, best.rate, perf_counter() + 1.0) if best.rate >= bound * (1 - CLOSE) else bound)


def _reach(network: Network, rate: float, seed: int, deadline_s: float) -> Flow:
    """A flow of at least this rate if one is found in time, otherwise the largest one of those that were tried."""
    best = Flow((), 0.0, {})
    for number, (teams, segments) in enumerate(
        structures(network, rate, min(MOST_STRUCTURE_S, max(0.5, deadline_s - perf_counter())))
    ):
        left_s = deadline_s - perf_counter()
        arrangement = Arrangement(network, teams, segments, rate, seed + number)
        arrangement.search(perf_counter() + max(0.5, left_s / 2))
        best = max(best, largest_flow(network, arrangement.placement()), key=lambda each: each.rate)
        if best.rate >= rate * (1 - 1e-6) or number + 1 == MOST_STRUCTURES or perf_counter() > deadline_s:
            break
    return best
