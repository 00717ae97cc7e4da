"""What a source of power figures looks like to the sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Unavailable(Exception):
    """This provider cannot answer here; its text is the reason. The chain goes on to the next one."""


@dataclass(frozen=True)
class Reading:
    """One look at a source: `joules` counted so far (never falling), or `watts` now. None: the source did not answer."""

    joules: float | None = None
    watts: float | None = None


class PowerProvider(Protocol):
    """`source` names the interface, `domain` what it covers ('package-0 + dram', 'VDD_IN', 'GPU 0: ...')."""

    source: str
    domain: str

    def read(self) -> Reading: ...

    def close(self) -> None: ...
