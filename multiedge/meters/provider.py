"""The contract of a source of power readings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Unavailable(Exception):
    """This provider is not available here; its text is the reason. The chain goes on with the next one."""


@dataclass(frozen=True)
class Reading:
    """One reading of a source: `joules` counted so far (never falling), or `watts` now. None: no reading."""

    joules: float | None = None
    watts: float | None = None


class PowerProvider(Protocol):
    """`source` names the interface, `domain` what it covers ('package-0 + dram', 'VDD_IN', 'GPU 0: ...')."""

    source: str
    domain: str

    def read(self) -> Reading: ...

    def close(self) -> None: ...
