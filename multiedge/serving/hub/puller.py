"""State by pull: the hub asks each node that it knows for its state, and tells it what it is to hold."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from multiedge.errors import MultiedgeError, NetworkError, one_line
from multiedge.formats.records import LineDecoder, encode_line
from multiedge.network.encoding import MESSAGE, encode
from multiedge.network.identity import NODE, Identity, parse_address, require_peer
from multiedge.network.records import HEARTBEAT_S, GetState, NodeState
from multiedge.serving.hub.exchange import Exchange, Observe, ignore
from multiedge.serving.hub.hub import Hub
from multiedge.serving.hub.log import LimitedLog

MAX_STATE_BYTES = 1 << 20
ANSWER_S = 2 * HEARTBEAT_S
"""How long a node may take to connect, and to answer."""
READ_BYTES = 64 << 10
LONGEST_WAIT_S = 30.0
"""Before a node that does not answer is asked again. A node that is there reports by itself when nobody asks."""


class Puller:
    """Asks every node each `HEARTBEAT_S`, over one connection for each, until it is cancelled."""

    def __init__(self, hub: Hub, identity: Identity | None, log: LimitedLog, observe: Observe = ignore) -> None:
        self._hub, self._identity, self._log, self._observe = hub, identity, log, observe

    async def run(self) -> None:
        asked: dict[str, asyncio.Task[None]] = {}
        failures: dict[str, int] = {}
        try:
            while True:
                for state in self._hub.known_nodes():
                    if state.name not in asked or asked[state.name].done():
                        asked[state.name] = asyncio.create_task(self._ask(state.name, state.address, failures))
                await asyncio.sleep(HEARTBEAT_S)
        finally:
            for task in asked.values():
                task.cancel()
            await asyncio.gather(*asked.values(), return_exceptions=True)

    async def _ask(self, name: str, address: str, failures: dict[str, int]) -> None:
        """Asks one node as long as it answers, then waits the longer the more often it did not."""
        try:
            host, port = parse_address(address)
            async with self._connection(name, host, port) as (reader, writer):
                decoder = LineDecoder((NodeState,), f"node '{name}' at {address}", MESSAGE, MAX_STATE_BYTES)
                while True:
                    asked, start_s = encode_line(GetState(self._hub.assignments(name))), time.time()
                    writer.write(asked)
                    state = await asyncio.wait_for(_message(reader, decoder), ANSWER_S)
                    if state.name != name:
                        raise NetworkError(f"node '{name}' at {address}: gave the state of '{state.name}'")
                    self._hub.hear(state, host)
                    if self._observe is not ignore:
                        self._observe(_exchange(name, asked, state, start_s))
                    failures[name] = 0
                    await asyncio.sleep(HEARTBEAT_S)
        except (OSError, asyncio.TimeoutError) as error:
            self._log.warn(
                "cannot ask", f"node '{name}' at {address}: cannot be asked: {one_line(error) or 'no answer in time'}"
            )
        except MultiedgeError as error:
            self._log.warn("cannot ask", str(error))
        failures[name] = failures.get(name, 0) + 1
        await asyncio.sleep(min(LONGEST_WAIT_S, HEARTBEAT_S * 2 ** min(failures[name], 10)))

    @asynccontextmanager
    async def _connection(self, name: str, host: str, port: int) -> AsyncIterator[tuple[Any, Any]]:
        context = self._identity.client_context() if self._identity else None
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port, ssl=context), ANSWER_S)
        try:
            secured = writer.get_extra_info("ssl_object")
            if isinstance(secured, ssl.SSLObject):
                require_peer(secured, f"{NODE}{name}", f"node '{name}' at {host}")
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def _exchange(name: str, asked: bytes, state: NodeState, start_s: float) -> Exchange:
    received = encode(state)
    return Exchange(f"{NODE}{name}", "GetState", "", 200, start_s, time.time(), len(received), len(asked), received, asked)


async def _message(reader: asyncio.StreamReader, decoder: LineDecoder[NodeState]) -> NodeState:
    while True:
        data = await reader.read(READ_BYTES)
        if not data:
            raise ConnectionError("it ended the connection")
        for message in decoder.feed(data):
            return message
