"""The requests of a hub over HTTP; every answer is JSON, except files of the pool and certificates.

A refusal is `{"error": "one line"}` with its status.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from multiedge.errors import MultiedgeError, NetworkError, one_line
from multiedge.network.encoding import decode, encode
from multiedge.network.identity import host_refusal, name_in
from multiedge.network.records import Deployment, ModelRecord, NodeState, PlanRecord, ResultRecord
from multiedge.network.runs import RunReport
from multiedge.serving.aio import web
from multiedge.serving.hub.access import ANYBODY_ON_LOOPBACK, HEARTBEAT, RUNS, is_own_state, refusal_of
from multiedge.serving.hub.exchange import Exchange, Observe, ignore
from multiedge.serving.hub.hub import Hub
from multiedge.serving.hub.joining import PATH as JOIN
from multiedge.serving.hub.joining import JoinRequest
from multiedge.serving.hub.listener import Listener
from multiedge.serving.hub.log import LOGGER, LimitedLog
from multiedge.serving.seeing.events import Feed
from multiedge.serving.seeing.pages import HEADERS, INDEX, LIVE, page_files
from multiedge.serving.seeing.prometheus import Exposition, hub_metrics

T = TypeVar("T")
Handler = Callable[[Any], Awaitable[Any]]

MAX_RECORD_BYTES = 32 << 20
"""The largest record, such as a plan."""
MAX_JOIN_BYTES = 16 << 10
"""The largest request to join, which may come from anybody."""
STALL_S = 30.0
"""How long an upload or a download may pause."""
WRITE_BYTES = 1 << 20


class HubApp:
    """The handlers of a hub. `listener` is set before the first request; `observe` is told of each permitted one."""

    def __init__(self, hub: Hub, log: LimitedLog, exposition: Exposition, observe: Observe = ignore) -> None:
        self._hub, self._log, self._observe = hub, log, observe
        self._uploading: set[str] = set()
        self._feed, self._exposition, self._pages = Feed(hub.snapshot), exposition, page_files()
        self.listener: Listener | None = None

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_RECORD_BYTES, middlewares=[self._guard()])
        route = app.router.add_route
        route("GET", JOIN, self._certificate)
        route("POST", JOIN, self._join)
        route("GET", "/v1/hub", self._state)
        route("POST", HEARTBEAT, self._heartbeat)
        route("GET", "/v1/nodes", self._listing(lambda: self._hub.nodes()))
        route("HEAD", "/v1/blobs/{digest}", self._blob_state)
        route("GET", "/v1/blobs/{digest}", self._blob)
        route("PUT", "/v1/blobs/{digest}", self._upload)
        route("GET", "/v1/plans/{digest}", self._plan)
        route("PUT", "/v1/plans/{digest}", self._put_plan)
        route("GET", "/v1/deployments", self._listing(lambda: self._hub.deployments()))
        route("GET", "/v1/deployments/{name}", self._deployment)
        route("PUT", "/v1/deployments/{name}", self._deploy)
        route("DELETE", "/v1/deployments/{name}", self._undeploy)
        route("GET", "/v1/models", self._listing(lambda: self._hub.store.models()))
        route("POST", "/v1/models", self._put_model)
        route("DELETE", "/v1/models/{name}/{version}", self._remove_model)
        route("GET", "/v1/results", self._listing(lambda: self._hub.store.results()))
        route("POST", "/v1/results", self._put_result)
        route("POST", RUNS, self._hear_run)
        route("GET", "/metrics", self._metrics)
        route("GET", LIVE, self._page)
        route("GET", f"{LIVE}/events", self._feed.stream)
        route("GET", f"{LIVE}/{{name}}", self._page)
        app.on_shutdown.append(self._end_feed)
        return app

    # -- before and after each request

    def _guard(self) -> Any:
        @web.middleware
        async def guard(request: Any, handler: Handler) -> Any:
            who, peer = self._who(request), request.remote or "unknown"
            reason = refusal_of(who, request.method, request.path)
            if self._hub.authority is None:
                reason = host_refusal(request.headers.get("Host", ""))
            if reason:
                self._log.warn("not permitted", f"{peer}: {request.method} {request.path}: refused: {reason}")
                return _error(403 if who else 401, reason, close=not who)
            if who and self.listener:
                self.listener.permit(request.transport)
            start_s = time.time()
            try:
                answer = await handler(request)
                if self._observe is not ignore:
                    self._observe(await _exchange(who, request, answer, start_s))
                return answer
            except web.HTTPException as error:
                return _error(error.status, f"{request.method} {request.path}: {lower(error.reason)}")
            except MultiedgeError as error:
                status = (error.status if isinstance(error, NetworkError) else None) or 400
                if status not in (404, 409):
                    self._log.warn("refused", f"{peer}: {request.method} {request.path}: refused: {error}")
                return _error(status, str(error))
            except (ConnectionError, asyncio.TimeoutError) as error:
                self._log.warn(
                    "interrupted", f"{peer}: {request.method} {request.path}: interrupted: {one_line(error) or 'too slow'}"
                )
                return _error(400, "the request was interrupted", close=True)
            except Exception:
                LOGGER.exception("%s: %s %s: failed", peer, request.method, request.path)
                return _error(500, "the hub failed; its log says why")

        return guard

    def _who(self, request: Any) -> str:
        if self._hub.authority is None:
            return ANYBODY_ON_LOOPBACK
        return name_in(request.transport.get_extra_info("peercert")) if request.transport else ""

    # -- who joins, nodes

    async def _certificate(self, request: Any) -> Any:
        if self._hub.authority is None:
            return _error(404, "join: this hub runs without TLS, so there is nothing to join")
        return web.Response(body=self._hub.authority.certificate_pem, content_type="application/x-pem-file")

    async def _join(self, request: Any) -> Any:
        body = await asyncio.wait_for(_read_at_most(request, MAX_JOIN_BYTES), STALL_S)
        return _answer(self._hub.admit(decode(JoinRequest, body, f"POST {JOIN}"), request.remote or "unknown"))

    async def _state(self, request: Any) -> Any:
        return _answer(self._hub.state(self.listener.connections if self.listener else 0))

    async def _heartbeat(self, request: Any) -> Any:
        state, who = await _record(NodeState, request), self._who(request)
        if not is_own_state(who, state.name):
            raise NetworkError(f"heartbeat: '{who}' is not node '{state.name}'", status=403)
        return _answer(self._hub.hear(state, request.remote or ""))

    # -- pool

    async def _blob_state(self, request: Any) -> Any:
        state = self._hub.pool.state(request.match_info["digest"])
        if state.complete:
            return web.Response(headers={"Content-Length": str(state.stored_bytes)})
        return web.Response(status=404, headers={"Upload-Offset": str(state.stored_bytes)})

    async def _blob(self, request: Any) -> Any:
        digest = request.match_info["digest"]
        if not self._hub.pool.state(digest).complete:
            raise NetworkError(f"pool: has no file {digest[:12]}", status=404)
        return await self._send(request, self._hub.pool.path(digest))

    async def _send(self, request: Any, path: Path) -> Any:
        """The range of a file that is asked for, or all of it; ends as soon as nobody reads it."""
        size = path.stat().st_size
        try:
            asked = request.http_range
        except ValueError:
            raise NetworkError("pool: Range: expected bytes=FIRST-LAST", status=400) from None
        start, stop, _ = asked.indices(size)
        if start >= stop and size:
            raise NetworkError(f"pool: the file has {size} bytes, none of them in the range", status=416)
        is_part = asked.start is not None or asked.stop is not None
        response = web.StreamResponse(status=206 if is_part else 200)
        response.content_length = stop - start
        if is_part:
            response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        await response.prepare(request)
        try:
            with path.open("rb") as file:
                file.seek(start)
                for at in range(start, stop, WRITE_BYTES):
                    piece = await asyncio.to_thread(file.read, min(WRITE_BYTES, stop - at))
                    await asyncio.wait_for(response.write(piece), STALL_S)
            await response.write_eof()
        except (ConnectionError, asyncio.TimeoutError):  # a node that goes on later asks for the rest
            if request.transport:
                request.transport.abort()
        return response

    async def _upload(self, request: Any) -> Any:
        digest = request.match_info["digest"]
        offset, size = _count(request, "offset"), _count(request, "size")
        if digest in self._uploading:
            raise NetworkError("upload: another one of this file is going on; try again", status=409)
        if self._hub.pool.state(digest).complete:
            return web.Response(status=204)
        path = self._hub.pool.open_upload(digest, offset, size)
        self._uploading.add(digest)
        try:
            with path.open("ab") as file:
                left = size - offset
                while piece := await asyncio.wait_for(request.content.read(WRITE_BYTES), STALL_S):
                    left -= len(piece)
                    if left < 0:
                        raise NetworkError(f"upload: expected {size - offset} bytes, got more", status=400)
                    await asyncio.to_thread(file.write, piece)
            if left == 0:
                await asyncio.to_thread(self._hub.pool.finish, digest)
        finally:
            self._uploading.discard(digest)
        return web.Response(status=204) if left == 0 else _error(400, f"upload: {left} bytes are missing; resume it")

    # -- plans, deployments, models, results

    async def _plan(self, request: Any) -> Any:
        return _answer(self._hub.plan(request.match_info["digest"]))

    async def _put_plan(self, request: Any) -> Any:
        self._hub.put_plan(request.match_info["digest"], await _record(PlanRecord, request))
        return web.Response(status=204)

    async def _deployment(self, request: Any) -> Any:
        return _answer(self._hub.deployment(request.match_info["name"]))

    async def _deploy(self, request: Any) -> Any:
        deployment = await _record(Deployment, request)
        if deployment.name != request.match_info["name"]:
            raise NetworkError(f"deployment '{request.match_info['name']}': its record has another name", status=400)
        return _answer(self._hub.deploy(deployment))

    async def _undeploy(self, request: Any) -> Any:
        self._hub.undeploy(request.match_info["name"])
        return web.Response(status=204)

    async def _put_model(self, request: Any) -> Any:
        return _answer(self._hub.put_model(await _record(ModelRecord, request)))

    async def _remove_model(self, request: Any) -> Any:
        self._hub.remove_model(request.match_info["name"], request.match_info["version"])
        return web.Response(status=204)

    async def _put_result(self, request: Any) -> Any:
        return _answer(self._hub.put_result(await _record(ResultRecord, request)))

    # -- what people and programs see

    async def _hear_run(self, request: Any) -> Any:
        self._hub.hear_run(await _record(RunReport, request), self._who(request))
        return web.Response(status=204)

    async def _metrics(self, request: Any) -> Any:
        watch, now_s = self._hub.watch()
        state = self._hub.state(self.listener.connections if self.listener else 0)
        families = hub_metrics(state, watch, self._hub.deployments(), now_s)
        text, content_type = self._exposition.text(families, request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def _page(self, request: Any) -> Any:
        name = request.match_info.get("name", INDEX)
        if name not in self._pages:
            raise NetworkError(f"live: there is no file {name[:40]!r}", status=404)
        file = self._pages[name]
        return web.Response(body=file.content, content_type=file.content_type, charset="utf-8", headers=HEADERS)

    async def _end_feed(self, app: web.Application) -> None:
        await self._feed.close()

    def _listing(self, records: Callable[[], Any]) -> Handler:
        async def handler(request: Any) -> Any:
            return _answer(records())

        return handler


async def _exchange(who: str, request: Any, answer: Any, start_s: float) -> Exchange:
    is_record = answer.content_type == "application/json" or request.content_type == "application/json"
    received = await request.read() if request.method in ("PUT", "POST") else b""  # a file has been read, and leaves nothing
    sent = answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) and is_record else b""
    lengths = (request.content_length or 0, answer.content_length or 0)
    return Exchange(who, request.method, request.path, answer.status, start_s, time.time(), *lengths, received, sent)


async def _read_at_most(request: Any, most_bytes: int) -> bytes:
    """The body; NetworkError for a longer one, of which no more is kept."""
    body = b""
    while piece := await request.content.readany():
        body += piece
        if len(body) > most_bytes:
            raise NetworkError(f"{request.method} {request.path}: expected at most {most_bytes} bytes, got more", status=413)
    return body


async def _record(kind: type[T], request: Any) -> T:
    body = await asyncio.wait_for(request.read(), STALL_S)
    return decode(kind, body, f"{request.method} {request.path}")


def _answer(record: Any) -> Any:
    return web.Response(body=encode(record), content_type="application/json")


def _error(status: int, line: str, *, close: bool = False) -> Any:
    response = web.json_response({"error": line}, status=status)
    if close:
        response.force_close()
    return response


def _count(request: Any, name: str) -> int:
    text = request.query.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise NetworkError(f"upload: {name}: expected a whole number, got {text[:20]!r}", status=400)
    return int(text)


def lower(text: str) -> str:
    return text[:1].lower() + text[1:]
