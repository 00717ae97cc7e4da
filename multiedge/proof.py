"""What a proven bound holds for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Plans(Enum):
    """Sets of plans, over all orders and subsets of the devices."""

    CONTIGUOUS = "contiguous plans"
    """Stages of consecutive nodes, each on a device of its own, with relay transfers."""
    ORDERED = "plans with stages in order"
    """Each device has one stage at most, each stage reads from earlier ones, transfers are direct."""
    ONE_STAGE_EACH = "plans with one stage per device"
    """The same, where a stage may also pass on tensors that it does not use."""
    ONE_DEVICE = "plans on one device"
    ALL = "all plans"
    """Any device for any node, with relay or direct transfers."""
    PATHS = "plans with several paths"
    """Each device holds consecutive nodes, which items enter at any boundary inside and leave at their end."""
    OTHER = "plans of another kind"
    """Stated in words only."""


@dataclass(frozen=True)
class Scope:
    """The plans for which a lower bound holds.

    Attributes:
        plans: The set of plans. None of them cuts a fused tensor.
        replicas: Whether it includes stages that run on several exchangeable devices.
        least_fps: Only plans of at least so many items per second; None for all.
        most_latency_s: Only plans of at most this latency; None for all.
        most_memory_bytes: Only plans that take at most so much on each device; None for all.
        first_on: Only plans whose first nodes are on this device (`multiedge.planning.pins`); '' for all.
        last_on: Only plans whose last nodes are on this device; '' for all.
        words: The set in words, if `plans` is OTHER.
    """

    plans: Plans
    replicas: bool = False
    least_fps: float | None = None
    most_latency_s: float | None = None
    most_memory_bytes: int | None = None
    first_on: str = ""
    last_on: str = ""
    words: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.words or self.plans.value, "with replicas" if self.replicas else "", self.limits)))

    @property
    def limits(self) -> str:
        """What the plans must keep, in words; '' for nothing."""
        limits = [
            "" if self.least_fps is None else f"of at least {self.least_fps:.4g} items/s",
            "" if self.most_latency_s is None else f"within {self.most_latency_s * 1e3:.4g} ms",
            "" if self.most_memory_bytes is None else f"within {self.most_memory_bytes / 2**20:.1f} MiB on each device",
            " and ".join(
                f"with the {end} stage on '{device}'"
                for end, device in (("first", self.first_on), ("last", self.last_on))
                if device
            ),
        ]
        return " ".join(filter(None, limits))


CONTIGUOUS = Scope(Plans.CONTIGUOUS)


def scope_in_words(words: str) -> Scope | None:
    """The scope that older files state in words.

    Args:
        words: The text; '' states nothing.

    Returns:
        The Scope; None for no text.
    """
    known = next((plans for plans in Plans if plans.value == words), None)
    if known is not None:
        return Scope(known)
    return Scope(Plans.OTHER, words=words) if words else None
