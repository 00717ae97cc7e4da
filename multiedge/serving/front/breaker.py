"""Whether a row of a plan table is tried: a circuit breaker that closes again, as values and functions of them.

Failures in a row open it: no request is tried there for a while. Then one request is the trial. Its answer closes the breaker,
its failure opens it for twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from multiedge.errors import require_least

MOST_DOUBLED = 20
"""A waiting time is doubled so often at most, however long a row is away."""


class Phase(Enum):
    """What requests may do."""

    CLOSED = "closed"
    OPEN = "open"
    TRIAL = "trial"


@dataclass(frozen=True)
class BreakerRules:
    """When a breaker opens, and for how long.

    Attributes:
        failures: So many in a row open it.
        wait_s: How long it is open the first time; it doubles with each trial that fails.
        longest_s: How long it is open at most.
        trial_s: How long a trial may take before the next one is permitted.

    Raises:
        ConfigError: If a value is too small.
    """

    failures: int = 3
    wait_s: float = 0.5
    longest_s: float = 30.0
    trial_s: float = 10.0

    def __post_init__(self) -> None:
        require_least("failures", self.failures, 1)
        require_least("wait_s", self.wait_s, 0.0)
        require_least("longest_s", self.longest_s, self.wait_s)
        require_least("trial_s", self.trial_s, 0.0)


@dataclass(frozen=True)
class Breaker:
    """The breaker of one row. `failures` are those in a row, `openings` the times it opened since the last answer; until
    `until_s` it stays open, or the trial may take."""

    phase: Phase = Phase.CLOSED
    failures: int = 0
    openings: int = 0
    until_s: float = 0.0

    def permits(self, now_s: float) -> bool:
        """Whether an attempt may begin now."""
        return self.phase is Phase.CLOSED or now_s >= self.until_s

    def begun(self, rules: BreakerRules, now_s: float) -> Breaker:
        """After an attempt began: the first one after the waiting time is the trial."""
        if self.phase is Phase.CLOSED:
            return self
        return replace(self, phase=Phase.TRIAL, until_s=now_s + rules.trial_s)

    def answered(self) -> Breaker:
        """After an attempt that answered in time."""
        return Breaker()

    def failed(self, rules: BreakerRules, now_s: float) -> Breaker:
        """After an attempt that failed, or took too long. Attempts that were begun before it opened do not prolong that."""
        failures = self.failures + 1
        if self.phase is Phase.OPEN or (self.phase is Phase.CLOSED and failures < rules.failures):
            return replace(self, failures=failures)
        return self.tripped(rules, now_s)

    def tripped(self, rules: BreakerRules, now_s: float) -> Breaker:
        """After a failure that leaves no doubt: the pipeline has ended."""
        wait_s = min(rules.longest_s, rules.wait_s * 2 ** min(self.openings, MOST_DOUBLED))
        return Breaker(Phase.OPEN, self.failures + 1, self.openings + 1, now_s + wait_s)
