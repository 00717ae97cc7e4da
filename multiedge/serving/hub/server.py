"""A hub that listens: its parts put together, in the event loop of a thread or of the process."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from multiedge.defaults import DEFAULT_HUB_PORT, LOOPBACK
from multiedge.network.identity import CA_FILE, Identity, join_address, require_tls
from multiedge.serving.aio import web
from multiedge.serving.hub.app import HubApp
from multiedge.serving.hub.authority import Authority
from multiedge.serving.hub.exchange import Observe, ignore
from multiedge.serving.hub.hub import Hub
from multiedge.serving.hub.listener import Limits, Listener
from multiedge.serving.hub.log import LOGGER, LimitedLog
from multiedge.serving.hub.puller import Puller
from multiedge.serving.hub.registry import LOOK_S
from multiedge.serving.seeing.prometheus import Exposition

KEEP_ALIVE_S = 30.0
"""How long a connection may be idle between two requests."""
SWEEP_S = 3600.0
"""How often what nothing refers to is removed from the pool."""


@dataclass(frozen=True)
class HubOptions:
    """How a hub runs.

    Attributes:
        folder: The data folder; with a CA in it the hub uses TLS.
        host: Address to listen on.
        port: Port; 0 is a free one.
        most_file_bytes: The largest file that its pool takes.
        pulls: Whether it asks nodes for their states, too, so that they need not report.
        limits: Of connections.
    """

    folder: Path
    host: str = LOOPBACK
    port: int = DEFAULT_HUB_PORT
    most_file_bytes: int = 64 << 30
    pulls: bool = False
    limits: Limits = field(default_factory=Limits)


class HubServer:
    """A hub. `serve` runs it until it is cancelled; as a context manager it runs in a thread of its own.

    Args:
        options: How it runs.
        observe: Is told of each exchange with somebody.

    Raises:
        ConfigError: If it would listen beyond loopback without TLS, or the folder or the address cannot be used.
    """

    def __init__(self, options: HubOptions, observe: Observe = ignore) -> None:
        self._options, self._observe = options, observe
        has_ca = (options.folder / CA_FILE).exists()
        self._authority = Authority(options.folder) if has_ca else None
        self._identity = self._authority.hub_identity if self._authority else None
        require_tls(options.host, self._identity, "hub")
        self.address = ""
        self.exposition = Exposition()
        """Of the hub's metrics."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: BaseException | None = None
        self._stop: asyncio.Event | None = None

    @property
    def identity(self) -> Identity | None:
        """Its own; None without TLS."""
        return self._identity

    @property
    def uses_tls(self) -> bool:
        return self._identity is not None

    async def stopped(self) -> None:
        """Returns once it is to end; it must be serving."""
        assert self._stop is not None
        await self._stop.wait()

    async def serve(self, ready: threading.Event) -> None:
        """Serves until `stop`, and sets `ready` once it listens."""
        options = self._options
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        hub = Hub(options.folder, options.most_file_bytes, authority=self._authority)
        log = LimitedLog(time.monotonic)
        app = HubApp(hub, log, self.exposition, self._observe)
        runner = web.AppRunner(app.application(), access_log=None, logger=log.logger(), keepalive_timeout=KEEP_ALIVE_S)
        try:
            await runner.setup()
            assert runner.server is not None
            context = self._identity.joining_context() if self._identity else None
            app.listener = Listener(runner.server, context, log, options.limits)
            try:
                port = app.listener.open(options.host, options.port)
                self.address = join_address(options.host, port)
                LOGGER.info("listens on %s %s", self.address, "with TLS" if context else "without TLS, for this machine alone")
                ready.set()
                puller = asyncio.create_task(Puller(hub, self._identity, log, self._observe).run()) if options.pulls else None
                await self._until_stopped(hub, log)
                if puller:
                    puller.cancel()
                    await asyncio.wait([puller])
            finally:
                await app.listener.close()
        finally:
            await runner.cleanup()
            hub.close()

    async def _until_stopped(self, hub: Hub, log: LimitedLog) -> None:
        assert self._stop is not None
        swept_s = -math.inf
        while not self._stop.is_set():
            log.flush()
            if time.monotonic() - swept_s > SWEEP_S:
                swept_s = time.monotonic()
                hub.sweep()
            hub.watch()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), LOOK_S)

    def stop(self) -> None:
        """Ends `serve`; from any thread or signal handler."""
        if self._loop and self._stop:
            self._loop.call_soon_threadsafe(self._stop.set)

    def __enter__(self) -> HubServer:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="hub", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self.serve(ready))
        except BaseException as error:
            self._failure = error
        finally:
            ready.set()
