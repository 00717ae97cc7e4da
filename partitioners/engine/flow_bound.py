"""Rates that no flow through blocks that are all alike can exceed.

Let F be a rate that a placement reaches. Items pass every block at rate F, and each item is computed there by one of the
devices that hold the block; a device with k blocks passes at most rate_k items per second. So for every block

    sum over the devices that hold it of rate_k >= F.                                                                  (1)

Call the multiset of the (kind, k) of the devices that hold a block its pattern; by (1) it covers F. Let y_p be the number of
blocks with pattern p, and x_tk the number of devices of kind t that hold k blocks. Then

    sum_p y_p = blocks,   sum_p y_p count_p(t, k) <= k x_tk,   sum_k x_tk <= devices of kind t.                         (2)

If the linear program max sum_p y_p under (2), in real numbers, is below the number of blocks, no placement reaches F. The
program has a column for each pattern; those that pay are found by a knapsack problem: the cheapest multiset that covers F at
the prices of (2). Its rates are rounded up to multiples of F / GRID, which admits more patterns and keeps the bound valid; a
rate below F counts for GRID - 1 at most, which excludes no pattern, since each further device counts for at least 1. For any
prices, the value of the program is at most its present value divided by the cost of the cheapest pattern (Farley, 1990).

Links are left out, which only admits more, but for one rule. If every block were held by one device only, all items would go
from device to device over links that carry F. So if no group of devices that such links join can hold all blocks at rate F, at
least one block has several holders: the y_p of patterns with two or more devices add up to 1 at least.                (3)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from multiedge.profile import Floats, Ints
from partitioners.engine.flow_network import Network
from partitioners.engine.flow_visits import groups_of

GRID = 500
"""Steps into which a rate is divided. More steps make the bound tighter and slower."""
EXACT = 1e-9
"""Relative differences of rates that count as none."""
CLOSE = 1e-4
"""Relative distance between a rate that may be possible and one that is not, at which the search ends."""
MOST_ROUNDS = 300


@dataclass(frozen=True)
class Kind:
    """Devices with equal rates.

    Attributes:
        rates: Items per second of a device that holds 1, 2, ... blocks.
        devices: Their numbers.
    """

    rates: tuple[float, ...]
    devices: tuple[int, ...]


def kinds_of(network: Network) -> tuple[Kind, ...]:
    """The devices by their rates; those that can hold nothing are left out."""
    members: dict[tuple[float, ...], list[int]] = {}
    for device, rates in enumerate(network.rates):
        if len(rates):
            members.setdefault(tuple(rates.tolist()), []).append(device)
    return tuple(Kind(rates, tuple(devices)) for rates, devices in members.items())


def most_rate(network: Network, reached: float, deadline_s: float) -> float:
    """A rate that no placement exceeds.

    Args:
        network: Devices and blocks that are all alike.
        reached: A rate that is known to be possible; 0 if none is.
        deadline_s: The clock's time at which to stop; the bound is then weaker.

    Returns:
        Items per second, at least `reached`.
    """
    kinds = kinds_of(network)
    low, high = reached, _simple_bound(kinds, network.blocks)
    if reached > 0 and high > reached * (1 + EXACT) and not _may_reach(network, kinds, reached * (1 + EXACT)):
        return reached
    while high > low * (1 + CLOSE) and perf_counter() < deadline_s:
        middle = (low + high) / 2
        if _may_reach(network, kinds, middle):
            low = middle
        else:
            high = middle
    return max(reached, high)


def _simple_bound(kinds: Sequence[Kind], blocks: int) -> float:
    """All devices always busy with their most productive number of blocks."""
    return sum(len(kind.devices) * max((k + 1) * rate for k, rate in enumerate(kind.rates)) for kind in kinds) / blocks


def _shares_a_block(network: Network, rate: float) -> bool:
    """Whether (3) holds: no group of devices, joined by links that carry the rate, can hold all blocks at this rate."""
    for group in groups_of(network, rate):
        most = sum(max((k + 1 for k, each in enumerate(network.rates[d]) if each >= rate), default=0) for d in group)
        if most >= network.blocks:
            return False
    return True


def _may_reach(network: Network, kinds: Sequence[Kind], rate: float) -> bool:
    """Whether the program's value may be at least the number of blocks; false only with a proof.

    Columns: devices x, then patterns y. Rows: what the patterns use, the devices of each kind, and (3).
    """
    from scipy.optimize import linprog

    blocks, shares = network.blocks, _shares_a_block(network, rate)
    items = [(number, k + 1, each) for number, kind in enumerate(kinds) for k, each in enumerate(kind.rates)]
    weights = _weights(np.array([each for *_, each in items]), rate)
    patterns = [_repeated(number, -(-GRID // int(weight)), len(items)) for number, weight in enumerate(weights)]
    if shares:
        patterns += [_repeated(number, 2, len(items)) for number in range(len(items)) if weights[number] == GRID]
    for _ in range(MOST_ROUNDS):
        matrix, limits = _program(kinds, items, patterns, shares=shares)
        gain = np.concatenate([np.zeros(len(items)), -np.ones(len(patterns))])
        answer = linprog(gain, A_ub=matrix, b_ub=limits, method="highs")
        if answer.status != 0:
            return True
        value, prices = -float(answer.fun), np.maximum(0.0, -answer.ineqlin.marginals)
        if value >= blocks * (1 - EXACT):
            return True
        cost, pattern = _cheapest(prices[: len(items)], weights, float(prices[-1]) if shares else 0.0)
        if 0 < value <= blocks * cost * (1 - EXACT):
            return False
        if cost >= 1 - EXACT:
            return value >= blocks * (1 - 1e-7)
        patterns.append(pattern)
    return True


def _weights(rates: Floats, rate: float) -> Ints:
    """Rates in steps of the grid, rounded up: all of it for what is enough alone, and less for all others."""
    steps = np.ceil(np.minimum(rates / rate, 1.0) * GRID * (1 - 1e-12)).astype(np.int64)
    return np.where(rates >= rate, GRID, np.clip(steps, 1, GRID - 1))


def _repeated(item: int, times: int, count: int) -> Ints:
    pattern = np.zeros(count, dtype=np.int64)
    pattern[item] = times
    return pattern


def _program(
    kinds: Sequence[Kind], items: Sequence[tuple[int, int, float]], patterns: Sequence[Ints], *, shares: bool
) -> tuple[Floats, Floats]:
    """The rows of (2), and of (3) if blocks must have several holders."""
    matrix = np.zeros((len(items) + len(kinds) + shares, len(items) + len(patterns)))
    matrix[: len(items), len(items) :] = np.array(patterns).T
    for row, (kind, length, _) in enumerate(items):
        matrix[row, row] = -length
        matrix[len(items) + kind, row] = 1
    limits = [0.0] * len(items) + [float(len(kind.devices)) for kind in kinds]
    if shares:
        matrix[-1, len(items) :] = [-float(pattern.sum() > 1) for pattern in patterns]
        limits.append(-1.0)
    return matrix, np.array(limits)


def _cheapest(prices: Floats, weights: Ints, reward: float) -> tuple[float, Ints]:
    """The cheapest multiset of items whose weights reach GRID, and its cost, of which sets of several items save `reward`."""
    cost, last = np.zeros(GRID + 1), np.zeros(GRID + 1, dtype=np.int64)
    for steps in range(1, GRID + 1):
        totals = cost[np.maximum(0, steps - weights)] + prices
        last[steps] = np.argmin(totals)
        cost[steps] = totals[last[steps]]
    pattern = _listed(GRID, last, weights)
    if pattern.sum() > 1 or reward <= 0:
        return float(cost[GRID]) - reward * (pattern.sum() > 1), pattern
    # The cheapest one is a single item: the cheapest with one more is a first item and the best rest, of at least one item.
    rests = np.where(weights >= GRID, prices.min(), cost[np.maximum(0, GRID - weights)])
    first = int(np.argmin(prices + rests))
    several = float(prices[first] + rests[first]) - reward
    if several >= cost[GRID]:
        return float(cost[GRID]), pattern
    rest = GRID - int(weights[first])
    both = _listed(rest, last, weights) if rest > 0 else _repeated(int(np.argmin(prices)), 1, len(prices))
    both[first] += 1
    return several, both


def _listed(steps: int, last: Ints, weights: Ints) -> Ints:
    """The items that reach so many steps."""
    pattern = np.zeros(len(weights), dtype=np.int64)
    while steps > 0:
        pattern[last[steps]] += 1
        steps = max(0, steps - int(weights[last[steps]]))
    return pattern
