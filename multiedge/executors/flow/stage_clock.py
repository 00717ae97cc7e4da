"""How long a stage may take for an item before it counts as failed."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

SAMPLES = 256
ENOUGH = 20
"""Observed times of a stage before they replace the plan's expectation."""


@dataclass(frozen=True)
class StageDeadlines:
    """How long a stage may take for an item.

    Attributes:
        factor: The limit is so many times the stage's 99th percentile.
        floor_s: The least limit.
        first_s: The limit until that percentile is known.
    """

    factor: float = 10.0
    floor_s: float = 2.0
    first_s: float = 60.0


class StageClock:
    """The limit of each stage: a multiple of the 99th percentile of its observed times.

    `expected_s` holds what the plan expects by stage; observed times replace it once there are enough. An observed
    time counts per device, because a stage that moves to a slower device takes longer without fault.

    Items of the stages in `uneven` take very different times, such as a prompt and a single token: what was seen of some says
    little about the next one, so their limit is at least `first_s`.
    """

    def __init__(
        self, deadlines: StageDeadlines, expected_s: Mapping[int, float], uneven: Collection[int] = frozenset()
    ) -> None:
        self._deadlines = deadlines
        self._expected_s, self._uneven = expected_s, uneven
        self._seen: dict[tuple[int, str], deque[float]] = {}
        self._doubled: Counter[int] = Counter()

    def was_slow(self, stage: int) -> None:
        """Doubles the stage's limit: if every device is slower than expected, one of them must still finish."""
        self._doubled[stage] += 1

    def saw(self, stage: int, device: str, seconds: float) -> None:
        self._seen.setdefault((stage, device), deque(maxlen=SAMPLES)).append(seconds)

    def limit_s(self, stage: int, device: str) -> float:
        """Seconds after which the stage on that device counts as failed."""
        return float(2 ** self._doubled[stage] * self._usual_limit_s(stage, device))

    def _usual_limit_s(self, stage: int, device: str) -> float:
        seen = self._seen.get((stage, device), ())
        if len(seen) >= ENOUGH:
            least_s = self._deadlines.first_s if stage in self._uneven else self._deadlines.floor_s
            return max(least_s, self._deadlines.factor * percentile_99(seen))
        # The plan's figure is for the planned device and unloaded; the first items are the slowest.
        return max(self._deadlines.first_s, self._deadlines.factor * self._expected_s.get(stage, 0.0))


def percentile_99(seconds: deque[float] | tuple[float, ...]) -> float:
    """The smallest of `seconds` that is at least as large as 99 % of them."""
    return sorted(seconds)[-(-99 * len(seconds) // 100) - 1]
