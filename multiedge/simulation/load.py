"""The load on a simulated pipeline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

from multiedge.arrivals import poisson_times
from multiedge.errors import ConfigError
from multiedge.plan import Plan


@dataclass(frozen=True)
class Load:
    """The load on the pipeline: `items` timed ones after `warmup`, due every `interval_s` (0: all at the start), at most
    `in_flight` under way (None: as many as fill the pipeline).

    With a `seed`, items are due at the moments of a Poisson process with that mean interval: those of scenario 'server'.
    """

    items: int = 100
    warmup: int = 0
    interval_s: float = 0.0
    in_flight: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if (
            self.items < 1
            or self.warmup < 0
            or not 0 <= self.interval_s < math.inf
            or (self.in_flight is not None and self.in_flight < 1)
        ):
            raise ConfigError(
                "load: expected items from 1, warmup from 0, interval_s from 0 and in_flight from 1,"
                f" got {self.items}, {self.warmup}, {self.interval_s} and {self.in_flight}"
            )
        if self.seed is not None and not self.interval_s:
            raise ConfigError("load: a seed is that of random moments; expected interval_s above 0, got 0")

    def room(self, plan: Plan) -> int:
        """How many items may be under way: `in_flight`, otherwise those that keep the bottleneck busy, which are those that
        the latency covers and two for each stage."""
        if self.in_flight is not None:
            return self.in_flight
        expected = plan.estimate
        covered = math.ceil(expected.latency_s / expected.bottleneck_s) if expected.bottleneck_s > 0 else 0
        return 2 * len(plan.stages) + min(covered, 100_000) + 2

    def due_s(self) -> list[float]:
        """Seconds from the start at which each item is due, warm-up included."""
        count = self.warmup + self.items
        if self.seed is None:
            return [number * self.interval_s for number in range(count)]
        return list(islice(poisson_times(1.0 / self.interval_s, self.seed), count))
