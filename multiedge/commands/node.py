"""`multiedge node`: the agent of a device in a fleet, until it is stopped."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from multiedge.commands._front import front_options, server_options
from multiedge.commands._options import read_size
from multiedge.defaults import DEFAULT_HUB_PORT, DEFAULT_NODE_PORT
from multiedge.errors import ConfigError
from multiedge.files import data_folder, write_text
from multiedge.network.connection import own_address
from multiedge.network.encoding import require_name
from multiedge.network.identity import KEY_FILE, NODE, Identity, find_identity, is_loopback, join_address, parse_address
from multiedge.serving.node.agent import Agent, NodeOptions
from multiedge.serving.node.limits import Limits

if TYPE_CHECKING:
    from multiedge.serving.front.front import FrontOptions
    from multiedge.serving.front.mounted import MountedFront
    from multiedge.serving.inference.server import ServerOptions

IDENTITY = "identity"
"""The folder of the certificate, below the data folder."""
USED_TOKEN = "token"
"""The file in it with the number of the token that was used for it."""


def run(args: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM, which both end it with status 0; the address is printed once it listens."""
    _log_to_stderr()
    name = require_name("--name", args.name or socket.gethostname().partition(".")[0])
    limits = Limits.of(read_size("--memory", args.memory) if args.memory else None, args.threads, args.cpu_share)
    cache_bytes, probe_bytes = read_size("--cache", args.cache), read_size("--probe", args.probe, least=0)
    hub = _hub(args)
    host, port = _listening(args.listen, hub)
    folder = Path(args.data) if args.data else data_folder("nodes") / name
    identity = _identity(folder / IDENTITY, hub, name, args.join)  # last, since it uses up the token
    options = NodeOptions(name, hub, folder, identity, limits, host, port, cache_bytes, probe_bytes)
    serving = server_options(args, identity)
    front = front_options(args, folder) if serving else None
    with _signals() as ended, contextlib.closing(Agent(options)) as agent, contextlib.ExitStack() as stack:
        agent.start()
        print(f"node '{name}' on {agent.address}, hub {hub}", flush=True)
        if serving and front:
            mounted = stack.enter_context(contextlib.closing(_mounted(args, agent, options, serving, front)))
            agent.exposition.add(mounted.metrics)
            for line in mounted.addresses:
                print(f"serves on {line}", flush=True)
        print("stop with Ctrl-C", file=sys.stderr, flush=True)
        os.read(ended, 1)
    return 0


def _mounted(
    args: argparse.Namespace, agent: Agent, options: NodeOptions, server: ServerOptions, front: FrontOptions
) -> MountedFront:
    """The front end of this device; it runs deployments as a client, and while its switch is off the node is silent."""
    from multiedge.serving.front.mounted import MountedFront
    from multiedge.serving.front.offload import OffloadView
    from multiedge.serving.front.openers import HubAccess, ThisDevice

    def look() -> OffloadView:
        state = agent.state()
        return OffloadView(busy=state.load, battery=state.battery)

    hub = HubAccess(options.hub, find_identity(args.identity))
    device = ThisDevice(options.name, agent.folders, options.limits)
    return MountedFront(server, front, hub, device, look, agent.set_silent)


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that can be read once SIGINT or SIGTERM has come. Neither raises an error meanwhile: a second one must not
    end what ends the workers."""
    ended, end = os.pipe()
    before = {number: signal.signal(number, lambda *_: os.write(end, b"x")) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(ended)
        os.close(end)


def _hub(args: argparse.Namespace) -> str:
    if args.discover:
        from multiedge.serving.discovery import find_hub

        return find_hub()
    return join_address(*parse_address(args.hub, "--hub", DEFAULT_HUB_PORT))


def _listening(text: str | None, hub: str) -> tuple[str, int]:
    """Where the node listens: by default at the address of this machine on the network that leads to the hub."""
    if text is not None:
        return parse_address(text, "--listen", DEFAULT_NODE_PORT)
    return own_address(*parse_address(hub)), DEFAULT_NODE_PORT


def _identity(folder: Path, hub: str, name: str, token: str | None) -> Identity | None:
    """The node's certificate: a new one with a token that it has not used, otherwise that of an earlier time; None for a hub on
    loopback without TLS. So a service may be started again by the line with which it joined, also without the token's text."""
    if token:
        from multiedge.serving.hub.authority import Token
        from multiedge.serving.hub.joining import join

        used, number = folder / USED_TOKEN, Token.parse(token).number
        if not (used.is_file() and used.read_text(encoding="ascii", errors="replace") == number):
            identity = join(hub, token, f"{NODE}{name}", folder)
            write_text(used, number)
            return identity
    if (folder / KEY_FILE).exists():
        return find_identity(folder)
    if is_loopback(parse_address(hub, "--hub")[0]):
        return None
    raise ConfigError(
        f"{folder}: holds no certificate of node '{name}'; get a token with `multiedge hub token`, give --join TOKEN"
    )


def _log_to_stderr() -> None:
    """Events of the node as lines with their time."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("multiedge")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
