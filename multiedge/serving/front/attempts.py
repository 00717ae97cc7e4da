"""What to do next for a request: a function of its attempts and of the rows on which it may be tried.

A request is tried on the rows of a plan table in order. An attempt that takes longer than a multiple of its row's p99 is left
for the next row; it is not ended, and whichever attempt answers first is the answer. Nothing here reads a clock or waits, so a
test can put any situation to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from multiedge.errors import ConfigError, require_least
from multiedge.serving.front.breaker import MOST_DOUBLED


class Outcome(Enum):
    """What became of an attempt that has not answered."""

    PENDING = "pending"
    ITEM_FAILED = "item failed"
    """The row works and could not compute this request: it is not tried there again."""
    ROW_FAILED = "row failed"
    """The row has ended or could not start; it may be tried again once its breaker permits."""


@dataclass(frozen=True)
class AttemptRules:
    """How long attempts may take.

    Attributes:
        deadline_factor: An attempt may take so many times the p99 of its row, until the next row is tried.
        least_deadline_s: It may take this long in any case; below that, other work on the machine decides.
        unknown_deadline_s: How long it may take on a row of which no time is known.
        hedge_factor: After so many times the p99 a second attempt begins beside the first; None for never.
        pause_s: The time before a row is tried again by a request for which it has failed; it doubles each time.
        patience_s: How long a request without a deadline of its own may take.

    Raises:
        ConfigError: If a value is too small, or hedging would begin later than the deadline.
    """

    deadline_factor: float = 4.0
    least_deadline_s: float = 0.25
    unknown_deadline_s: float = 5.0
    hedge_factor: float | None = None
    pause_s: float = 0.1
    patience_s: float = 60.0

    def __post_init__(self) -> None:
        require_least("deadline_factor", self.deadline_factor, 1.0)
        for name, value in vars(self).items():
            if name.endswith("_s"):
                require_least(name, value, 0.0)
        if self.hedge_factor is not None and not 0 < self.hedge_factor < self.deadline_factor:
            raise ConfigError(
                f"hedge_factor: expected more than 0 and less than deadline_factor, {self.deadline_factor:g}, got"
                f" {self.hedge_factor:g}"
            )

    def limit_s(self, p99_s: float | None) -> float:
        """How long an attempt may take on a row with this p99; None is not known."""
        if p99_s is None:
            return max(self.least_deadline_s, self.unknown_deadline_s)
        return max(self.least_deadline_s, self.deadline_factor * p99_s)

    def hedge_s(self, p99_s: float | None) -> float | None:
        """When a second attempt begins beside one on such a row; None for never."""
        return None if self.hedge_factor is None or p99_s is None else self.hedge_factor * p99_s


@dataclass(frozen=True)
class RowView:
    """A row on which a request may be tried.

    Attributes:
        name: Unique in the table.
        p99_s: What an answer takes in 99 of 100 cases: as seen, otherwise as profiled; None is not known.
        is_usable: Whether its breaker permits an attempt now.
    """

    name: str
    p99_s: float | None = None
    is_usable: bool = True


@dataclass(frozen=True)
class Attempt:
    """An attempt that was begun. `limit_s` is how long it may take before another row is tried, `hedge_s` the same for an
    attempt beside it; None for never."""

    row: str
    begun_s: float
    limit_s: float
    hedge_s: float | None = None
    outcome: Outcome = Outcome.PENDING
    failed_s: float | None = None

    @property
    def is_pending(self) -> bool:
        """Whether it may still answer."""
        return self.outcome is Outcome.PENDING

    def is_late(self, now_s: float) -> bool:
        """Whether it may still answer, and is not waited for alone any more."""
        return self.is_pending and now_s >= self.begun_s + self.limit_s


@dataclass(frozen=True)
class Begin:
    """Begin this attempt."""

    attempt: Attempt
    is_hedge: bool = False


@dataclass(frozen=True)
class Wait:
    """Nothing is to be done until then, unless an attempt answers or fails."""

    until_s: float


class GaveUp(Enum):
    """Why a request is not answered."""

    TIME_OVER = "time over"
    FAILED_EVERYWHERE = "failed on every row"


@dataclass(frozen=True)
class GiveUp:
    """The request is answered with an error."""

    reason: GaveUp


Step = Begin | Wait | GiveUp


def next_step(
    rules: AttemptRules, rows: Sequence[RowView], attempts: Sequence[Attempt], now_s: float, give_up_s: float
) -> Step:
    """What to do next for a request that has no answer yet.

    Args:
        rules: How long attempts may take.
        rows: Where it may be tried, in order of preference.
        attempts: Those that were begun, in order.
        now_s: The time.
        give_up_s: When the time of the request is over.

    Returns:
        An attempt to begin, a time to wait until, or the end of the request.
    """
    if now_s >= give_up_s:
        return GiveUp(GaveUp.TIME_OVER)
    timely = [each for each in attempts if each.is_pending and not each.is_late(now_s)]
    if timely:
        return _beside(rules, rows, attempts, timely, now_s, give_up_s)
    refused = {each.row for each in attempts if each.outcome is Outcome.ITEM_FAILED}
    pending = {each.row for each in attempts if each.is_pending}
    left = [row for row in rows if row.name not in refused]
    if not left and not pending:
        return GiveUp(GaveUp.FAILED_EVERYWHERE)
    due_s = {row.name: _due_s(rules, row.name, attempts) for row in left if row.is_usable and row.name not in pending}
    # A row that was not tried comes before one that has failed, and rows that failed equally often in their order.
    ready = [row for row in left if row.name in due_s and due_s[row.name] <= now_s]
    if ready:
        return Begin(_attempt(rules, min(ready, key=lambda row: _count(row.name, attempts)), now_s))
    return Wait(min(give_up_s, now_s + rules.pause_s, *due_s.values()))


def _beside(
    rules: AttemptRules,
    rows: Sequence[RowView],
    attempts: Sequence[Attempt],
    timely: Sequence[Attempt],
    now_s: float,
    give_up_s: float,
) -> Step:
    """Waits for attempts, or begins one beside a slow one: at most two are waited for."""
    until_s = min(give_up_s, *(each.begun_s + each.limit_s for each in timely))
    if len(timely) == 1 and timely[0].hedge_s is not None:
        tried = {each.row for each in attempts}
        fresh = [row for row in rows if row.is_usable and row.name not in tried]
        if fresh:
            hedge_at_s = timely[0].begun_s + timely[0].hedge_s
            if now_s >= hedge_at_s:
                return Begin(_attempt(rules, fresh[0], now_s), is_hedge=True)
            until_s = min(until_s, hedge_at_s)
    return Wait(until_s)


def _attempt(rules: AttemptRules, row: RowView, now_s: float) -> Attempt:
    return Attempt(row.name, now_s, rules.limit_s(row.p99_s), rules.hedge_s(row.p99_s))


def _count(row: str, attempts: Sequence[Attempt]) -> int:
    return sum(each.row == row for each in attempts)


def _due_s(rules: AttemptRules, row: str, attempts: Sequence[Attempt]) -> float:
    """When the row may be tried: immediately the first time, later and later after it has failed."""
    failed = [each.failed_s for each in attempts if each.row == row and each.failed_s is not None]
    return failed[-1] + rules.pause_s * 2 ** min(len(failed) - 1, MOST_DOUBLED) if failed else 0.0
