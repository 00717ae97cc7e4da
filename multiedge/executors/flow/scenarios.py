"""When items are issued: the four scenarios of MLPerf Inference, by its names and rules.

Nothing here is an MLPerf result; only the names and rules are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from multiedge.arrivals import poisson_times
from multiedge.errors import ConfigError, did_you_mean

MULTI_STREAM_ITEMS = 8


@dataclass(frozen=True)
class Scenario:
    """`at_once` items are issued together, and the next only when all of them are answered (None: as fast as the
    pipeline takes them). With `rate_per_s`, items are due at random moments of a Poisson process instead. The run is valid
    only if its tail latency, as MLPerf defines it for the scenario, is within `latency_bound_s`."""

    name: str
    at_once: int | None = None
    rate_per_s: float | None = None
    latency_bound_s: float | None = None

    def due_times(self, seed: int) -> Iterator[float]:
        """Seconds from the start at which items are due; only for a scenario with a rate."""
        if self.rate_per_s is None:
            raise ConfigError(f"scenario '{self.name}' has no rate")
        return poisson_times(self.rate_per_s, seed)


SCENARIOS = {"offline": "Offline", "singlestream": "SingleStream", "multistream": "MultiStream", "server": "Server"}


def scenario(name: str, *, rate_per_s: float | None = None, latency_bound_s: float | None = None) -> Scenario:
    """The scenario of that name; `server` needs `rate_per_s` and may have a `latency_bound_s`, the others take neither."""
    key = name.lower().replace("-", "").replace("_", "")
    if key not in SCENARIOS:
        raise ConfigError(f"unknown scenario '{name}'{did_you_mean(key, SCENARIOS)}")
    if key == "server" and not (rate_per_s and rate_per_s > 0):
        raise ConfigError("scenario 'server': expected a rate above 0 items per second, got none; state --rate")
    if key != "server" and rate_per_s is not None:
        raise ConfigError(f"scenario '{name}' takes no rate; only 'server' does")
    if latency_bound_s is not None and key != "server":
        raise ConfigError(f"scenario '{name}' takes no latency bound; only 'server' does")
    if latency_bound_s is not None and not latency_bound_s > 0:
        raise ConfigError(f"scenario 'server': expected a latency bound above 0 seconds, got {latency_bound_s}")
    at_once = {"singlestream": 1, "multistream": MULTI_STREAM_ITEMS}.get(key)
    return Scenario(SCENARIOS[key], at_once, rate_per_s, latency_bound_s)
