"""Sizes, rates and times as people write them, turned into SI numbers.

>>> parse("2GiB", BYTES), parse("1024", BYTES), parse("100Mbps", BANDWIDTH), parse("2 ms", SECONDS)
(2147483648.0, 1073741824.0, 12500000.0, 0.002)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from enum import Enum

from multiedge.errors import describe

_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*")
_SI = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity: what to call it in an error, and what one of each unit is worth; '' is a bare number."""

    example: str
    units: Mapping[str, float]
    least: float = 0.0


def _scaled(unit: str, worth: float = 1.0) -> dict[str, float]:
    return {f"{prefix}{unit}": factor * worth for prefix, factor in _SI.items()}


_BINARY = {f"{prefix}iB": 2.0 ** (10 * power) for power, prefix in enumerate("KMGT", start=1)}
_PER_SECOND_BYTES = {f"{unit}/s": worth for unit, worth in {**_scaled("B"), **_BINARY}.items()}
_PER_SECOND_BITS = {f"{prefix}{unit}": factor / 8 for prefix, factor in _SI.items() for unit in ("bps", "bit/s", "b/s")}

BYTES = Quantity("a size such as '2GiB', '512MB' or 1024 (MiB)", {"": 2.0**20, **_scaled("B"), **_BINARY})
BANDWIDTH = Quantity(
    "a bandwidth such as '100Mbps', '12MB/s' or 100 (Mbit/s)", {"": 1e6 / 8, **_PER_SECOND_BITS, **_PER_SECOND_BYTES}
)
MEMORY_BANDWIDTH = Quantity("a memory bandwidth such as '10GB/s'", {"": 1e9, **_PER_SECOND_BYTES})
SECONDS = Quantity("a time such as '2ms', '50us' or 2 (ms)", {"": 1e-3, "s": 1.0, "ms": 1e-3, "us": 1e-6})
FREQUENCY = Quantity("a frequency such as '2.6GHz' or 2.6 (GHz)", {"": 1e9, **_scaled("Hz")})
FLOPS = Quantity("a rate such as '20GFLOPS' or 2e10 (FLOP/s)", {"": 1.0, **_scaled("FLOPS"), **_scaled("FLOP/s")})
WATTS = Quantity("a power such as '7.5W' or 7.5 (W)", {"": 1.0, "W": 1.0, "mW": 1e-3, "kW": 1e3})
JOULES = Quantity("an energy such as '18Wh' or '65kJ'", {"J": 1.0, "kJ": 1e3, "MJ": 1e6, "Wh": 3600.0, "kWh": 3.6e6})
JOULES_PER_BYTE = Quantity("an energy per byte such as '50nJ'", {"": 1.0, "J": 1.0, "uJ": 1e-6, "nJ": 1e-9, "pJ": 1e-12})
_LEAST_DECIMAL = 1e-6
"""Numbers below are written with an exponent."""
_MACS = ((1e9, "GMACs"), (1e6, "MMACs"), (1e3, "kMACs"))
FACTOR = Quantity("a number such as 0.5", {"": 1.0})
SHARE = Quantity("a share such as '5%' or 0.05", {"": 1.0, "%": 0.01})


def parse(value: object, quantity: Quantity) -> float:
    """`value` in the quantity's base unit; ValueError that says what was expected and what was found.

    Units are matched without regard to case where that leaves no doubt ('gib', 'MBPS'), so 'MB/s' and 'Mb/s' differ.
    """
    match = _NUMBER.fullmatch(_digits(value))
    worth = _worth(match.group(2), quantity) if match else None
    if match is None or worth is None:
        raise ValueError(f"expected {quantity.example}, got {describe(value)}")
    number = float(match.group(1)) * worth
    if not math.isfinite(number) or number < quantity.least:
        raise ValueError(f"expected {quantity.example}, not negative and finite, got {describe(value)}")
    return number


def _digits(value: object) -> str:
    """The text of a number or of a number with its unit; '' for anything else."""
    if isinstance(value, int) and (isinstance(value, bool) or abs(value) >= 2**63):
        return ""
    return str(value) if isinstance(value, int | float | str) else ""


def _worth(unit: str, quantity: Quantity) -> float | None:
    if unit in quantity.units:
        return quantity.units[unit]
    folded = {worth for known, worth in quantity.units.items() if known.lower() == unit.lower()}
    return folded.pop() if len(folded) == 1 else None


def human_bytes(nbytes: float, *, round_up: bool = False) -> str:
    """
    >>> human_bytes(1536), human_bytes(5 * 2**30), human_bytes(1025), human_bytes(1025, round_up=True)
    ('1.5 KiB', '5.0 GiB', '1.0 KiB', '1.1 KiB')
    """
    unit = "TiB"
    for smaller in ("B", "KiB", "MiB", "GiB"):
        if abs(nbytes) < 1024:
            unit = smaller
            break
        nbytes /= 1024
    decimals = 0 if unit == "B" else 1
    return f"{_up(nbytes, decimals) if round_up else nbytes:.{decimals}f} {unit}"


def number_text(value: float, digits: int = 4) -> str:
    """The number to so many significant digits: no exponent, and a comma between thousands. Whole numbers keep all digits.

    >>> number_text(30130.4), number_text(1577.26), number_text(16.6), number_text(0.03581), number_text(2.892e-5)
    ('30,130', '1,577', '16.6', '0.03581', '0.00002892')
    """
    if not math.isfinite(value) or abs(value) < _LEAST_DECIMAL:
        return f"{value:.{digits}g}"
    text = f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def seconds_text(seconds: float) -> str:
    """
    >>> seconds_text(1.4712), seconds_text(0.0849), seconds_text(0)
    ('1.47 s', '84.9 ms', '0 ms')
    """
    return f"{number_text(seconds, 3)} s" if seconds >= 1 else f"{number_text(seconds * 1e3, 3)} ms"


def human_macs(macs: int, *, is_whole: bool = True) -> str:
    """Multiply-accumulates; `is_whole` is False where some operations could not be counted.

    >>> human_macs(7_208_000_000), human_macs(351_000_000), human_macs(12_288), human_macs(0)
    ('7.21 GMACs', '351 MMACs', '12.3 kMACs', '0 MACs')
    >>> human_macs(12_288, is_whole=False), human_macs(0, is_whole=False)
    ('at least 12.3 kMACs', 'MACs not counted')
    """
    if not macs and not is_whole:
        return "MACs not counted"
    worth, unit = next(((worth, unit) for worth, unit in _MACS if macs >= worth), (1, "MACs"))
    return f"{'' if is_whole else 'at least '}{number_text(macs / worth, 3)} {unit}"


def counted(count: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "part"), counted(3, "part")
    ('1 part', '3 parts')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def mib_at_least(nbytes: float, decimals: int) -> str:
    """MiB that hold `nbytes`, rounded up.

    >>> mib_at_least(2**20, 3), mib_at_least(2**20 + 1, 3)
    ('1.000', '1.001')
    """
    return f"{_up(nbytes / 2**20, decimals):.{decimals}f}"


def _up(value: float, decimals: int) -> float:
    scale = float(10**decimals)
    return math.ceil(value * scale) / scale


def at_least(value: float, digits: int = 6) -> str:
    """The number to so many significant digits, rounded up: what an advice may ask for.

    >>> at_least(1 / 3, 3), at_most(1 / 3, 3), at_least(0.5, 3)
    ('0.334', '0.333', '0.5')
    """
    return _significant(value, digits, ROUND_CEILING)


def at_most(value: float, digits: int = 6) -> str:
    """The number to so many significant digits, rounded down: what an advice may promise."""
    return _significant(value, digits, ROUND_FLOOR)


def _significant(value: float, digits: int, rounding: str) -> str:
    nearest = f"{value:.{digits}g}"
    if math.isclose(float(nearest), value, rel_tol=1e-12):
        return nearest  # what is missing comes from the arithmetic, not from the value
    return f"{float(Context(prec=digits, rounding=rounding).create_decimal_from_float(value)):.{digits}g}"


class Knowledge(Enum):
    """How costs are known, from least to most: counted from what is declared, derived from measured ones, or measured."""

    ESTIMATED = "estimated"
    DERIVED = "derived"
    MEASURED = "measured"


def least(known: Iterable[Knowledge]) -> Knowledge:
    """How a figure is known that follows from several.

    >>> least([Knowledge.MEASURED, Knowledge.DERIVED]).value
    'derived'
    """
    order = list(Knowledge)
    return min(known, key=order.index, default=Knowledge.ESTIMATED)
