"""Stages of a plan behind the Open Inference Protocol, so that a pipeline on another machine can use them.

The server keeps outputs for the servers of later stages, which fetch them directly: see `multiedge.transports.references`.

Models are named `stage_1`, `stage_2`, ... after their parts. The server listens on loopback unless another address is given.
Without an identity it has no authentication: give it an address in a trusted network only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from multiedge.backends.contract import Session
from multiedge.defaults import LOOPBACK
from multiedge.network.identity import Identity, require_tls
from multiedge.serving.absent import AbsentPlace
from multiedge.serving.inference.contract import InferReply, InferRequest, ServedModel
from multiedge.serving.inference.repository import ModelRepository
from multiedge.serving.inference.server import Address, AddRoutes, InferenceServer, ServerOptions
from multiedge.serving.kept import KeptModel, KeptOutputs, KeptPlace
from multiedge.serving.signature import Signature
from multiedge.transports.open_inference import MAX_MESSAGE_BYTES
from multiedge.transports.references import EXTENSION, OtherServers

if TYPE_CHECKING:
    from multiedge.serving.text.served import ServedText

PLATFORM = "onnxruntime_onnx"


class StageModel(ServedModel):
    """A session as a model. `identity` is its version, '' for none; up to `threads` requests compute at the same time."""

    def __init__(
        self, name: str, session: Session, signature: Signature | None, identity: str, platform: str, threads: int
    ) -> None:
        self.name, self.platform, self.concurrency = name, platform, threads
        self.versions = (identity,) if identity else ()
        self._session, self._signature = session, signature or Signature.of_session(session)

    @property
    def signature(self) -> Signature:
        return self._signature

    def infer(self, request: InferRequest) -> InferReply:
        return InferReply(self._session.run(dict(request.inputs)))

    def close(self) -> None:
        self._session.close()


class StageServer:
    """Serves `sessions`, by model name, on `host`:`port`; port 0 takes a free one. A context manager.

    Args:
        sessions: They are closed with the server.
        identities: By model name, the versions of the models: `Manifest.identity`, which the caller compares.
        signatures: By model name, types and shapes of tensors, against which requests are checked.
        openers: By model name, what opens a session again: these models can be loaded and unloaded by clients.
        platform: Of the models, as KServe and Triton write it.
        http: Where it listens for HTTP, too.
        identity: With one, clients need a certificate of its CA; without, HTTP is for this machine alone.
        threads: So many requests of each model compute at the same time.
        max_message_bytes: How large a request may be.
        texts: Language models, by name, that are answered for in OpenAI's protocol over HTTP.

    Raises:
        ConfigError: For a number out of its range.
        PipelineError: If a port is taken.
        MissingDependencyError: Without the packages of gRPC or HTTP.
    """

    def __init__(
        self,
        sessions: Mapping[str, Session],
        identities: Mapping[str, str] | None = None,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        http: Address | None = None,
        identity: Identity | None = None,
        threads: int = 4,
        signatures: Mapping[str, Signature] | None = None,
        openers: Mapping[str, Callable[[], Session]] | None = None,
        platform: str = PLATFORM,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        texts: Mapping[str, ServedText] | None = None,
    ) -> None:
        if http is not None:
            require_tls(http[0], identity, "HTTP")
        options = ServerOptions((host, port), http, identity, max_message_bytes, is_trusted=True)
        options.check()
        self._kept, self._others = KeptOutputs(max_message_bytes), OtherServers(max_message_bytes)
        self._repository = ModelRepository()
        self._server = InferenceServer(
            self._repository,
            options,
            places=[KeptPlace(self._kept, self._others), AbsentPlace()],
            internal={KeptModel.name: KeptModel(self._kept)},
            extensions=(EXTENSION,),
            add_routes=_text_routes(texts) if texts else None,
        )
        for name, session in sessions.items():
            signature, version = (signatures or {}).get(name), (identities or {}).get(name, "")
            make = partial(StageModel, name, signature=signature, identity=version, platform=platform, threads=threads)
            opener = (openers or {}).get(name)
            self._repository.put(make(session), partial(_open, make, opener) if opener else None)
        self.address, self.http_address = self._server.grpc_address, self._server.http_address
        self.port = int(self.address.rpartition(":")[2])
        self._closed = threading.Event()

    def start(self) -> StageServer:
        self._server.start()
        return self

    def wait(self) -> None:
        """Returns when the server has been closed."""
        self._closed.wait()

    @property
    def is_computing(self) -> bool:
        """Whether a request is computed; one that does not end keeps its thread, and the process, after the server's end."""
        return self._repository.is_computing

    @property
    def kept_bytes(self) -> int:
        """Size of the outputs that it keeps for other servers."""
        return self._kept.nbytes

    def close(self) -> None:
        """Ends the server within its grace time, whatever its requests do."""
        self._server.close()
        self._others.close()
        self._repository.close()
        self._closed.set()

    def __enter__(self) -> StageServer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _text_routes(texts: Mapping[str, ServedText]) -> AddRoutes:
    from multiedge.serving.text.service import text_routes

    return text_routes(lambda: texts)


def _open(make: Callable[[Session], StageModel], opener: Callable[[], Session]) -> StageModel:
    return make(opener())
