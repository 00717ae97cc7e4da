"""When requests are due: patterns of a mean rate. Options are the fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from multiedge.arrivals import constant_times, gamma_times, poisson_times
from multiedge.errors import ConfigError

Distribution = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
"""The share of times between arrivals, in seconds, that are at most so long."""


class Pattern(Protocol):
    """Says when requests are due."""

    def times_s(self, seed: int) -> Iterator[float]:
        """Seconds from the start at which requests are due, ascending; the same for the same seed. It may end.

        Args:
            seed: Of random times; other patterns need none.

        Returns:
            The times.
        """
        ...

    def intervals(self) -> Distribution | None:
        """How the times between arrivals are distributed.

        Returns:
            The distribution; None where they are not random, or where what is sent cannot have it.
        """
        ...


@dataclass(frozen=True)
class Constant:
    """Evenly spaced requests."""

    rate_per_s: float

    def __post_init__(self) -> None:
        _require_rate("constant", self.rate_per_s)

    def times_s(self, seed: int) -> Iterator[float]:
        return constant_times(self.rate_per_s)

    def intervals(self) -> None:
        return None


@dataclass(frozen=True)
class Poisson:
    """Requests of many independent users: what came before says nothing of when the next one comes."""

    rate_per_s: float

    def __post_init__(self) -> None:
        _require_rate("poisson", self.rate_per_s)

    def times_s(self, seed: int) -> Iterator[float]:
        return poisson_times(self.rate_per_s, seed)

    def intervals(self) -> Distribution:
        return lambda seconds: -np.expm1(-self.rate_per_s * seconds)


@dataclass(frozen=True)
class Gamma:
    """Requests that come in bursts: `cv` is the coefficient of variation of the times between them, 1 for Poisson."""

    rate_per_s: float
    cv: float = 2.0

    def __post_init__(self) -> None:
        _require_rate("gamma", self.rate_per_s)
        if not 0.05 <= self.cv <= 20:
            raise ConfigError(f"pattern 'gamma': cv: expected 0.05 to 20, got {self.cv:g}; 1 is poisson, and constant has 0")

    def times_s(self, seed: int) -> Iterator[float]:
        return gamma_times(self.rate_per_s, self.cv, seed)

    def intervals(self) -> None:
        """None: within a burst, requests are due closer together than they can be sent."""


def _require_rate(pattern: str, rate_per_s: float) -> None:
    if not 0 < rate_per_s < float("inf"):
        raise ConfigError(f"pattern '{pattern}': expected a rate above 0 requests per second, got {rate_per_s:g}")
