"""Which devices of a fleet may be exchanged: the one definition, for searches, replicas and re-planning.

Two devices are *exchangeable* if swapping them in any plan changes no figure of `multiedge.planning.cost`. They then have

- the same times for every node and the same overhead per stage,
- the same memory and margin, and the same part of it taken by the runtime,
- the same power and the same energy per byte sent,
- the same way (occupancy and latency) to and from every other device, and the same both ways between the two.

The place where items arise is not exchangeable, since the caller's link ends there. What is left of a Device (its name,
type, speed, number of threads, battery) has no effect on a plan's cost beyond the times in the profile.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from multiedge.fleet import Fleet, Link
from multiedge.profile import Profile


def exchangeable(profile: Profile, fleet: Fleet) -> tuple[tuple[str, ...], ...]:
    """Names of all devices in groups of exchangeable ones, both in the order of the fleet; many groups have one member."""
    groups: list[list[str]] = []
    of_kind: dict[object, list[list[str]]] = {}
    links = _Links(fleet)
    for name in fleet.names:
        known = of_kind.setdefault(_kind(profile, fleet, name), [])
        group = next((group for group in known if links.are_same(group[0], name)), None)
        if group is None:
            group = []
            groups.append(group)
            known.append(group)
        group.append(name)
    return tuple(map(tuple, groups))


def _kind(profile: Profile, fleet: Fleet, name: str) -> object:
    """Equal for devices that differ in their links at most."""
    device = fleet.device(name)
    return (
        device.memory_bytes,
        device.memory_margin,
        device.runtime_bytes,
        device.power and (device.power.idle_w, device.power.busy_w),
        device.joules_per_byte,
        times_key(profile, name),
        name == fleet.source,
    )


def times_key(profile: Profile, name: str) -> tuple[float, bytes, bytes | None]:
    """What is equal for devices with equal times.

    Args:
        profile: Costs of the model.
        name: Name of a device.

    Returns:
        The overhead of a stage, the times of the nodes, and a digest of those of spans where times do not add up.
    """
    matrix_s = profile.span_matrix_s(name)
    spans = None if matrix_s is None else blake2b(matrix_s.tobytes()).digest()
    return profile.overhead_s.get(name, 0.0), profile.seconds_on(name).tobytes(), spans


class _Links:
    """Comparison of the links of two devices; quick where both have equal interfaces and few links of their own."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._partners: dict[str, set[str]] = {name: set() for name in fleet.names}
        for a, b in fleet.links:
            self._partners[a].add(b)
            self._partners[b].add(a)

    def are_same(self, first: str, second: str) -> bool:
        """Whether every other device has the same links to and from both, and they the same in both directions."""
        link = self._fleet.link
        return _equal(link(first, second), link(second, first)) and all(
            _equal(link(first, other), link(second, other)) and _equal(link(other, first), link(other, second))
            for other in self._others(first, second)
        )

    def _others(self, first: str, second: str) -> Iterator[str]:
        """The devices whose links to the two may differ."""
        a, b = self._fleet.device(first), self._fleet.device(second)
        interfaces_equal = (a.bandwidth_bytes_per_s, a.latency_s) == (b.bandwidth_bytes_per_s, b.latency_s)
        names = self._partners[first] | self._partners[second] if interfaces_equal else set(self._fleet.names)
        yield from names - {first, second}


def _equal(a: Link, b: Link) -> bool:
    """Whether messages take the same time over both, on average, and are sent in the same form; jitter is no part of the cost
    model."""
    return (a.occupancy_s(1.0), a.latency_s, a.encoding) == (b.occupancy_s(1.0), b.latency_s, b.encoding)
