"""What the links say about the sequences in which items can visit devices."""

from __future__ import annotations

import numpy as np

from multiedge.profile import Bools, Floats
from partitioners.engine.flow_network import Network

DIGITS = 3
"""Weights are rounded to so many digits, since they only guide the choice of a structure."""


def sites_of(network: Network, rate: float) -> list[list[int]]:
    """Devices that reach each other, by way of others of their site, over links that carry a rate in both directions.

    Args:
        network: Devices and blocks that are all alike.
        rate: Items per second.

    Returns:
        Numbers of the devices of each site; those that can hold nothing are left out.
    """
    return _components(network, carries(network, rate), "strong")


def groups_of(network: Network, rate: float) -> list[list[int]]:
    """The same for links that carry the rate in one direction: no item leaves a group over a link that carries the rate."""
    return _components(network, carries(network, rate), "weak")


def carries(network: Network, rate: float) -> Bools:
    """Whether the link from each device to each other one carries a rate."""
    return np.asarray(network.per_byte_s * network.cut_bytes[0] * rate <= 1 + 1e-9)


def _components(network: Network, linked: Bools, connection: str) -> list[list[int]]:
    from scipy.sparse.csgraph import connected_components

    _, labels = connected_components(linked, directed=True, connection=connection)
    usable = [device for device, rates in enumerate(network.rates) if len(rates)]
    return [[device for device in usable if labels[device] == label] for label in sorted({int(labels[d]) for d in usable})]


def visit_weights(network: Network, rate: float) -> Floats:
    """Weights of the devices that add up to 1 at most on every path, and that make the links the tightest limit.

    The program: items flow at `rate` over the links from the source to the sink and pass each device at most at the rate that
    its number of blocks allows; it maximises the blocks that they pass. Devices that many others depend on get negative weights
    from its dual, and those that can only be reached through them positive ones.

    Args:
        network: Devices and blocks that are all alike.
        rate: Items per second.

    Returns:
        A weight for each device, all 0 where links are no limit.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    count = len(network)
    linked = np.isfinite(network.per_byte_s)
    np.fill_diagonal(linked, False)
    sources, targets = np.nonzero(linked)
    entering, leaving = (np.nonzero(np.isfinite(each))[0] for each in (network.enter_per_byte_s, network.leave_per_byte_s))
    held = [
        (device, k + 1, min(1.0, each / rate)) for device, rates in enumerate(network.rates) for k, each in enumerate(rates)
    ]
    holders = np.array([device for device, *_ in held])
    arcs, first = len(sources), len(sources) + len(entering) + len(leaving)
    visits = first + np.arange(len(held))
    shares = visits + len(held)
    rows = [targets, entering, holders, count + sources, count + leaving, count + holders, np.full(len(entering), 2 * count)]
    columns = [
        np.arange(arcs),
        arcs + np.arange(len(entering)),
        visits,
        np.arange(arcs),
        arcs + len(entering) + np.arange(len(leaving)),
        visits,
        arcs + np.arange(len(entering)),
    ]
    signs = [
        np.ones(arcs),
        np.ones(len(entering)),
        -np.ones(len(held)),
        np.ones(arcs),
        np.ones(len(leaving)),
        -np.ones(len(held)),
    ]
    balance = csr_array(
        (np.concatenate([*signs, np.ones(len(entering))]), (np.concatenate(rows), np.concatenate(columns))),
        shape=(2 * count + 1, first + 2 * len(held)),
    )
    limited = csr_array(
        (
            np.concatenate([np.ones(len(held)), -np.array([most for *_, most in held]), np.ones(len(held))]),
            (
                np.concatenate([np.arange(len(held)), np.arange(len(held)), len(held) + holders]),
                np.concatenate([visits, shares, shares]),
            ),
        ),
        shape=(len(held) + count, first + 2 * len(held)),
    )
    most = np.full(first + 2 * len(held), np.inf)
    seconds = network.per_byte_s[sources, targets] * network.cut_bytes[0] * rate
    most[:arcs] = np.minimum(1.0, 1.0 / np.maximum(seconds, 1e-300))
    most[arcs:first] = 1.0
    gain = np.zeros(len(most))
    gain[visits] = [-float(length) for _, length, _ in held]
    answer = linprog(
        gain,
        A_ub=limited,
        b_ub=np.concatenate([np.zeros(len(held)), np.ones(count)]),
        A_eq=balance,
        b_eq=np.concatenate([np.zeros(2 * count), [1.0]]),
        bounds=np.stack([np.zeros(len(most)), most], axis=1),
        method="highs",
    )
    if answer.status != 0:
        return np.zeros(count)
    prices = answer.eqlin.marginals
    scale = abs(float(prices[2 * count]))
    if scale < 1e-6:
        return np.zeros(count)
    return np.asarray(np.round((prices[:count] + prices[count : 2 * count]) / scale, DIGITS))
