"""Power readings that the Linux kernel offers as files: INA sensors (Jetson and others), hwmon, and RAPL.

Units of the files: hwmon gives microjoules, microwatts, millivolts and milliamperes; the older Jetson driver
milliwatts; powercap microjoules that wrap around at `max_energy_range_uj`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from multiedge.meters.provider import Reading, Unavailable

SYS = Path("/sys")

BOARD_CHIPS = ("ina3221", "ina2", "power_meter")
"""hwmon chips that measure a board or a processor; other chips measure disks, batteries and fans."""

TOTAL_RAILS = ("VDD_IN", "POM_5V_IN", "VIN_SYS_5V0", "SYS5V_IN")
"""Rails that supply the whole of a Jetson; its other rails are parts of these and must not be added to them."""


def read_number(path: Path) -> float | None:
    """The number in a sysfs file; None where it is absent, unreadable or not a number."""
    try:
        return float(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None


def read_text(path: Path) -> str:
    """The stripped text of a sysfs file, '' where there is none."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class Rail:
    """Files whose product (times `scale`) is watts."""

    name: str
    files: tuple[Path, ...]
    scale: float

    def watts(self) -> float | None:
        product = self.scale
        for path in self.files:
            value = read_number(path)
            if value is None:
                return None
            product *= value
        return product


def find_rails(sys: Path = SYS) -> list[Rail]:
    """Every power rail of a board chip that can be read now."""
    rails = [rail for chip in sorted(sys.glob("class/hwmon/hwmon*")) for rail in _hwmon_rails(chip)]
    for chip in sorted(sys.glob("bus/i2c/drivers/ina3221x/*/iio:device*")):
        for path in sorted(chip.glob("in_power*_input")):
            number = path.name.removeprefix("in_power").removesuffix("_input")
            rails.append(Rail(read_text(chip / f"rail_name_{number}") or path.name, (path,), 1e-3))
    return [rail for rail in rails if rail.watts() is not None]


def _hwmon_rails(chip: Path) -> list[Rail]:
    name = read_text(chip / "name")
    if not name.startswith(BOARD_CHIPS):
        return []
    rails = []
    for path in sorted(chip.glob("power*_input")) or sorted(chip.glob("power*_average")):
        number = path.name.removeprefix("power").partition("_")[0]
        rails.append(Rail(read_text(chip / f"power{number}_label") or f"{name} power{number}", (path,), 1e-6))
    if rails:
        return rails
    for current in sorted(chip.glob("curr*_input")):
        number = current.name.removeprefix("curr").removesuffix("_input")
        label = read_text(chip / f"in{number}_label") or f"{name} rail{number}"
        if (chip / f"in{number}_input").exists() and "sum" not in label:
            rails.append(Rail(label, (chip / f"in{number}_input", current), 1e-6))
    return rails


class BoardSensor:
    """The board's own power sensor: its total rail where it has one, otherwise the sum of all rails."""

    source = "hwmon"

    def __init__(self, sys: Path = SYS) -> None:
        rails = find_rails(sys)
        if not rails:
            raise Unavailable("no board power sensor in /sys/class/hwmon")
        totals = [rail for rail in rails if rail.name in TOTAL_RAILS]
        self._rails: Sequence[Rail] = totals[:1] or rails
        self.domain = " + ".join(rail.name for rail in self._rails)

    def read(self) -> Reading:
        watts = [rail.watts() for rail in self._rails]
        known = [value for value in watts if value is not None]
        return Reading(watts=sum(known) if len(known) == len(watts) else None)

    def close(self) -> None:
        """Does nothing: no file is kept open."""


@dataclass
class Counter:
    """A microjoule counter that wraps around at `range_uj`: adds up the differences between readings.

    It must be read at least once per period: with 60 W it wraps around after about an hour on current processors, after a
    minute on the oldest.
    """

    path: Path
    range_uj: float
    last_uj: float | None = field(default=None)
    total_uj: float = 0.0

    def joules(self) -> float | None:
        now = read_number(self.path)
        if now is None:
            return None
        if self.last_uj is not None:
            self.total_uj += now - self.last_uj if now >= self.last_uj else now + self.range_uj - self.last_uj
        self.last_uj = now
        return self.total_uj * 1e-6


class Rapl:
    """Intel's and AMD's energy counters: all packages, and their memory where it has its own counter."""

    source = "RAPL"

    def __init__(self, sys: Path = SYS) -> None:
        zones = [zone for zone in sorted(sys.glob("class/powercap/intel-rapl:*")) if self._counts(read_text(zone / "name"))]
        if not zones:
            raise Unavailable("no RAPL zone in /sys/class/powercap")
        self._counters = [Counter(zone / "energy_uj", read_number(zone / "max_energy_range_uj") or 2.0**32) for zone in zones]
        if any(counter.joules() is None for counter in self._counters):
            raise Unavailable("RAPL counters are readable by root only")
        self.domain = " + ".join(read_text(zone / "name") for zone in zones)

    @staticmethod
    def _counts(zone: str) -> bool:
        return zone.startswith("package") or zone == "dram"  # 'core' and 'uncore' are parts of the package

    def read(self) -> Reading:
        each = [counter.joules() for counter in self._counters]
        known = [value for value in each if value is not None]
        return Reading(joules=sum(known) if len(known) == len(each) else None)

    def close(self) -> None:
        """Does nothing: no file is kept open."""
