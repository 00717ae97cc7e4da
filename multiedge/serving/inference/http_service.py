"""The protocol over HTTP: routes of an aiohttp application, and what each answers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from multiedge.formats.documents import parse_json
from multiedge.formats.fields import Field
from multiedge.network.identity import is_loopback
from multiedge.serving.aio import web
from multiedge.serving.inference import http_codec as codec
from multiedge.serving.inference.contract import DeadlineExceeded, Status, Unavailable, Unsupported, status_of
from multiedge.serving.inference.operations import OPERATIONS
from multiedge.serving.inference.service import InferenceService, deadline_of, require_no_parameters, require_unnamed
from multiedge.serving.inference.shared_memory import Region
from multiedge.serving.inference.wire import Call, WireRequest
from multiedge.transports.open_inference import HEADER

LARGE_BYTES = 64 << 10
"""JSON of more bytes is decoded in another thread, so that other requests need not wait for it."""
CODINGS = ("gzip", "deflate")
JSON, BINARY = "application/json", "application/octet-stream"
Answer = Callable[[Any], Awaitable[Any]]


class HttpService:
    """The routes of the protocol. Models compute in `pool`; a body may have up to `most_bytes`."""

    def __init__(self, service: InferenceService, pool: concurrent.futures.Executor, most_bytes: int) -> None:
        self._service, self._pool, self._most_bytes = service, pool, most_bytes
        self._answers: dict[str, Answer] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "ModelInfer": self._model_infer,
            "RepositoryIndex": self._repository_index,
            "RepositoryModelLoad": self._repository_model_load,
            "RepositoryModelUnload": self._repository_model_unload,
            "SystemSharedMemoryStatus": self._system_shared_memory_status,
            "SystemSharedMemoryRegister": self._system_shared_memory_register,
            "SystemSharedMemoryUnregister": self._system_shared_memory_unregister,
        }

    def application(self) -> web.Application:
        """An application with all routes; a program may add routes of its own."""
        app = web.Application(client_max_size=self._most_bytes, middlewares=[_guard()])
        for operation in OPERATIONS:
            answer = _refuse(operation.refusal) if operation.refusal else self._answers.get(operation.name)
            for route in operation.routes:
                assert answer is not None
                verb, _, path = route.partition(" ")
                app.router.add_route(verb, path, answer)
        return app

    # -- server and models

    async def _server_live(self, request: Any) -> Any:
        return _json({"live": True})

    async def _server_ready(self, request: Any) -> Any:
        return _json({"ready": True})

    async def _server_metadata(self, request: Any) -> Any:
        info = self._service.info
        return _json({"name": info.name, "version": info.version, "extensions": list(info.extensions)})

    async def _model_ready(self, request: Any) -> Any:
        name, version = _model_of(request)
        if not self._service.repository.is_ready(name, version):
            raise Unavailable(f"model '{name}' is not ready")
        return _json({"name": name, "ready": True})

    async def _model_metadata(self, request: Any) -> Any:
        with self._service.repository.using(*_model_of(request)) as loaded:
            return _json(codec.describe_metadata(loaded.model))

    async def _model_config(self, request: Any) -> Any:
        with self._service.repository.using(*_model_of(request)) as loaded:
            return _json(codec.describe_config(loaded.model.config()))

    async def _model_statistics(self, request: Any) -> Any:
        return _json(codec.describe_statistics(self._service.repository.statistics(*_model_of(request))))

    # -- inference

    async def _model_infer(self, request: Any) -> Any:
        begin_s = time.monotonic()
        body = await request.read()
        size = codec.json_size(body, request.headers.get(HEADER))
        decode = partial(codec.decode_request, *_model_of(request), body, size)
        is_small = (len(body) if size is None else size) <= LARGE_BYTES
        wire = decode() if is_small else await self._in_pool(decode)
        waited_s = time.monotonic() - begin_s
        deadline_s = deadline_of(wire.parameters, None)
        call = _call_of(request, None if deadline_s is None else deadline_s - waited_s)
        future = self._in_pool(partial(self._infer, wire, call))
        reply = await future if call.deadline_s is None else await _until(future, call.deadline_s)
        headers = {} if reply.json_bytes is None else {HEADER: str(reply.json_bytes)}
        response = web.Response(body=reply.content, headers=headers, content_type=BINARY if headers else JSON)
        # A client that wants compression names one coding; libraries list all that they know, and the network is mostly faster.
        coding = request.headers.get("Accept-Encoding", "").strip().lower()
        if coding in CODINGS:
            response.enable_compression(web.ContentCoding(coding))
        return response

    def _infer(self, wire: WireRequest, call: Call) -> codec.Body:
        return codec.encode_reply(self._service.infer(wire, call), wire)

    def _in_pool(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    # -- repository

    async def _repository_index(self, request: Any) -> Any:
        wanted = await _fields(request)
        require_unnamed(wanted["repository_name"].optional(Field.text, ""))
        only_ready = wanted["ready"].optional(Field.boolean, False)
        entries = self._service.repository.index()
        return _json(codec.describe_index(entry for entry in entries if entry.is_ready or not only_ready))

    async def _repository_model_load(self, request: Any) -> Any:
        parameters = (await _fields(request))["parameters"]
        require_no_parameters(parameters.mapping() if parameters.given else ())
        await self._in_pool(partial(self._service.repository.load, request.match_info["model"]))
        return _json({})

    async def _repository_model_unload(self, request: Any) -> Any:
        await self._in_pool(partial(self._service.repository.unload, request.match_info["model"]))
        return _json({})

    # -- shared memory

    async def _system_shared_memory_status(self, request: Any) -> Any:
        return _json(codec.describe_regions(self._service.memory.status(request.match_info.get("region", ""))))

    async def _system_shared_memory_register(self, request: Any) -> Any:
        wanted = await _fields(request)
        key, size = wanted["key"].text(), wanted["byte_size"].count()
        region = Region(request.match_info["region"], key, wanted["offset"].optional(Field.count, 0), size)
        self._service.memory.register(region, _is_local(request))
        return _json({})

    async def _system_shared_memory_unregister(self, request: Any) -> Any:
        self._service.memory.unregister(request.match_info.get("region", ""), _is_local(request))
        return _json({})


def _guard() -> Any:
    """Answers every error with its status and one line in JSON."""

    @web.middleware
    async def guard(request: Any, handler: Answer) -> Any:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _refusal(error.status, f"{request.method} {request.path}: {error.reason}")
        except web.RequestPayloadError as error:  # a body that is not in the encoding that its header states
            return _refusal(Status.INVALID_ARGUMENT.value, error)
        except Exception as error:  # whatever a model raises is this request's failure, not the server's
            status = status_of(error)
            response = _refusal(status.value, error)
            if status is Status.RESOURCE_EXHAUSTED:
                response.headers["Retry-After"] = "1"
            return response

    return guard


def _refuse(reason: str) -> Answer:
    async def refuse(request: Any) -> Any:
        raise Unsupported(reason)

    return refuse


async def _until(future: asyncio.Future[Any], deadline_s: float) -> Any:
    """The result; DeadlineExceeded when the time is over, also while it is computed."""
    done, _ = await asyncio.wait([future], timeout=max(0.0, deadline_s - time.monotonic()))
    if not done:
        future.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody asks for it any more
        raise DeadlineExceeded("the time of the request was over before it was computed")
    return future.result()


def _call_of(request: Any, deadline_s: float | None) -> Call:
    def is_active() -> bool:
        return request.transport is not None and (deadline_s is None or time.monotonic() < deadline_s)

    return Call(is_active, deadline_s, lambda: _is_local(request))


def _is_local(request: Any) -> bool:
    return is_loopback(request.remote or "")


def _model_of(request: Any) -> tuple[str, str]:
    """Name and version in the path; '' for what it does not have."""
    return request.match_info.get("model", ""), request.match_info.get("version", "")


async def _fields(request: Any) -> Field:
    """The JSON of a body; no body is an empty mapping."""
    return parse_json(await request.read() or b"{}", "request", codec.REQUEST)


def _json(value: Any) -> Any:
    return web.Response(body=codec.encode(value), content_type=JSON)


def _refusal(status: int, reason: BaseException | str) -> Any:
    return web.Response(status=status, body=codec.error(reason), content_type=JSON)
