"""Which plan of a deployment answers a request: a function of the table, the request's bounds and the condition of the fleet.

A plan that cannot be used now, uses other devices where that is off, or has its first or last stage elsewhere than the request
demands, is excluded. Of the others, those count that keep all bounds; of these the preferred one answers. If none does, the
nearest one is that with the smallest distance:

    distance = (number of bounds whose value is unknown, sum over the bounds that are not kept of |offered - bound| / bound)

compared in this order, so that an unknown value never counts as a small one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from multiedge.network.records import PlanRow
from multiedge.quantity import at_least, at_most
from multiedge.serving.front.bounds import Bounds, Otherwise, Prefer

LOW_BATTERY = 0.2
"""A battery with a smaller share of its charge is to be spared."""
ROUNDING = 1e-9
"""Relative: values that differ less are the same, whatever unit they were stated in."""
MOST_LISTED = 4
"""Excluded plans that a refusal names."""


class Limit(Enum):
    """A bound: the parameter that states it, its unit in a text, and whether it is a least value."""

    LATENCY = ("max_latency_ms", "{} ms", False)
    ACCURACY = ("min_accuracy", "accuracy {}", True)
    ENERGY = ("max_energy_j", "{} J", False)

    def __init__(self, parameter: str, text: str, is_least: bool) -> None:
        self.parameter, self.text, self.is_least = parameter, text, is_least


class Cause(Enum):
    """Why a plan may not answer a request, in words, and the kind of plan that might; '' for none."""

    NOT_ASKED = ("is not the one that the request names", "")
    UNUSABLE = ("cannot be used now", "")
    APPROXIMATE = ("only approximates the model, and the request states no min_accuracy", "")
    REMOTE = ("uses other devices, which the request or the offload switch forbids", "local")
    FIRST = ("does not begin on the calling device", "first")
    LAST = ("does not end on the calling device", "last")

    def __init__(self, words: str, kind: str) -> None:
        self.words, self.kind = words, kind


class Why(Enum):
    """Why a plan was chosen."""

    PREFERRED = "keeps all bounds"
    BATTERY = "keeps all bounds and takes least of the calling device, whose battery is low"
    NEAREST = "is nearest to the bounds, which no plan keeps"


@dataclass(frozen=True)
class RowState:
    """A plan now.

    Attributes:
        is_usable: Whether it can answer.
        reason: Why not; '' if it can, or if the reason is not known.
        waiting: Requests that it must answer before this one.
        seen_latency_s: The latency that it lately had without waiting, in place of the expected one; None if not seen.
    """

    is_usable: bool = True
    reason: str = ""
    waiting: int = 0
    seen_latency_s: float | None = None


@dataclass(frozen=True)
class Condition:
    """The fleet as the front end knows it.

    Attributes:
        device: The calling device; '' if the caller is no device of the fleet.
        may_offload: Whether other devices may be used for this request; the front end's policy has decided it.
        battery: Share of the charge of the calling device's battery; the request's own statement goes before it.
        low_battery: Below this share the battery is spared.
        rows: The plans by name; of those that are missing nothing is known to be wrong.
    """

    device: str = ""
    may_offload: bool = True
    battery: float | None = None
    low_battery: float = LOW_BATTERY
    rows: Mapping[str, RowState] = field(default_factory=dict)


@dataclass(frozen=True)
class Miss:
    """A bound that a plan does not keep. Values are in the unit of the parameter; `offered` None is not known."""

    limit: Limit
    bound: float
    offered: float | None

    @property
    def share(self) -> float:
        """How far the plan is from the bound, relative to it; 0 if the offered value is not known."""
        return 0.0 if self.offered is None else abs(self.offered - self.bound) / self.bound

    @property
    def offer(self) -> str:
        """What the plan offers, in words."""
        return self.limit.text.format("unknown" if self.offered is None else f"{self.offered:.4g}")

    @property
    def remedy(self) -> str:
        """The change to the bound that the plan would keep."""
        if self.offered is None:
            return f"leave {self.limit.parameter} out"
        value = at_most(self.offered) if self.limit.is_least else at_least(self.offered)
        return f"set {self.limit.parameter}={value}"


@dataclass(frozen=True)
class Offer:
    """What a plan offers: the expected latency, the time in queues included, and the bounds that it does not keep."""

    row: PlanRow
    latency_s: float | None
    misses: tuple[Miss, ...] = ()

    @property
    def distance(self) -> tuple[int, float]:
        """How far it is from the bounds, as the module defines it; (0, 0) if it keeps all."""
        return sum(miss.offered is None for miss in self.misses), sum(miss.share for miss in self.misses)


@dataclass(frozen=True)
class Choice:
    """The plan that answers; `offer` has the bounds that it does not keep, for the nearest one."""

    offer: Offer
    why: Why

    @property
    def row(self) -> PlanRow:
        """The plan's row of the table."""
        return self.offer.row


@dataclass(frozen=True)
class Excluded:
    """A plan that may not answer; `detail` is the reason of one that cannot be used, '' if that is not known."""

    row: PlanRow
    cause: Cause
    detail: str = ""

    def __str__(self) -> str:
        return f"'{self.row.name}' {self.cause.words}{f' ({self.detail})' if self.detail else ''}"


@dataclass(frozen=True)
class Refusal:
    """No plan answers. `nearest` is what came nearest to the bounds, None if every plan is excluded; `str` is one line."""

    nearest: Offer | None
    excluded: tuple[Excluded, ...] = ()

    def __str__(self) -> str:
        if self.nearest is None:
            names = [each.row.name for each in self.excluded if each.cause is Cause.NOT_ASKED]
            if names and len(names) == len(self.excluded):
                return f"no plan has the name that the request asks for; there are: {', '.join(names)}"
            kinds = dict.fromkeys(each.cause.kind for each in self.excluded if each.cause.kind)
            remedy = f"; multiedge deploy --rows KINDS with {' and '.join(kinds)} makes such a plan" if kinds else ""
            return f"no plan may answer: {self._listed()}{remedy}"
        misses = self.nearest.misses
        bounds = " and ".join(f"{miss.limit.parameter}={miss.bound:.6g}" for miss in misses)
        offers = " and ".join(miss.offer for miss in misses)
        remedy = " and ".join(miss.remedy for miss in misses)
        others = f"; {self._listed()}" if self.excluded else ""
        return (
            f"no plan keeps {bounds}: the nearest, '{self.nearest.row.name}', offers {offers};"
            f" {remedy}, or otherwise={Otherwise.NEAREST.value}{others}"
        )

    def _listed(self) -> str:
        shown = "; ".join(str(each) for each in self.excluded[:MOST_LISTED])
        more = len(self.excluded) - MOST_LISTED
        return f"{shown}; and {more} more" if more > 0 else shown or "the deployment has none"


def choose(rows: Sequence[PlanRow], bounds: Bounds, condition: Condition = Condition()) -> Choice | Refusal:
    """The plan that answers a request.

    Args:
        rows: The plans of the deployment; of equally good ones the first is taken.
        bounds: What the request asks.
        condition: The fleet now.

    Returns:
        The Choice, which keeps all bounds unless the request allows the nearest plan; otherwise the Refusal.
    """
    excluded = [each for row in rows if (each := _excluded(row, bounds, condition))]
    names = {each.row.name for each in excluded}
    offers = [_offer(row, bounds, condition) for row in rows if row.name not in names]
    keeping = [offer for offer in offers if not offer.misses]
    battery = condition.battery if bounds.battery is None else bounds.battery
    spares = bool(condition.device) and battery is not None and battery < condition.low_battery
    device = condition.device if spares else ""
    if keeping:
        best = min(keeping, key=lambda offer: _worth(offer, bounds.prefer, device))
        return Choice(best, Why.BATTERY if spares else Why.PREFERRED)
    if not offers:
        return Refusal(None, tuple(excluded))
    nearest = min(offers, key=lambda offer: (offer.distance, _worth(offer, bounds.prefer, device)))
    if bounds.otherwise is Otherwise.NEAREST:
        return Choice(nearest, Why.NEAREST)
    return Refusal(nearest, tuple(excluded))


def _excluded(row: PlanRow, bounds: Bounds, condition: Condition) -> Excluded | None:
    """Why a plan may not answer at all; None if it may."""
    own = {condition.device} if condition.device else set()
    state = condition.rows.get(row.name, RowState())
    if bounds.row not in ("", row.name):
        return Excluded(row, Cause.NOT_ASKED)
    if not state.is_usable:
        return Excluded(row, Cause.UNUSABLE, state.reason)
    if row.is_approximate and bounds.min_accuracy is None and not bounds.row:
        return Excluded(row, Cause.APPROXIMATE)
    if (bounds.offload is False or not condition.may_offload) and not (row.nodes and set(row.nodes) <= own):
        return Excluded(row, Cause.REMOTE)
    if bounds.first_on_device and not (row.first and set(row.first) <= own):
        return Excluded(row, Cause.FIRST)
    if bounds.last_on_device and not (row.last and set(row.last) <= own):
        return Excluded(row, Cause.LAST)
    return None


def _offer(row: PlanRow, bounds: Bounds, condition: Condition) -> Offer:
    state, expected = condition.rows.get(row.name, RowState()), row.expected
    latency_s = _latency_s(row, state)
    asked = (
        (Limit.LATENCY, _in_ms(bounds.max_latency_s), _in_ms(latency_s)),
        (Limit.ACCURACY, bounds.min_accuracy, expected.accuracy),
        (Limit.ENERGY, bounds.max_energy_j, expected.energy_j),
    )
    misses = (Miss(limit, bound, offered) for limit, bound, offered in asked if bound and not _keeps(limit, bound, offered))
    return Offer(row, latency_s, tuple(misses))


def _keeps(limit: Limit, bound: float, offered: float | None) -> bool:
    if offered is None:
        return False
    return offered >= bound * (1 - ROUNDING) if limit.is_least else offered <= bound * (1 + ROUNDING)


def _latency_s(row: PlanRow, state: RowState) -> float | None:
    """The latency of one item alone, and the time until those before it are answered."""
    alone_s = row.expected.latency_s if state.seen_latency_s is None else state.seen_latency_s
    if alone_s is None or not state.waiting:
        return alone_s
    rate = row.expected.items_per_s
    return alone_s + state.waiting / rate if rate else None


def _in_ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _worth(offer: Offer, prefer: Prefer, spared: str) -> tuple[tuple[bool, float], ...]:
    """A key that is smallest for the preferred plan; what is not known comes last. A device to be spared goes before all."""
    latency, energy = _known_first(offer.latency_s), _known_first(offer.row.expected.energy_j)
    accuracy = offer.row.expected.accuracy
    most_accurate = _known_first(None if accuracy is None else -accuracy)
    preferred = {
        Prefer.LATENCY: (latency, energy),
        Prefer.ENERGY: (energy, latency),
        Prefer.ACCURACY: (most_accurate, latency),
    }[prefer]
    if not spared:
        return preferred
    return (_known_first(_taken(offer.row, spared)), *preferred)


def _taken(row: PlanRow, device: str) -> float | None:
    """What an item takes of a device: joules, or seconds of computing where it states no power; None if that is not known."""
    work = row.expected.work_of(device)
    if work is None:
        return None
    return work.busy_s if work.energy_j is None else work.energy_j


def _known_first(value: float | None) -> tuple[bool, float]:
    return value is None, value or 0.0
