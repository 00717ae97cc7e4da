"""Whether requests may leave the device: a function of what is seen of it and of its links, with hysteresis.

A switch is on or off between requests, never within one: who takes a request reads it once. While it is off, requests take the
local row, pipelines to other devices are closed, and the node is silent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from multiedge.errors import ConfigError, require_least


class OffloadMode(Enum):
    """Who decides."""

    ON = "on"
    OFF = "off"
    AUTO = "auto"
    REQUEST = "request"
    """The boolean input or parameter of the latest request that states it; on until then."""


class Because(Enum):
    """Why the switch is as it is."""

    SET = "it is set so"
    REQUESTED = "the latest request states so"
    BUSY = "the device is busy"
    BATTERY = "its battery is low"
    NOT_NEEDED = "the device is not busy"
    LINK_SLOW = "the link is slow"
    LINK_GOOD = "the link is good"


@dataclass(frozen=True)
class Band:
    """Two thresholds of a value: it counts as high from `high` on until it falls below `low`, and as low in between if it was
    low. ConfigError unless low <= high."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ConfigError(f"band: expected the lower threshold first, got {self.low:g} and {self.high:g}")

    def is_high(self, value: float | None, was_high: bool) -> bool:
        """Whether a value counts as high; one that is not known changes nothing."""
        if value is None:
            return was_high
        return value >= (self.low if was_high else self.high)


@dataclass(frozen=True)
class OffloadRules:
    """When a switch of mode 'auto' is on: the link is good, and the device is busy or its battery is low. Conditions that are
    None are not looked at; without `busy` and `battery` a good link is enough.

    Attributes:
        mode: Who decides.
        busy: Share of the device's processors that is busy.
        battery: Share of the charge; low means that requests should leave.
        link_s: Time of a round trip of a request over the link; high means that it is slow.
        retry_s: After so long, a link that was slow is tried again: nothing is measured while nothing is sent.

    Raises:
        ConfigError: If `retry_s` is negative, or conditions are given that the mode does not look at.
    """

    mode: OffloadMode = OffloadMode.ON
    busy: Band | None = None
    battery: Band | None = None
    link_s: Band | None = None
    retry_s: float = 30.0

    def __post_init__(self) -> None:
        require_least("retry_s", self.retry_s, 0.0)
        given = [name for name in ("busy", "battery", "link_s") if getattr(self, name) is not None]
        if given and self.mode is not OffloadMode.AUTO:
            raise ConfigError(f"offload: {given[0]} has no effect with mode '{self.mode.value}'; use 'auto', or leave it out")


@dataclass(frozen=True)
class OffloadView:
    """One moment; None is not known. `stated` is what the latest request that states it wants."""

    busy: float | None = None
    battery: float | None = None
    link_s: float | None = None
    stated: bool | None = None


@dataclass(frozen=True)
class Switch:
    """The switch, since when, and why; which of the conditions hold, for their hysteresis."""

    is_on: bool = False
    since_s: float = 0.0
    because: Because = Because.SET
    is_busy: bool = False
    is_battery_low: bool = False
    is_link_slow: bool = False
    slow_since_s: float = 0.0


def switched(rules: OffloadRules, view: OffloadView, switch: Switch, now_s: float) -> Switch:
    """The switch after a look at the device.

    Args:
        rules: Who decides, and the thresholds.
        view: What is seen now.
        switch: The switch before.
        now_s: The time.

    Returns:
        The next Switch; the same value if nothing has changed.
    """
    if rules.mode is not OffloadMode.AUTO:
        is_on, because = _decided(rules.mode, view, switch)
        return _turned(switch, is_on, because, now_s)
    switch = _with_link(rules, view, switch, now_s)
    is_busy = rules.busy is not None and rules.busy.is_high(view.busy, switch.is_busy)
    is_low = rules.battery is not None and not rules.battery.is_high(view.battery, not switch.is_battery_low)
    switch = replace(switch, is_busy=is_busy, is_battery_low=is_low)
    if switch.is_link_slow:
        return _turned(switch, False, Because.LINK_SLOW, now_s)
    if is_busy or is_low:
        return _turned(switch, True, Because.BUSY if is_busy else Because.BATTERY, now_s)
    if rules.busy is None and rules.battery is None:
        return _turned(switch, True, Because.LINK_GOOD, now_s)
    return _turned(switch, False, Because.NOT_NEEDED, now_s)


def first_switch(rules: OffloadRules, now_s: float) -> Switch:
    """The switch before any request."""
    stated = True if rules.mode is OffloadMode.REQUEST else None
    return switched(rules, OffloadView(stated=stated), Switch(since_s=now_s), now_s)


def _decided(mode: OffloadMode, view: OffloadView, switch: Switch) -> tuple[bool, Because]:
    if mode is OffloadMode.REQUEST:
        return (switch.is_on if view.stated is None else view.stated), Because.REQUESTED
    return mode is OffloadMode.ON, Because.SET


def _with_link(rules: OffloadRules, view: OffloadView, switch: Switch, now_s: float) -> Switch:
    """The switch with what is known of the link. One that was slow counts as good again after a time, as a trial."""
    if rules.link_s is None:
        return switch
    if switch.is_link_slow and not switch.is_on:
        is_tried = now_s >= switch.slow_since_s + rules.retry_s
        return replace(switch, is_link_slow=False) if is_tried else switch
    is_slow = rules.link_s.is_high(view.link_s, switch.is_link_slow)
    return replace(
        switch, is_link_slow=is_slow, slow_since_s=now_s if is_slow and not switch.is_link_slow else switch.slow_since_s
    )


def _turned(switch: Switch, is_on: bool, because: Because, now_s: float) -> Switch:
    if is_on == switch.is_on:
        return replace(switch, because=because)
    return replace(switch, is_on=is_on, because=because, since_s=now_s)
