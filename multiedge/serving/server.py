"""A small Open Inference server: hosts stages of a plan, so that a pipeline on another machine can use them.

It keeps outputs for the servers of later stages, which fetch them directly: see `multiedge.transports.references`.

Models are named `stage_1`, `stage_2`, ... after their parts. The server listens on loopback unless another address is given.
It has no authentication: give it an address in a trusted network only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, NoReturn, Protocol

from multiedge.backends.contract import Array, Session
from multiedge.defaults import LOOPBACK
from multiedge.errors import ChangedError, MultiedgeError, PipelineError, one_line, require_port, require_range
from multiedge.graph import Tensor
from multiedge.serving.kept import LONGEST_S, KeptOutputs
from multiedge.serving.signature import Signature
from multiedge.serving.slots import Abandoned, Busy, Slots
from multiedge.transports.open_inference import (
    MAX_MESSAGE_BYTES,
    METHODS,
    SERVICE,
    datatype_of,
    grpc_module,
    messages,
    pack,
)
from multiedge.transports.references import (
    EXTENSION,
    KEPT_MODEL,
    FetchError,
    OtherServers,
    given_inputs,
    pack_fetched,
    pack_kept,
    released,
    to_keep,
)

STOP_S = 1.0
"""How long requests that are under way may take when the server stops."""
MOST_WAITING = 16
"""Requests of one stage that may wait for another; the next one is refused and can be sent again."""
SPARE_THREADS = 4
"""Threads that no inference takes, so that liveness requests are always answered."""
SHARE_FOR_FETCHING = 0.5
"""Of a request's time, the share in which its inputs must come: the caller learns what is missing before its time is over."""
LARGEST_MESSAGE_BYTES = 2**31 - 1
"""The largest limit that gRPC accepts."""


class Context(Protocol):
    """The part of grpc.ServicerContext that is used here."""

    def abort(self, code: Any, details: str) -> NoReturn: ...

    def is_active(self) -> bool: ...

    def time_remaining(self) -> float | None: ...


class StageServer:
    """Serves `sessions`, by model name, on `host`:`port`; port 0 takes a free one. A context manager.

    `identities`, by model name, are the versions of the models: `Manifest.identity`, which the caller compares.
    `signatures`, by model name, are types and shapes of their tensors, against which requests are checked. Up to `threads`
    requests of each model compute at the same time; a request may have up to `max_message_bytes`.

    Raises ConfigError for a number out of its range, PipelineError if the port is taken, MissingDependencyError without gRPC.
    """

    def __init__(
        self,
        sessions: Mapping[str, Session],
        identities: Mapping[str, str] | None = None,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        threads: int = 4,
        signatures: Mapping[str, Signature] | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        require_port("port", port)
        require_range("max_message_bytes", max_message_bytes, 1, LARGEST_MESSAGE_BYTES)
        self._grpc = grpc_module()
        self._sessions, self._identities = dict(sessions), dict(identities or {})
        known = signatures or {}
        self._signatures = {name: known.get(name) or Signature.of_session(each) for name, each in sessions.items()}
        self._slots = {name: Slots(threads, MOST_WAITING) for name in sessions}
        self._kept, self._others = KeptOutputs(max_message_bytes), OtherServers(max_message_bytes)
        most = SPARE_THREADS + len(self._sessions) * (threads + MOST_WAITING)
        pool = ThreadPoolExecutor(most, thread_name_prefix="stage-server")
        limits = (("grpc.max_receive_message_length", max_message_bytes), ("grpc.max_send_message_length", -1))
        # Without reuse of ports, a second server on a taken port is an error; with it, both would get some of the requests.
        options = (*limits, ("grpc.so_reuseport", 0))
        self._server = self._grpc.server(pool, options=options)
        handlers = {name: self._handler(name) for name in METHODS}
        self._server.add_generic_rpc_handlers((self._grpc.method_handlers_generic_handler(SERVICE, handlers),))
        try:
            self.port: int = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise PipelineError(f"cannot listen on {host}:{port}: {error}; is the port taken?") from error
        self.address = f"{host}:{self.port}"

    def start(self) -> StageServer:
        self._server.start()
        return self

    def wait(self) -> None:
        """Returns when the server has been stopped."""
        self._server.wait_for_termination()

    @property
    def is_computing(self) -> bool:
        """Whether a request is computed; one that does not end keeps its thread, and the process, after the server's end."""
        return any(slots.is_running for slots in self._slots.values())

    def close(self) -> None:
        """Ends the server within its grace time, whatever its requests do."""
        self._server.stop(grace=STOP_S).wait(2 * STOP_S)
        self._others.close()
        if not self.is_computing:
            for session in self._sessions.values():
                session.close()

    def __enter__(self) -> StageServer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _handler(self, method: str) -> Any:
        """gRPC's handler for a method of the protocol, which the method of this class in lower case answers."""
        answer: Callable[[Any, Context], Any] = getattr(self, re.sub("(?=[A-Z])", "_", method).lower())
        return self._grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=messages()[f"{method}Request"].FromString,
            response_serializer=messages()[f"{method}Response"].SerializeToString,
        )

    def _server_live(self, request: Any, context: Context) -> Any:
        return messages()["ServerLiveResponse"](live=True)

    def _server_ready(self, request: Any, context: Context) -> Any:
        return messages()["ServerReadyResponse"](ready=True)

    def _server_metadata(self, request: Any, context: Context) -> Any:
        return messages()["ServerMetadataResponse"](name="multiedge", extensions=[EXTENSION])

    def _is_ready(self, name: str) -> bool:
        return name in self._slots and not self._slots[name].is_stuck

    def _model_ready(self, request: Any, context: Context) -> Any:
        return messages()["ModelReadyResponse"](ready=self._is_ready(request.name))

    def _model_metadata(self, request: Any, context: Context) -> Any:
        self._session(request.name, context)
        response = messages()["ModelMetadataResponse"](name=request.name, platform="onnxruntime_onnx")
        response.versions.extend(filter(None, [self._identities.get(request.name)]))
        signature = self._signatures[request.name]
        for described, tensors in ((response.inputs, signature.inputs), (response.outputs, signature.outputs)):
            for name, tensor in tensors.items():
                described.add(name=name, datatype=datatype_of(tensor.dtype), shape=_sizes(tensor))
        return response

    def _code_of(self, error: Exception) -> Any:
        """The caller sends an item again, or to another server, if the stage itself has become useless."""
        codes = self._grpc.StatusCode
        if isinstance(error, ChangedError):
            return codes.UNAVAILABLE
        if isinstance(error, FetchError):
            return codes.FAILED_PRECONDITION
        return codes.INVALID_ARGUMENT if isinstance(error, MultiedgeError) else codes.INTERNAL

    def _model_infer(self, request: Any, context: Context) -> Any:
        self._kept.release(released(request))
        if request.model_name == KEPT_MODEL:
            return self._fetch(request, context)
        session = self._session(request.model_name, context)
        codes = self._grpc.StatusCode
        try:
            made = self._run(session, request, context)
        except Busy:
            context.abort(codes.RESOURCE_EXHAUSTED, f"{MOST_WAITING} requests of '{request.model_name}' wait; send it later")
        except Abandoned:
            context.abort(codes.CANCELLED, "the caller has gone")
        except Exception as error:  # whatever the runtime raises is this item's failure, not the server's
            context.abort(self._code_of(error), one_line(error))
        wanted, stay = [tensor.name for tensor in request.outputs] or list(made), to_keep(request)
        version = self._identities.get(request.model_name, "")
        response = messages()["ModelInferResponse"](model_name=request.model_name, model_version=version, id=request.id)
        pack(response.outputs, response.raw_output_contents, {name: made[name] for name in wanted if name not in stay})
        pack_kept(response, {name: self._kept.put(made[name]) for name in wanted if name in stay})
        return response

    def _fetch(self, request: Any, context: Context) -> Any:
        """The answer to another server, or to the caller, that fetches kept outputs."""
        response = messages()["ModelInferResponse"](model_name=KEPT_MODEL)
        try:
            pack_fetched(response, {output.name: self._kept.get(output.name) for output in request.outputs})
        except KeyError:
            context.abort(self._grpc.StatusCode.NOT_FOUND, "an output is not kept here any more")
        return response

    def _run(self, session: Session, request: Any, context: Context) -> dict[str, Array]:
        """The stage's outputs. Raises MultiedgeError for a request that does not fit the stage, and what the runtime raises."""
        signature = self._signatures[request.model_name]
        tensors, kept = given_inputs(request)
        if kept:
            tensors |= self._others.fetch(kept, SHARE_FOR_FETCHING * (context.time_remaining() or LONGEST_S))
        signature.require_inputs(tensors)
        signature.require_outputs(tensor.name for tensor in request.outputs)
        with self._slots[request.model_name].taken(context.is_active):
            return session.run(tensors)

    def _session(self, name: str, context: Context) -> Session:
        if name not in self._sessions:
            context.abort(self._grpc.StatusCode.NOT_FOUND, f"no model '{name}' here; there are {', '.join(self._sessions)}")
        return self._sessions[name]


def _sizes(tensor: Tensor) -> list[int]:
    """The shape as the protocol writes it: -1 for a size that is not fixed; nothing where the shape is not known."""
    return [size if isinstance(size, int) else -1 for size in tensor.shape or ()]
