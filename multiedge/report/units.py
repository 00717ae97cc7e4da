"""Figures as text: one scale per column, with as many digits as are significant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

MISSING = "-"

_SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "B": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
    "J": ((1e3, "kJ"), (1.0, "J"), (1e-3, "mJ")),
    "W": ((1.0, "W"), (1e-3, "mW")),
}

_NOT_MEASURED_BEFORE = -9223372036854775807
"""What earlier versions of Ianvs wrote for a figure that was not measured; old rank files hold it."""


@dataclass(frozen=True)
class Scale:
    """How a column of figures is written: divided by `factor`, in `unit`, with `decimals` places."""

    factor: float
    unit: str
    decimals: int

    def text(self, value: Any) -> str:
        """The figure without its unit, '-' where there is none."""
        number = number_of(value)
        return MISSING if number is None else f"{number / self.factor:,.{self.decimals}f}"


def number_of(value: Any) -> float | None:
    """`value` as a finite number; None for None, NaN, texts, and Ianvs's former mark for 'not measured'."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number != float(_NOT_MEASURED_BEFORE) else None


def scale_for(values: Iterable[Any], unit: str) -> Scale:
    """The scale that fits most of `values`: their median, without its sign, is between 1 and 1000 where possible.

    >>> scale_for([0.0031, 0.0044], "s")
    Scale(factor=0.001, unit='ms', decimals=2)
    """
    numbers = sorted(abs(number) for number in map(number_of, values) if number)
    base, _, per = unit.partition("/")
    factor, name = 1.0, base
    if base in _SCALES and numbers:
        steps = _SCALES[base]
        middle = numbers[len(numbers) // 2]
        factor, name = next(((factor, name) for factor, name in steps if middle >= factor), steps[-1])
    whole = all(number.is_integer() for number in numbers) and factor == 1.0
    name = "" if name == "1" else name
    return Scale(factor, f"{name}/{per}" if per else name, 0 if whole else _decimals([number / factor for number in numbers]))


def _decimals(numbers: Sequence[float]) -> int:
    """Places that give the median three digits and the smallest one two, at most six."""
    if not numbers:
        return 0
    middle, smallest = numbers[len(numbers) // 2], numbers[0]
    wanted = max(2 - math.floor(math.log10(middle)), 1 - math.floor(math.log10(smallest)))
    return min(max(wanted, 0), 6)


def human(value: Any, unit: str) -> str:
    """One figure with its unit.

    >>> human(613 * 2**20, "B"), human(None, "s"), human(0.25, "1")
    ('613 MiB', 'not measured', '0.250')
    """
    number = number_of(value)
    if number is None:
        return "not measured"
    scale = scale_for([number], unit)
    text = f"{number / scale.factor:,.{min(scale.decimals, 0 if abs(number / scale.factor) >= 100 else 6)}f}"
    return f"{text} {scale.unit}".strip()
