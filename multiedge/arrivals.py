"""When items are due: at a constant rate, or at random moments of the same mean rate."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count


def constant_times(rate_per_s: float) -> Iterator[float]:
    """Seconds from the start at which evenly spaced items are due, the first at the start, without end."""
    return (number / rate_per_s for number in count())


def poisson_times(rate_per_s: float, seed: int) -> Iterator[float]:
    """Seconds from the start at which the items of a Poisson process are due, the same for the same seed, without end."""
    rng, due_s = random.Random(seed), 0.0
    while True:
        due_s += rng.expovariate(rate_per_s)
        yield due_s


def gamma_times(rate_per_s: float, cv: float, seed: int) -> Iterator[float]:
    """As `poisson_times`, with times between arrivals from a gamma distribution whose coefficient of variation is `cv`: 1 is
    Poisson, more comes in bursts, less is more even."""
    rng, due_s = random.Random(seed), 0.0
    shape = cv**-2
    while True:
        due_s += rng.gammavariate(shape, 1.0 / (shape * rate_per_s))
        yield due_s
