"""A network of the kernel's own for a fleet: a namespace per device, and a way between every two of its ends.

The ends are the devices and the caller, who stays in the namespace he is in. Each has one address; a veth pair for every
two of them, addressed point to point, is the only way between them, so nothing has to be routed or filtered. On each
interface a token bucket (tbf) holds what leaves by it to the bandwidth of the link. Needs Linux, root, and iproute2.
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
from multiedge.fleet import Fleet, Link
from multiedge.transports import rundir
from multiedge.transports.links import is_down

log = logging.getLogger(__name__)

Subnet = ipaddress.IPv4Network
NAMESPACES = Path("/var/run/netns")
"""Where `ip netns` keeps names."""
RANGE = Subnet("198.18.0.0/15")
"""Set aside for measuring networks (RFC 2544): nothing else has such an address."""
FRAME_BYTES, PAYLOAD_BYTES = 1514, 1448
"""What a full packet of TCP counts for, with its headers, and what it carries of a message."""
BURST_S = 0.001
"""How much a link that was idle may send without delay; at least two packets."""
SLOWEST_BYTES_PER_S = 64.0
"""What tbf's clock can just count with such a burst."""
QUEUE = "8mb"
"""TCP keeps far less waiting in a device's queue, so nothing is dropped."""
TOOL_S = 30.0
_NUMBERS = count(1)
"""Of the ends of all networks of this process."""


@dataclass(frozen=True)
class End:
    """A device or the caller. `place` is the device where it is, None if the fleet does not say where the caller is;
    `namespace` is None for the one that this process is in."""

    name: str
    place: str | None
    namespace: str | None
    host: str
    number: int

    def interface(self, peer: End) -> str:
        """The interface by which `peer` is reached; the kernel takes 15 letters."""
        return f"to-{peer.number}" if self.namespace else f"me{os.getpid()}-{peer.number}"


def plan_ends(fleet: Fleet, caller: str, subnet: Subnet, numbers: Iterator[int]) -> tuple[End, ...]:
    """The caller and every device, each with an address in `subnet` and one of `numbers`, which rise; ConfigError if there
    are more than the subnet has addresses."""
    first, *hosts = map(str, subnet.hosts())
    if len(fleet.names) > len(hosts):
        raise ConfigError(f"{fleet.name}: network namespaces take up to {len(hosts)} devices, got {len(fleet.names)}")
    ends = [End(caller, fleet.source, None, first, next(numbers))]
    for name, host, number in zip(fleet.names, hosts, numbers, strict=False):
        ends.append(End(name, name, f"{rundir.PREFIX}{os.getpid()}-{number}", host, number))
    return tuple(ends)


def free_subnet(used: Iterable[Subnet]) -> Subnet:
    """A /24 that overlaps none in use; runs that start together begin to look at different ones."""
    taken, subnets = list(used), list(RANGE.subnets(new_prefix=24))
    start = os.getpid() % len(subnets)
    for subnet in subnets[start:] + subnets[:start]:
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise PipelineError(f"network namespaces: every address of {RANGE} is in use; remove routes into it, see `ip route`")


def making(ends: Sequence[End]) -> list[str]:
    """What `ip` has to do to make the namespaces, and the pairs of interfaces between them."""
    lines = [f"netns add {end.namespace}" for end in ends if end.namespace]
    for a, b in combinations(ends, 2):
        inside = f"netns {a.namespace} " if a.namespace else ""
        lines.append(f"link add name {a.interface(b)} {inside}type veth peer name {b.interface(a)} netns {b.namespace}")
    return lines


def addressing(end: End, ends: Sequence[End]) -> list[str]:
    """What `ip` has to do in the namespace of `end`."""
    lines = ["link set lo up"] if end.namespace else []
    for peer in ends:
        if peer is not end:
            interface = end.interface(peer)
            lines += [f"addr add {end.host} peer {peer.host} dev {interface}", f"link set {interface} up"]
    return lines


def shaping(interface: str, link: Link) -> str:
    """What `tc` has to do so that messages leave by `interface` as fast as `link` takes them."""
    if math.isinf(link.bandwidth_bytes_per_s):
        return f"qdisc replace dev {interface} root noqueue"
    rate = max(link.bandwidth_bytes_per_s, SLOWEST_BYTES_PER_S) * FRAME_BYTES / PAYLOAD_BYTES
    burst = max(2 * FRAME_BYTES, round(rate * BURST_S))
    return f"qdisc replace dev {interface} root tbf rate {round(8 * rate)}bit burst {burst} limit {QUEUE}"


class Network:
    """The fleet's links, made real. Raises ConfigError or PipelineError, in one line, where that cannot be; nothing is
    left behind then."""

    def __init__(self, fleet: Fleet, caller: str) -> None:
        require_tools()
        sweep()
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
        """What a command line begins with so that it runs on the device's side of the network."""
        end = next(end for end in self._ends[1:] if end.name == device)
        return ("ip", "netns", "exec", str(end.namespace))

    def change(self, source: str, target: str, link: Link) -> None:
        """The link from one device to another is now `link`, for the caller too if he is at one of them.

        One that is down one way is down both ways, since TCP needs answers. What is on its way then stays with its sender,
        who tries again until the link is back.
        """
        for a, b in self._links:
            if (a.place, b.place) == (source, target):
                self._links[a, b] = link
                if not is_down(link):
                    _batch("tc", a.namespace, [shaping(a.interface(b), link)])
                self._switch(*sorted((a, b), key=lambda end: end.number))

    def close(self) -> None:
        """Removes the network; its processes must have ended. May be called twice."""
        caller, *devices = self._ends
        lines = [f"link del {caller.interface(end)}" for end in devices]
        _delete(lines, [str(end.namespace) for end in devices if (NAMESPACES / str(end.namespace)).exists()])

    def _make(self) -> None:
        _batch("ip", None, making(self._ends))
        for end in self._ends:
            ways = [(peer, link) for (source, peer), link in self._links.items() if source is end]
            _batch("ip", end.namespace, addressing(end, self._ends))
            _batch("tc", end.namespace, [shaping(end.interface(peer), link) for peer, link in ways if not is_down(link)])
        for a, b in combinations(self._ends, 2):
            self._switch(a, b)

    def _switch(self, a: End, b: End) -> None:
        """Takes the pair down, or up again, as its links say."""
        down = is_down(self._links[a, b]) or is_down(self._links[b, a])
        if down != ((a, b) in self._down):
            # At the device's end: from the caller's, packets would take his default route.
            _batch("ip", b.namespace, [f"link set {b.interface(a)} {'down' if down else 'up'}"])
            self._down ^= {(a, b)}


def _link(fleet: Fleet, source: str | None, target: str | None) -> Link:
    """What is between two places; nothing, if one is not known."""
    return Link() if source is None or target is None else fleet.link(source, target)


def require_tools() -> None:
    """ConfigError if this user or this system cannot make network namespaces."""
    if os.geteuid() != 0:
        raise ConfigError(f"network namespaces: expected root, running as user {os.geteuid()}; use sudo, or leave them off")
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            raise ConfigError(f"network namespaces: `{tool}` is not installed; install iproute2, or leave them off")


def sweep() -> None:
    """Removes the networks of runs whose process does not exist any more."""
    found = [path.name for path in NAMESPACES.glob(f"{rundir.PREFIX}*-*")]
    _delete([], [name for name in found if rundir.is_orphan(name)])


def subnets_in_use() -> list[Subnet]:
    """Of addresses and routes in this process's namespace; wider ones lead elsewhere, as a default route does."""
    addresses = [each["local"] for device in _ask("addr", "show") for each in device.get("addr_info", ())]
    routes = [route["dst"] for route in _ask("route", "show", "table", "all") if route["dst"] != "default"]
    found = [Subnet(text, strict=False) for text in (*addresses, *routes)]
    return [subnet for subnet in found if subnet.prefixlen >= RANGE.prefixlen]


def _ask(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_run(["ip", "-json", "-4", *words]) or "[]")
    return [each for each in found if each]


def _batch(tool: str, namespace: str | None, lines: Sequence[str]) -> None:
    """Carries out `lines`; PipelineError names the one that failed."""
    inside = ["-netns", namespace] if namespace else []
    _run([tool, *inside, "-batch", "-"], lines)


def _delete(lines: Sequence[str], namespaces: Sequence[str]) -> None:
    """Removes what is there of interfaces and namespaces."""
    deleting = [*lines, *(f"netns del {name}" for name in namespaces)]
    if deleting:
        _call(["ip", "-force", "-batch", "-"], deleting)
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
    # A session of its own: Ctrl-C comes to this process, which removes what has been made.
    text = "".join(f"{line}\n" for line in lines)
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=TOOL_S, start_new_session=True)
