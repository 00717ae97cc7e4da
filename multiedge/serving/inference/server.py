"""A server of the Open Inference Protocol: a repository behind gRPC, HTTP or both, in threads of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import multiedge
from multiedge.errors import ConfigError, PipelineError, lower_first, require_port, require_range
from multiedge.network.identity import CA_FILE, CERTIFICATE_FILE, KEY_FILE, Identity, join_address, require_tls
from multiedge.serving.inference.contract import ServedModel
from multiedge.serving.inference.grpc_service import GrpcService
from multiedge.serving.inference.repository import ModelRepository
from multiedge.serving.inference.service import InferenceService, ServerInfo
from multiedge.serving.inference.wire import Place
from multiedge.transports.open_inference import MAX_MESSAGE_BYTES, grpc_module

STOP_S = 1.0
"""How long requests that are under way may take when the server stops."""
MOST_THREADS = 1024
"""More requests at a time are refused. Models bound theirs by slots; threads are made when they are needed."""
LARGEST_MESSAGE_BYTES = 2**31 - 1
"""The largest limit that gRPC accepts."""
Address = tuple[str, int]
"""Host and port; port 0 takes a free one."""
AddRoutes = Callable[[Any, Executor], None]
"""Adds routes to an aiohttp application; what they compute is computed in the threads of the executor."""


@dataclass(frozen=True)
class ServerOptions:
    """Where a server listens and what it takes.

    Attributes:
        grpc: Where it listens for gRPC; None for nowhere.
        http: The same for HTTP.
        identity: With one, both use TLS, and clients must have a certificate of its CA.
        max_message_bytes: How large a request may be.
        is_trusted: Whether it may listen beyond this machine without TLS.
    """

    grpc: Address | None = None
    http: Address | None = None
    identity: Identity | None = None
    max_message_bytes: int = MAX_MESSAGE_BYTES
    is_trusted: bool = False

    def check(self) -> None:
        """ConfigError for addresses or limits that cannot be used."""
        if self.grpc is None and self.http is None:
            raise ConfigError("expected an address for gRPC, for HTTP or for both")
        require_range("max_message_bytes", self.max_message_bytes, 1, LARGEST_MESSAGE_BYTES)
        for name, address in (("gRPC", self.grpc), ("HTTP", self.http)):
            if address is not None:
                require_port("port", address[1])
                if not self.is_trusted:
                    require_tls(address[0], self.identity, name)


class InferenceServer:
    """Serves the models of a repository until it is closed. A context manager.

    `places` and `internal` extend the protocol (`multiedge.serving.inference.service.InferenceService`), `extensions` are their
    names. `add_routes` adds routes of other protocols to HTTP. Closing the server leaves all models open.

    Raises ConfigError for options that cannot be used, PipelineError if a port is taken, MissingDependencyError without the
    packages of gRPC or HTTP.
    """

    def __init__(
        self,
        repository: ModelRepository,
        options: ServerOptions,
        *,
        places: Sequence[Place] = (),
        internal: Mapping[str, ServedModel] | None = None,
        extensions: tuple[str, ...] = (),
        add_routes: AddRoutes | None = None,
    ) -> None:
        options.check()
        info = ServerInfo("multiedge", multiedge.__version__, extensions)
        self.service = InferenceService(repository, info, places, internal)
        self._pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="inference")
        self._grpc = _Grpc(self.service, self._pool, options.grpc, options) if options.grpc else None
        try:
            self._http = _Http(self.service, self._pool, options.http, options, add_routes) if options.http else None
        except BaseException:
            self._http = None
            self.close()
            raise

    @property
    def grpc_address(self) -> str:
        """HOST:PORT of gRPC; '' without it."""
        return self._grpc.address if self._grpc else ""

    @property
    def http_address(self) -> str:
        """HOST:PORT of HTTP; '' without it."""
        return self._http.address if self._http else ""

    def start(self) -> InferenceServer:
        """Answers requests from now on."""
        for front in (self._grpc, self._http):
            if front:
                front.start()
        return self

    def close(self) -> None:
        """Ends within its grace time, whatever its requests do. May be called twice."""
        ended = self._grpc.stop() if self._grpc else None
        if self._http:
            self._http.close()
        if ended:
            ended.wait(2 * STOP_S)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> InferenceServer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Grpc:
    """The gRPC server."""

    def __init__(self, service: InferenceService, pool: ThreadPoolExecutor, address: Address, options: ServerOptions) -> None:
        grpc = grpc_module()
        limits = (("grpc.max_receive_message_length", options.max_message_bytes), ("grpc.max_send_message_length", -1))
        # Without reuse of ports, a second server on a taken port is an error; with it, both would get some of the requests.
        channel = (*limits, ("grpc.so_reuseport", 0))
        own = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="inference-grpc")
        self._server = grpc.server(own, options=channel, maximum_concurrent_rpcs=MOST_THREADS)
        self._server.add_generic_rpc_handlers(GrpcService(service, pool).handlers())
        place = join_address(*address)
        try:
            if options.identity:
                port = self._server.add_secure_port(place, _credentials(grpc, options.identity))
            else:
                port = self._server.add_insecure_port(place)
        except RuntimeError as error:
            raise PipelineError(f"cannot listen on {place}: {error}; is the port taken?") from error
        self.address = join_address(address[0], port)

    def start(self) -> None:
        self._server.start()

    def stop(self) -> Any:
        """Takes no more requests; an event that is set when all have ended or their grace time is over."""
        return self._server.stop(grace=STOP_S)


def _credentials(grpc: Any, identity: Identity) -> Any:
    identity.server_context()  # checks the files, with one line for what is wrong
    authority, certificate, key = ((identity.folder / name).read_bytes() for name in (CA_FILE, CERTIFICATE_FILE, KEY_FILE))
    return grpc.ssl_server_credentials([(key, certificate)], root_certificates=authority, require_client_auth=True)


class _Http:
    """The HTTP server: an event loop in a thread."""

    def __init__(
        self,
        service: InferenceService,
        pool: ThreadPoolExecutor,
        address: Address,
        options: ServerOptions,
        add_routes: AddRoutes | None,
    ) -> None:
        from multiedge.serving.inference.http_service import HttpService

        self._app = HttpService(service, pool, options.max_message_bytes).application()
        if add_routes is not None:
            add_routes(self._app, pool)
        self._context = options.identity.server_context() if options.identity else None
        self._socket = _listening(address)
        self.address = join_address(address[0], self._socket.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="inference-http", daemon=True)
        self._ready = threading.Event()

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(3 * STOP_S)
        elif not self._loop.is_closed():
            self._loop.close()
        self._socket.close()

    def _serve(self) -> None:
        from multiedge.serving.aio import web

        # aiohttp logs a traceback for what it cannot parse; peers must not fill the log. Errors of handlers are answered.
        silent = logging.getLogger("multiedge.serving.http")
        silent.setLevel(logging.CRITICAL)
        runner = web.AppRunner(self._app, access_log=None, logger=silent, shutdown_timeout=STOP_S)
        try:
            self._loop.run_until_complete(runner.setup())
            self._loop.run_until_complete(web.SockSite(runner, self._socket, ssl_context=self._context).start())
            self._ready.set()
            self._loop.run_forever()
            self._loop.run_until_complete(runner.cleanup())
        finally:
            self._ready.set()
            self._loop.close()


def _listening(address: Address) -> socket.socket:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = lower_first(error.strerror or str(error))
        raise PipelineError(f"cannot listen on {join_address(host, port)}: {reason}; is the port taken?") from error
