"""Hubs on the same network, by multicast DNS: how one makes itself known, and how a node looks for one.

What is found is an address and no more: the hub shows who it is by its certificate, as everywhere.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from multiedge.errors import ConfigError, MissingDependencyError, NetworkError, lower_first
from multiedge.network.connection import own_address
from multiedge.network.identity import is_loopback, is_unspecified, join_address

SERVICE = "_multiedge._tcp.local."
LOOK_S = 3.0
ELSEWHERE = ("192.0.2.1", 9)
"""An address that leads out of this machine (RFC 5737); nothing is sent to it."""


@contextmanager
def advertised(name: str, host: str, port: int) -> Iterator[None]:
    """Makes a hub known under `name` while the context lasts.

    ConfigError if it listens on this machine alone; NetworkError if the network takes no multicast.
    """
    if is_loopback(host):
        raise ConfigError(f"--discover: {host} is this machine alone; listen on another address, or leave --discover off")
    zeroconf = _zeroconf()
    address = own_address(*ELSEWHERE) if is_unspecified(host) else host
    info = zeroconf.ServiceInfo(SERVICE, f"{name}.{SERVICE}", addresses=[socket.inet_aton(address)], port=port)
    try:
        with zeroconf.Zeroconf(interfaces=[address]) as known:
            known.register_service(info, allow_name_change=True)
            yield
    except OSError as error:
        raise _no_multicast(error) from error


def find_hub(timeout_s: float = LOOK_S) -> str:
    """'HOST:PORT' of the hub on this network.

    ConfigError if there is none, or more than one; NetworkError if the network takes no multicast.
    """
    zeroconf = _zeroconf()
    try:
        with zeroconf.Zeroconf(interfaces=[own_address(*ELSEWHERE)]) as known:
            hubs = _look(zeroconf, known, timeout_s)
    except OSError as error:
        raise _no_multicast(error) from error
    if len(hubs) != 1:
        several = f"expected one, got {', '.join(sorted(hubs))}" if hubs else f"none has answered in {timeout_s:g} s"
        raise ConfigError(f"--discover: looked for a hub on this network: {several}; give --hub HOST:PORT")
    return hubs.pop()


def _look(zeroconf: Any, known: Any, timeout_s: float) -> set[str]:
    """The addresses of hubs that have answered; a second of quiet after the first ends the look."""
    hubs: set[str] = set()
    names: list[str] = []

    def changed(zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        names.append(name)

    browser = zeroconf.ServiceBrowser(known, SERVICE, handlers=[changed])
    until_s = time.monotonic() + timeout_s
    while (left_s := until_s - time.monotonic()) > 0:
        if names:
            info = known.get_service_info(SERVICE, names.pop(), timeout=int(left_s * 1000))
            hubs |= {join_address(address, info.port) for address in info.parsed_addresses()} if info else set()
            until_s = min(until_s, time.monotonic() + 1.0)
        else:
            time.sleep(0.05)
    browser.cancel()
    return hubs


def _zeroconf() -> Any:
    try:
        import zeroconf
    except ImportError:
        raise MissingDependencyError("zeroconf", extra="discovery") from None
    return zeroconf


def _no_multicast(error: OSError) -> NetworkError:
    return NetworkError(
        f"--discover: this network takes no multicast: {lower_first(error.strerror or str(error))}; give --hub HOST:PORT"
    )
