"""The live page of a hub at a port of this machine alone: browsers have no certificate of the fleet, this process has.

It reads and changes nothing: only the page and the metrics are passed on. A request must name this machine as its host, so that
no page of another site can read the answer by a name that it lets point here (DNS rebinding).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from multiedge.defaults import LOOPBACK
from multiedge.errors import ConfigError, lower_first, one_line
from multiedge.network.identity import HUB, Identity, host_refusal, join_address, parse_address, require_tls
from multiedge.serving.aio import aiohttp, web
from multiedge.serving.seeing.pages import LIVE

CONNECT_S, READ_S = 5.0, 10.0
"""How long to wait for the hub to take a connection, and for the next bytes of an answer: events come every 2 s."""
PASSED = ("Content-Type", "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control")
"""The fields of an answer that are passed on."""


@asynccontextmanager
async def live_page(hub: str, identity: Identity | None, port: int) -> AsyncIterator[str]:
    """Serves the page while the block runs.

    Args:
        hub: 'HOST:PORT' of the hub.
        identity: Of a client; None for a hub on this machine without TLS.
        port: 0 for a free one.

    Yields:
        The address for a browser.

    Raises:
        ConfigError: If the port cannot be used.
    """
    host, hub_port = parse_address(hub)
    require_tls(host, identity, "--hub")
    context = identity.checking_context(HUB, f"hub {hub}") if identity else False
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=READ_S)
    root = f"{'https' if identity else 'http'}://{join_address(host, hub_port)}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), timeout=timeout) as session:
        app = _application(lambda path, accept: session.get(root + path, headers={"Accept": accept}), hub)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, LOOPBACK, port)
            try:
                await site.start()
            except OSError as error:
                reason = lower_first(error.strerror or str(error))
                raise ConfigError(f"--live: cannot listen on {LOOPBACK}:{port}: {reason}; choose another port") from None
            yield f"http://{LOOPBACK}:{runner.addresses[0][1]}{LIVE}"
        finally:
            await runner.cleanup()


def _application(ask: Callable[[str, str], Any], hub: str) -> web.Application:
    """Passes requests on; `ask` sends one of a path and an Accept to the hub."""

    async def passed(request: Any) -> Any:
        refusal = host_refusal(request.headers.get("Host", ""))
        if refusal:
            return web.Response(status=403, text=refusal)
        try:
            async with ask(request.path, request.headers.get("Accept", "*/*")) as answer:
                return await _passed_on(request, answer)
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            return web.Response(status=502, text=f"hub {hub}: cannot be reached: {one_line(error) or 'no answer in time'}")

    async def to_page(request: Any) -> Any:
        return web.Response(status=302, headers={"Location": LIVE})

    app = web.Application()
    app.router.add_get("/", to_page)
    for path in (LIVE, f"{LIVE}/{{name}}", "/metrics"):
        app.router.add_get(path, passed)
    return app


async def _passed_on(request: Any, answer: Any) -> Any:
    headers = {name: answer.headers[name] for name in PASSED if name in answer.headers}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    try:
        async for piece in answer.content.iter_any():
            await response.write(piece)
    except (aiohttp.ClientError, asyncio.TimeoutError, ConnectionError):  # the browser asks again by itself
        if request.transport:
            request.transport.abort()
    return response
