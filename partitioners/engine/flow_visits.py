"""What the links say about the sequences in which items can visit devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from multiedge.profile import Bools, Floats, Ints
from partitioners.engine.flow_network import Network

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DIGITS = 3
"""Weights are rounded to so many digits, since they only guide the choice of a structure."""
LEAST_PRICE = 1e-6
"""Links are no limit where the price of a visit is below this, in blocks."""
LEAST_SECONDS = 1e-300
"""In place of 0 in divisions."""


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
    program = _Visits.of(network, rate)
    prices = program.prices()
    count = len(network)
    scale = abs(float(prices[2 * count])) if prices is not None else 0.0
    if prices is None or scale < LEAST_PRICE:
        return np.zeros(count)
    return np.asarray(np.round((prices[:count] + prices[count : 2 * count]) / scale, DIGITS))


@dataclass(frozen=True, eq=False)
class _Visits:
    """Columns: the flow over each link, from the source to each device, from each device to the sink, through each (device,
    number of blocks), and the share of the device that holds so many; all flows relative to the rate.

    Attributes:
        network: The network.
        rate: Items per second.
        links: Sending and receiving device of each link, (2, links).
        entering, leaving: Devices that are linked to the source and to the sink.
        held: Device, number of blocks and the most flow, for each (device, number of blocks).
    """

    network: Network
    rate: float
    links: Ints
    entering: Ints
    leaving: Ints
    held: tuple[tuple[int, int, float], ...]

    @classmethod
    def of(cls, network: Network, rate: float) -> _Visits:
        linked = np.isfinite(network.per_byte_s)
        np.fill_diagonal(linked, False)
        entering, leaving = (np.nonzero(np.isfinite(each))[0] for each in (network.enter_per_byte_s, network.leave_per_byte_s))
        held = tuple(
            (device, k + 1, min(1.0, each / rate)) for device, rates in enumerate(network.rates) for k, each in enumerate(rates)
        )
        return cls(network, rate, np.stack(np.nonzero(linked)), entering, leaving, held)

    def prices(self) -> Floats | None:
        """The dual values of what enters each device, of what leaves each, and of what comes from the source; None if the rate
        cannot flow."""
        from scipy.optimize import linprog

        into, out, through, shares, total = self._columns()
        limits, balance, most = (
            self._limits(through, shares, total),
            self._balance(into, out, through, total),
            np.full(total, np.inf),
        )
        links = self.links.shape[1]
        seconds = self.network.per_byte_s[tuple(self.links)] * self.network.cut_bytes[0] * self.rate
        most[:links] = np.minimum(1.0, 1.0 / np.maximum(seconds, LEAST_SECONDS))
        most[links : through[0]] = 1.0
        gain = np.zeros(total)
        gain[through] = [-float(blocks) for _, blocks, _ in self.held]
        count = len(self.network)
        answer = linprog(
            gain,
            A_ub=limits,
            b_ub=np.concatenate([np.zeros(len(self.held)), np.ones(count)]),
            A_eq=balance,
            b_eq=np.concatenate([np.zeros(2 * count), [1.0]]),
            bounds=np.stack([np.zeros(total), most], axis=1),
            method="highs",
        )
        return np.asarray(answer.eqlin.marginals) if answer.status == 0 else None

    def _columns(self) -> tuple[Ints, Ints, Ints, Ints, int]:
        """Columns from the source, to the sink, through devices, and of shares; and how many there are."""
        links, held = self.links.shape[1], len(self.held)
        into = links + np.arange(len(self.entering))
        out = links + len(self.entering) + np.arange(len(self.leaving))
        through = links + len(self.entering) + len(self.leaving) + np.arange(held)
        return into, out, through, through + held, int(links + len(self.entering) + len(self.leaving) + 2 * held)

    def _balance(self, into: Ints, out: Ints, through: Ints, total: int) -> csr_array:
        """What enters each device passes it, and so does what leaves it; all of the rate comes from the source."""
        from scipy.sparse import csr_array

        count, (sources, targets) = len(self.network), self.links
        links, holders = np.arange(len(sources)), np.array([device for device, *_ in self.held], dtype=np.int64)
        rows = [
            targets,
            self.entering,
            holders,
            count + sources,
            count + self.leaving,
            count + holders,
            np.full(len(into), 2 * count),
        ]
        columns = [links, into, through, links, out, through, into]
        signs = [1.0, 1.0, -1.0, 1.0, 1.0, -1.0, 1.0]
        values = np.concatenate([np.full(len(row), sign) for row, sign in zip(rows, signs, strict=True)])
        return csr_array((values, (np.concatenate(rows), np.concatenate(columns))), shape=(2 * count + 1, total))

    def _limits(self, through: Ints, shares: Ints, total: int) -> csr_array:
        """A device passes no more than its number of blocks allows, and its shares are at most 1 together."""
        from scipy.sparse import csr_array

        held = len(self.held)
        holders = np.array([device for device, *_ in self.held], dtype=np.int64)
        rows = np.concatenate([np.arange(held), np.arange(held), held + holders])
        values = np.concatenate([np.ones(held), -np.array([most for *_, most in self.held]), np.ones(held)])
        return csr_array((values, (rows, np.concatenate([through, shares, shares]))), shape=(held + len(self.network), total))
