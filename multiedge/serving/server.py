"""A small Open Inference server: hosts stages of a plan, so that a pipeline on another machine can use them.

Models are named `stage_1`, `stage_2`, ... after their parts. The server listens on loopback unless another address is given.
It has no authentication: give it an address in a trusted network only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, NoReturn, Protocol

from multiedge.backends.contract import Session
from multiedge.errors import MultiedgeError, PipelineError, one_line
from multiedge.transports.open_inference import (
    METHODS,
    SERVICE,
    UNLIMITED_MESSAGES,
    grpc_module,
    messages,
    pack,
    unpack,
)

LOOPBACK = "127.0.0.1"
STOP_S = 1.0
"""How long requests that are under way may take when the server stops."""


class Context(Protocol):
    """The part of grpc.ServicerContext that is used here."""

    def abort(self, code: Any, details: str) -> NoReturn: ...


class StageServer:
    """Serves `sessions`, by model name, on `host`:`port`; port 0 takes a free one. A context manager.

    `identities`, by model name, are the versions of the models: `Manifest.identity`, which the caller compares.

    Raises PipelineError if the port is taken, MissingDependencyError without gRPC.
    """

    def __init__(
        self,
        sessions: Mapping[str, Session],
        identities: Mapping[str, str] | None = None,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        threads: int = 4,
    ) -> None:
        self._grpc = grpc_module()
        self._sessions, self._identities = dict(sessions), dict(identities or {})
        pool = ThreadPoolExecutor(threads, thread_name_prefix="stage-server")
        # Without reuse of ports, a second server on a taken port is an error; with it, both would get some of the requests.
        self._server = self._grpc.server(pool, options=(*UNLIMITED_MESSAGES, ("grpc.so_reuseport", 0)))
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

    def close(self) -> None:
        self._server.stop(grace=STOP_S).wait()
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

    def _model_ready(self, request: Any, context: Context) -> Any:
        return messages()["ModelReadyResponse"](ready=request.name in self._sessions)

    def _model_metadata(self, request: Any, context: Context) -> Any:
        session = self._session(request.name, context)
        response = messages()["ModelMetadataResponse"](name=request.name, platform="onnxruntime_onnx")
        response.versions.extend(filter(None, [self._identities.get(request.name)]))
        for tensors, names in ((response.inputs, session.inputs), (response.outputs, session.outputs)):
            for name in names:
                tensors.add(name=name)
        return response

    def _model_infer(self, request: Any, context: Context) -> Any:
        session = self._session(request.model_name, context)
        codes = self._grpc.StatusCode
        try:
            made = session.run(unpack(request.inputs, request.raw_input_contents))
        except Exception as error:  # whatever the runtime raises is this item's failure, not the server's
            code = codes.INVALID_ARGUMENT if isinstance(error, MultiedgeError) else codes.INTERNAL
            context.abort(code, one_line(error))
        wanted = [tensor.name for tensor in request.outputs] or list(made)
        version = self._identities.get(request.model_name, "")
        response = messages()["ModelInferResponse"](model_name=request.model_name, model_version=version, id=request.id)
        pack(response.outputs, response.raw_output_contents, {name: made[name] for name in wanted if name in made})
        return response

    def _session(self, name: str, context: Context) -> Session:
        if name not in self._sessions:
            context.abort(self._grpc.StatusCode.NOT_FOUND, f"no model '{name}' here; there are {', '.join(self._sessions)}")
        return self._sessions[name]
