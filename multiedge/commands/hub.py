"""`multiedge hub`: the registry, pool and deployments of a fleet."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from multiedge.commands._front import front_options, server_options
from multiedge.commands._options import hub_data, read_size
from multiedge.defaults import DEFAULT_HUB_PORT, LOOPBACK
from multiedge.errors import ConfigError
from multiedge.network.encoding import require_name
from multiedge.network.identity import (
    CLIENT,
    ENVIRONMENT,
    KEY_FILE,
    NODE,
    Identity,
    is_unspecified,
    join_address,
    parse_address,
)
from multiedge.serving.hub.authority import CLIENT_FOLDER, Authority
from multiedge.serving.hub.server import HubOptions, HubServer
from multiedge.serving.hub.store import Store

if TYPE_CHECKING:
    from multiedge.serving.front.front import FrontOptions
    from multiedge.serving.front.mounted import MountedFront
    from multiedge.serving.inference.server import ServerOptions

MOST_HOURS = 24 * 366


def run(args: argparse.Namespace) -> int:
    folder = hub_data(args)
    if args.action == "init":
        return _init(folder)
    return _token(args, folder) if args.action == "token" else _run(args, folder)


def _init(folder: Path) -> int:
    authority = Authority.create(folder)
    print(f"CA {authority.fingerprint}")
    print(f"hub: multiedge hub run --data {folder} --listen ADDRESS:{DEFAULT_HUB_PORT}")
    print(f"nodes: multiedge hub token --data {folder}")
    print(f"this client: export {ENVIRONMENT}={folder.resolve() / CLIENT_FOLDER}")
    return 0


def _token(args: argparse.Namespace, folder: Path) -> int:
    """Prints the token alone on stdout, so that scripts can use it."""
    if not 0 < args.hours <= MOST_HOURS:
        raise ConfigError(f"--hours: expected more than 0 and at most {MOST_HOURS}, got {args.hours:g}")
    if args.client and not args.name:
        raise ConfigError("--client: expected a name for the client; add --name NAME")
    kind = CLIENT if args.client else NODE
    holder = kind + (require_name("--name", args.name) if args.name else "")
    token, record = Authority(folder).new_token(holder, time.time(), args.hours * 3600)
    store = Store(folder)
    store.add_token(record)
    store.close()
    print(token)
    use = "fleet --hub HOST:PORT --join" if args.client else "node --hub HOST:PORT --join"
    print(f"good for {args.hours:g} h, one time: multiedge {use} TOKEN", file=sys.stderr)
    return 0


def _run(args: argparse.Namespace, folder: Path) -> int:
    host, port = parse_address(args.listen, "--listen", DEFAULT_HUB_PORT)
    server = HubServer(HubOptions(folder, host, port, read_size("--max-file", args.max_file), args.pull))
    serving = server_options(args, server.identity)
    front = front_options(args, folder) if serving else None
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
    for name in ("multiedge.hub", "multiedge.serving.front"):
        logging.getLogger(name).setLevel(logging.INFO)
    with _known(args.discover, host, port):
        asyncio.run(_serve(server, partial(_mounted, folder, serving, front) if serving and front else None))
    return 0


def _known(discover: bool, host: str, port: int) -> AbstractContextManager[None]:
    """Makes the hub known on the network, if that is wanted."""
    if not discover:
        return nullcontext()
    if port == 0:
        raise ConfigError("--discover: expected --listen with a port other than 0")
    from multiedge.serving.discovery import advertised

    return advertised(socket.gethostname().partition(".")[0], host, port)


def _mounted(folder: Path, serving: ServerOptions, front: FrontOptions, address: str) -> MountedFront:
    """The front end of the hub that listens at the address."""
    from multiedge.serving.front.mounted import MountedFront
    from multiedge.serving.front.openers import HubAccess

    client = folder / CLIENT_FOLDER
    identity = Identity(client) if (client / KEY_FILE).exists() else None
    host, port = parse_address(address)
    own = join_address(LOOPBACK if is_unspecified(host) else host, port)
    return MountedFront(serving, front, HubAccess(own, identity))


async def _serve(server: HubServer, mount: Callable[[str], MountedFront] | None) -> None:
    """Serves until SIGINT or SIGTERM; prints the address once it listens."""
    loop, ready = asyncio.get_running_loop(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    serving = asyncio.create_task(server.serve(ready))
    while not (ready.is_set() or serving.done()):
        await asyncio.sleep(0.01)
    if ready.is_set():
        print(f"hub {server.address} {'TLS' if server.uses_tls else 'without TLS'}", flush=True)
        mounted = await asyncio.to_thread(mount, server.address) if mount else None
        if mounted:
            server.exposition.add(mounted.metrics)
        for line in mounted.addresses if mounted else ():
            print(f"serves on {line}", flush=True)
        print("stop with Ctrl-C", file=sys.stderr, flush=True)
        if mounted:
            stopped = asyncio.create_task(server.stopped())
            await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.to_thread(mounted.close)
            stopped.cancel()
    await serving
