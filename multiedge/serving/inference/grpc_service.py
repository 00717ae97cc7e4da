"""The protocol over gRPC: `GRPCInferenceService`, and MLServer's name of the service with the repository's methods."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, NoReturn, Protocol

from multiedge.errors import one_line
from multiedge.network.identity import is_loopback, parse_address
from multiedge.serving.inference import grpc_codec as codec
from multiedge.serving.inference.contract import Busy, DeadlineExceeded, Unsupported, status_of
from multiedge.serving.inference.operations import OPERATIONS
from multiedge.serving.inference.ordered import in_order
from multiedge.serving.inference.service import InferenceService, deadline_of, require_no_parameters, require_unnamed
from multiedge.serving.inference.shared_memory import Region
from multiedge.serving.inference.wire import TIMEOUT, Call, WireReply, WireRequest
from multiedge.transports.open_inference import SERVICE, grpc_module, messages

REPOSITORY_SERVICE = "inference.model_repository.ModelRepositoryService"
"""MLServer's service; its messages are those of the protocol."""
REPOSITORY_METHODS = ("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload")
STREAM = "ModelStreamInfer"
MOST_STREAMS = 64
"""Streams that may be open; each holds a thread."""
MOST_AT_A_TIME = 8
"""Requests of one stream that are computed at the same time."""
MOST_CHARACTERS = 1000
"""Of an error: gRPC sends it in a header, which is limited."""


class Context(Protocol):
    """The part of grpc.ServicerContext that is used here."""

    def abort(self, code: Any, details: str) -> NoReturn: ...

    def is_active(self) -> bool: ...

    def time_remaining(self) -> float | None: ...

    def peer(self) -> str: ...


Answer = Callable[[Any, Context], Any]


class GrpcService:
    """The methods of the protocol. `pool` computes what must not hold the thread of its call."""

    def __init__(self, service: InferenceService, pool: concurrent.futures.Executor) -> None:
        self._grpc = grpc_module()
        self._service, self._pool = service, pool
        self._streams = threading.BoundedSemaphore(MOST_STREAMS)
        self._answers: dict[str, Answer] = {
            "ServerLive": lambda request, context: messages()["ServerLiveResponse"](live=True),
            "ServerReady": lambda request, context: messages()["ServerReadyResponse"](ready=True),
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

    def handlers(self) -> tuple[Any, ...]:
        """Generic handlers for grpc.Server: one for each service."""
        methods = {
            operation.name: self._refuse(operation.refusal) if operation.refusal else self._handler(operation.name)
            for operation in OPERATIONS
            if operation.has_rpc
        }
        repository = {name: methods[name] for name in REPOSITORY_METHODS}
        make = self._grpc.method_handlers_generic_handler
        return make(SERVICE, methods), make(REPOSITORY_SERVICE, repository)

    def _handler(self, name: str) -> Any:
        if name == STREAM:
            return self._grpc.stream_stream_rpc_method_handler(
                self._model_stream_infer,
                request_deserializer=messages()["ModelInferRequest"].FromString,
                response_serializer=messages()["ModelStreamInferResponse"].SerializeToString,
            )
        return self._grpc.unary_unary_rpc_method_handler(
            self._guarded(self._answers[name]),
            request_deserializer=messages()[f"{name}Request"].FromString,
            response_serializer=messages()[f"{name}Response"].SerializeToString,
        )

    def _refuse(self, reason: str) -> Any:
        """A handler that reads no message, so that it answers whatever a client sends."""

        def refuse(request: bytes, context: Context) -> NoReturn:
            raise Unsupported(reason)

        return self._grpc.unary_unary_rpc_method_handler(self._guarded(refuse))

    def _guarded(self, answer: Answer) -> Answer:
        def guarded(request: Any, context: Context) -> Any:
            try:
                return answer(request, context)
            except Exception as error:  # whatever a model raises is this request's failure, not the server's
                context.abort(self._grpc.StatusCode[status_of(error).name], _line(error))

        return guarded

    # -- server and models

    def _server_metadata(self, request: Any, context: Context) -> Any:
        info = self._service.info
        return messages()["ServerMetadataResponse"](name=info.name, version=info.version, extensions=info.extensions)

    def _model_ready(self, request: Any, context: Context) -> Any:
        ready = self._service.repository.is_ready(request.name, request.version)
        return messages()["ModelReadyResponse"](ready=ready)

    def _model_metadata(self, request: Any, context: Context) -> Any:
        with self._service.repository.using(request.name, request.version) as loaded:
            return codec.encode_metadata(loaded.model)

    def _model_config(self, request: Any, context: Context) -> Any:
        with self._service.repository.using(request.name, request.version) as loaded:
            return codec.encode_config(loaded.model.config())

    def _model_statistics(self, request: Any, context: Context) -> Any:
        return codec.encode_statistics(self._service.repository.statistics(request.name, request.version))

    # -- inference

    def _model_infer(self, request: Any, context: Context) -> Any:
        wire, call = codec.decode_request(request), _call_of(context)
        infer = self._infer_in_time if TIMEOUT in wire.parameters else self._service.infer
        return codec.encode_reply(infer(wire, call))

    def _infer_in_time(self, wire: WireRequest, call: Call) -> WireReply:
        """The reply; DeadlineExceeded when the request's own time is over, also while it is computed."""
        deadline_s = deadline_of(wire.parameters, call.deadline_s)
        if deadline_s is None:
            return self._service.infer(wire, call)
        timed = replace(call, is_active=lambda: call.is_active() and time.monotonic() < deadline_s)
        future = self._pool.submit(self._service.infer, wire, timed)
        if not concurrent.futures.wait([future], timeout=max(0.0, deadline_s - time.monotonic())).done:
            future.cancel()
            raise DeadlineExceeded("the time of the request was over before it was computed")
        return future.result()

    def _model_stream_infer(self, requests: Iterable[Any], context: Context) -> Iterator[Any]:
        if not self._streams.acquire(blocking=False):
            context.abort(self._grpc.StatusCode[Busy.status.name], f"{MOST_STREAMS} streams are open; open it later")
        try:
            yield from in_order(
                requests, lambda request: self._stream_replies(request, context), self._pool, MOST_AT_A_TIME, context.is_active
            )
        finally:
            self._streams.release()

    def _stream_replies(self, request: Any, context: Context) -> Iterator[Any]:
        """The replies to one request; an error is the last one, and the stream goes on."""
        kind = messages()["ModelStreamInferResponse"]
        try:
            wire, call = codec.decode_request(request), _call_of(context)
            if TIMEOUT in wire.parameters:
                call = replace(call, deadline_s=deadline_of(wire.parameters, call.deadline_s))
            for reply in self._service.stream(wire, call):
                yield kind(infer_response=codec.encode_reply(reply))
        except Exception as error:
            asked = messages()["ModelInferResponse"](model_name=request.model_name, id=request.id)
            yield kind(error_message=_line(error), infer_response=asked)

    # -- repository

    def _repository_index(self, request: Any, context: Context) -> Any:
        require_unnamed(request.repository_name)
        entries = self._service.repository.index()
        return codec.encode_index(entry for entry in entries if entry.is_ready or not request.ready)

    def _repository_model_load(self, request: Any, context: Context) -> Any:
        require_unnamed(request.repository_name)
        require_no_parameters(entry.key for entry in request.parameters)
        self._service.repository.load(request.model_name)
        return messages()["RepositoryModelLoadResponse"]()

    def _repository_model_unload(self, request: Any, context: Context) -> Any:
        require_unnamed(request.repository_name)
        self._service.repository.unload(request.model_name)
        return messages()["RepositoryModelUnloadResponse"]()

    # -- shared memory

    def _system_shared_memory_status(self, request: Any, context: Context) -> Any:
        return codec.encode_regions(self._service.memory.status(request.name))

    def _system_shared_memory_register(self, request: Any, context: Context) -> Any:
        region = Region(request.name, request.key, request.offset, request.byte_size)
        self._service.memory.register(region, _is_local(context))
        return messages()["SystemSharedMemoryRegisterResponse"]()

    def _system_shared_memory_unregister(self, request: Any, context: Context) -> Any:
        self._service.memory.unregister(request.name, _is_local(context))
        return messages()["SystemSharedMemoryUnregisterResponse"]()


def _line(error: Exception) -> str:
    return one_line(error)[:MOST_CHARACTERS] or type(error).__name__


def _call_of(context: Context) -> Call:
    left_s = context.time_remaining()
    return Call(context.is_active, None if left_s is None else time.monotonic() + left_s, lambda: _is_local(context))


def _is_local(context: Context) -> bool:
    """Whether the peer, such as 'ipv4:127.0.0.1:50000', is on this machine."""
    kind, _, address = context.peer().partition(":")
    if kind not in ("ipv4", "ipv6"):
        return kind == "unix"
    return is_loopback(parse_address(address.replace("%5B", "[").replace("%5D", "]"))[0])
