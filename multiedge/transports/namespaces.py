"""A kernel network for a fleet: one network namespace per device, and one veth pair between every two ends.

The ends are the devices and the caller, which stays in its present namespace. Each end has one address. The veth pairs are
addressed point to point and are the only connections, so nothing has to be routed or filtered. On each interface a token
bucket filter (tbf) limits outgoing traffic to the bandwidth of the link. Needs Linux, root, and iproute2.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, count
from pathlib import Path
from typing import Any

from multiedge.errors import ConfigError, PipelineError
from multiedge.files import OWNED, is_orphan, owner
from multiedge.fleet import Fleet, Link
from multiedge.transports.links import is_down

log = logging.getLogger(__name__)

Subnet = ipaddress.IPv4Network
NAMESPACES = Path("/var/run/netns")
"""Where `ip netns` keeps names."""
RANGE = Subnet("198.18.0.0/15")
"""Reserved for network benchmarks (RFC 2544): no other network has such an address."""
FRAME_BYTES, PAYLOAD_BYTES = 1514, 1448
"""Bytes of a full TCP packet with its headers, and the bytes of a message that it carries."""
BURST_S = 0.001
"""An idle link may send this much traffic in one burst, but at least two packets."""
SLOWEST_BYTES_PER_S = 64.0
"""The lowest rate that tbf's clock can represent with such a burst."""
QUEUE = "8mb"
"""TCP queues far less than this at a device, so nothing is dropped."""
TOOL_S = 30.0
_NUMBERS = count(1)
"""Numbers of the ends of all networks of this process."""


@dataclass(frozen=True)
class End:
    """A device or the caller. `place` is the device on which it runs, None if the fleet does not state the caller's;
    `namespace` is None for the namespace of this process."""

    name: str
    place: str | None
    namespace: str | None
    host: str
    number: int

    def interface(self, peer: End) -> str:
        """The interface that leads to `peer`; the kernel allows 15 characters."""
        return f"to-{peer.number}" if self.namespace else f"me{os.getpid()}-{peer.number}"


def plan_ends(fleet: Fleet, caller: str, subnet: Subnet, numbers: Iterator[int]) -> tuple[End, ...]:
    """The caller and every device, each with an address in `subnet` and the next of `numbers`; ConfigError if there are more
    ends than addresses in the subnet."""
    first, *hosts = map(str, subnet.hosts())
    if len(fleet.names) > len(hosts):
        raise ConfigError(f"{fleet.name}: network namespaces take up to {len(hosts)} devices, got {len(fleet.names)}")
    ends = [End(caller, fleet.source, None, first, next(numbers))]
    for name, host, number in zip(fleet.names, hosts, numbers, strict=False):
        ends.append(End(name, name, f"{OWNED}{owner()}-{number}", host, number))
    return tuple(ends)


def free_subnet(used: Iterable[Subnet]) -> Subnet:
    """A /24 subnet that overlaps none in use; runs that start together begin their search at different ones."""
    taken, subnets = list(used), list(RANGE.subnets(new_prefix=24))
    start = os.getpid() % len(subnets)
    for subnet in subnets[start:] + subnets[:start]:
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise PipelineError(f"network namespaces: every address of {RANGE} is in use; remove routes into it, see `ip route`")


def namespace_commands(ends: Sequence[End]) -> list[str]:
    """The `ip` commands that make the namespaces and the pairs of interfaces between them."""
    lines = [f"netns add {end.namespace}" for end in ends if end.namespace]
    for a, b in combinations(ends, 2):
        inside = f"netns {a.namespace} " if a.namespace else ""
        lines.append(f"link add name {a.interface(b)} {inside}type veth peer name {b.interface(a)} netns {b.namespace}")
    return lines


def address_commands(end: End, ends: Sequence[End]) -> list[str]:
    """The `ip` commands that assign addresses in the namespace of `end`.

    There is none of IPv6: the kernel would look for routers by itself, and counters are to show what programs send.
    """
    lines = ["link set lo up"] if end.namespace else []
    for peer in ends:
        if peer is not end:
            interface = end.interface(peer)
            lines += [
                f"addr add {end.host} peer {peer.host} dev {interface}",
                f"link set {interface} addrgenmode none",
                f"link set {interface} up",
            ]
    return lines


def shaping_command(interface: str, link: Link) -> str:
    """The `tc` command that limits `interface` to the bandwidth of `link`."""
    if math.isinf(link.bandwidth_bytes_per_s):
        return f"qdisc replace dev {interface} root noqueue"
    rate = max(link.bandwidth_bytes_per_s, SLOWEST_BYTES_PER_S) * FRAME_BYTES / PAYLOAD_BYTES
    burst = max(2 * FRAME_BYTES, round(rate * BURST_S))
    return f"qdisc replace dev {interface} root tbf rate {round(8 * rate)}bit burst {burst} limit {QUEUE}"


class Network:
    """The fleet's links as kernel networks. Raises ConfigError or PipelineError, in one line, where that is not possible, and
    then removes what it has made."""

    def __init__(self, fleet: Fleet, caller: str) -> None:
        require_tools()
        remove_orphans()
        self._ends = plan_ends(fleet, caller, free_subnet(subnets_in_use()), _NUMBERS)
        self._links: dict[tuple[End, End], Link] = {}
        for a, b in combinations(self._ends, 2):
            for source, target in ((a, b), (b, a)):
                self._links[source, target] = _link(fleet, source.place, target.place)
        self._down: set[tuple[End, End]] = set()
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    @property
    def hosts(self) -> dict[str, str]:
        """The address of each end by its name."""
        return {end.name: end.host for end in self._ends}

    def command(self, device: str) -> tuple[str, ...]:
        """The beginning of a command line that runs in the device's namespace."""
        return ("ip", "netns", "exec", str(self._end(device).namespace))

    def change(self, source: str, target: str, link: Link) -> None:
        """Sets the link from one device to another, and the caller's if it runs on one of them.

        A link that is down in one direction is down in both, since TCP needs acknowledgements. Its messages stay with the
        sender, which tries again until the link is up.
        """
        for a, b in self._links:
            if (a.place, b.place) == (source, target):
                self._links[a, b] = link
                if not is_down(link):
                    _batch("tc", a.namespace, [shaping_command(a.interface(b), link)])
                self._switch(*sorted((a, b), key=lambda end: end.number))

    def drop(self, source: str, target: str) -> None:
        """From now on what one end sends to another is lost, without notice at either, until `deliver`. The other direction
        works."""
        a, b = self._end(source), self._end(target)
        _batch("tc", a.namespace, [f"qdisc replace dev {a.interface(b)} root blackhole"])

    def deliver(self, source: str, target: str) -> None:
        """Ends `drop`."""
        a, b = self._end(source), self._end(target)
        _batch("tc", a.namespace, [shaping_command(a.interface(b), self._links[a, b])])

    def sent_bytes(self) -> dict[tuple[str, str], int]:
        """What each end has sent to each other one until now: all bytes of all packets, by names of both."""
        sent: dict[tuple[str, str], int] = {}
        for a in self._ends:
            inside = ["-netns", a.namespace] if a.namespace else []
            by_name = {entry["ifname"]: entry["stats64"]["tx"]["bytes"] for entry in _query("-s", "link", before=inside)}
            sent |= {(a.name, b.name): int(by_name[a.interface(b)]) for b in self._ends if b is not a}
        return sent

    def _end(self, name: str) -> End:
        return next(end for end in self._ends if end.name == name)

    def close(self) -> None:
        """Removes the network; its processes must have ended. May be called twice."""
        caller, *devices = self._ends
        lines = [f"link del {caller.interface(end)}" for end in devices]
        _delete(lines, [str(end.namespace) for end in devices if (NAMESPACES / str(end.namespace)).exists()])

    def _make(self) -> None:
        _batch("ip", None, namespace_commands(self._ends))
        for end in self._ends:
            links = [(peer, link) for (source, peer), link in self._links.items() if source is end and not is_down(link)]
            _batch("ip", end.namespace, address_commands(end, self._ends))
            _batch("tc", end.namespace, [shaping_command(end.interface(peer), link) for peer, link in links])
        for a, b in combinations(self._ends, 2):
            self._switch(a, b)

    def _switch(self, a: End, b: End) -> None:
        """Sets the pair down or up, as its links require."""
        down = is_down(self._links[a, b]) or is_down(self._links[b, a])
        if down != ((a, b) in self._down):
            # At the device's end: at the caller's, packets would take the default route.
            _batch("ip", b.namespace, [f"link set {b.interface(a)} {'down' if down else 'up'}"])
            self._down ^= {(a, b)}


def _link(fleet: Fleet, source: str | None, target: str | None) -> Link:
    """The link between two places; an unlimited one if a place is not known."""
    return Link() if source is None or target is None else fleet.link(source, target)


def require_tools() -> None:
    """Raises ConfigError if this user or this system cannot make network namespaces."""
    if os.geteuid() != 0:
        raise ConfigError(f"network namespaces: expected root, running as user {os.geteuid()}; use sudo, or leave them off")
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            raise ConfigError(f"network namespaces: `{tool}` is not installed; install iproute2, or leave them off")


def remove_orphans() -> None:
    """Removes the networks of runs whose process does not exist any more."""
    names = [path.name for path in NAMESPACES.glob(f"{OWNED}*-*")]
    _delete([], [name for name in names if is_orphan(name.removeprefix(OWNED))])


def subnets_in_use() -> list[Subnet]:
    """Subnets of addresses and routes in this process's namespace, without wider ones such as the default route."""
    addresses = [each["local"] for device in _query("addr", "show") for each in device.get("addr_info", ())]
    routes = [route["dst"] for route in _query("route", "show", "table", "all") if route["dst"] != "default"]
    subnets = [Subnet(text, strict=False) for text in (*addresses, *routes)]
    return [subnet for subnet in subnets if subnet.prefixlen >= RANGE.prefixlen]


def _query(*words: str, before: Sequence[str] = ()) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(_run(["ip", *before, "-json", "-4", *words]) or "[]")
    return [entry for entry in entries if entry]


def _batch(tool: str, namespace: str | None, lines: Sequence[str]) -> None:
    """Runs `lines` as one batch; PipelineError names the line that failed."""
    inside = ["-netns", namespace] if namespace else []
    _run([tool, *inside, "-batch", "-"], lines)


def _delete(lines: Sequence[str], namespaces: Sequence[str]) -> None:
    """Removes the interfaces and namespaces that exist."""
    commands = [*lines, *(f"netns del {name}" for name in namespaces)]
    if commands:
        _call(["ip", "-force", "-batch", "-"], commands)
    for name in namespaces:
        if (NAMESPACES / name).exists():
            log.warning("network namespace '%s' could not be removed; remove it by `ip netns del %s`", name, name)


def _run(command: Sequence[str], lines: Sequence[str] = ()) -> str:
    done = _call(command, lines)
    if done.returncode == 0:
        return done.stdout
    where = re.search(r"Command failed -:(\d+)", done.stderr)
    what = f"{command[0]} {lines[int(where[1]) - 1]}" if where else " ".join(command)
    why = (done.stderr.strip().splitlines() or ["no reason given"])[0]
    raise PipelineError(
        f"network namespaces: `{what}` failed: {why}; see docs/emulation.md for what they need, or leave them off"
    )


def _call(command: Sequence[str], lines: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # In a new session: Ctrl-C then reaches this process alone, which removes what it has made.
    text = "".join(f"{line}\n" for line in lines)
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=TOOL_S, start_new_session=True)
