"""When items are due: at a constant rate, or at random moments of the same mean rate."""

from __future__ import annotations

import random
from collections.abc import Iterator


def poisson_times(rate_per_s: float, seed: int) -> Iterator[float]:
    """Seconds from the start at which the items of a Poisson process are due, the same for the same seed, without end."""
    rng, due_s = random.Random(seed), 0.0
    while True:
        due_s += rng.expovariate(rate_per_s)
        yield due_s
