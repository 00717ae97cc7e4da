"""Stages behind servers that speak the Open Inference Protocol v2 over gRPC: `multiedge serve`, Triton, MLServer, ...

    open_pipeline("parts", fleet, "remote", endpoints={"laptop": "127.0.0.1:8081", "1": ["a:8001/x", "b:8001/x"]})

An endpoint is `host:port` or `host:port/model`; without a model it is `stage_N`, as `multiedge serve` names it. Keys are
device names or stage numbers (from 0, and these take precedence). Of several endpoints the first that works is used.
A stage is a pure function, so a request can be sent again whether or not it was answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multiedge.errors import ConfigError, PipelineError, StageError, did_you_mean, require_port
from multiedge.executors.flow.contract import Array, Tensors, require_fallbacks
from multiedge.executors.flow.expected import expected_seconds
from multiedge.executors.flow.stage_clock import StageClock
from multiedge.executors.workers.threads import ThreadsExecutor, ThreadsOptions
from multiedge.fleet import Fleet
from multiedge.measurements import RETURN, Fault
from multiedge.plan import IDENTITY, Manifest, Part
from multiedge.transports.open_inference import SERVICE, UNLIMITED_MESSAGES, grpc_module, infer_request, messages, unpack

PROBE_S = 2.0
"""How long a server may take to answer whether it has a model."""
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
SHARE_OF_WAITING = 4.0
"""A server that did not answer a request within its deadline gets none for so many times as long, if there are others."""
TRANSIENT = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED", "RESOURCE_EXHAUSTED", "NOT_FOUND")
"""Status codes of a server that is down, starting or busy. NOT_FOUND is one: the model was there at the start."""
TOO_LARGE = "larger than max"
"""How gRPC words the refusal of a message for its size; its code is that of a busy server."""


@dataclass(frozen=True)
class RemoteOptions(ThreadsOptions):
    """Options of the executor `remote`.

    Attributes:
        endpoints: One `host:port[/model]` or several, by device name or stage number.
        connect_s: How long the start waits for the servers.
        patience_s: For how long an item is sent again; None: `deadlines.first_s`. After that, items fail immediately until a
            probe, at most once a second, finds one of the servers back.
        fallbacks: By stage number, devices whose endpoints are tried after the stage's own.
    """

    endpoints: Mapping[str | int, str | Sequence[str]] = field(default_factory=dict)
    connect_s: float = 10.0
    patience_s: float | None = None
    fallbacks: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


class RemoteExecutor(ThreadsExecutor):
    """Sends each stage's tensors to its server."""

    options_type = RemoteOptions
    name = "remote"
    transport = "grpc"

    def __init__(self, manifest: Manifest, fleet: Fleet, options: RemoteOptions) -> None:
        super().__init__(manifest, fleet, options)
        require_fallbacks(manifest, fleet, options.fallbacks)
        self._connect_s, self._fallbacks = options.connect_s, options.fallbacks
        self._patience_s = options.deadlines.first_s if options.patience_s is None else options.patience_s
        self._given = checked_endpoints(options.endpoints, manifest, fleet)
        self._expected_s = expected_seconds(manifest)

    def settings(self) -> dict[str, Any]:
        return {"endpoints": {key: list(places) for key, places in self._given.items()}}

    def connect(self, stage: int, device: str) -> RemoteStage:
        places = self._places(stage, device)
        clock = StageClock(self.options.deadlines, self._expected_s)
        identity = self.manifest.identity(stage)
        runner = RemoteStage(
            stage, device, self.routes.parts[stage], identity, places, clock, self._patience_s, self.note_fault
        )
        try:
            runner.wait_ready(self._connect_s)
        except BaseException:
            runner.close()
            raise
        return runner

    def _places(self, stage: int, device: str) -> tuple[str, ...]:
        spare = [place for name in self._fallbacks.get(stage, ()) for place in self._given.get(name, ())]
        own = self._given.get(str(stage), ()) or self._given.get(device, ())
        if not own and not spare:
            raise ConfigError(
                f"it has no endpoint; give one, --endpoint '{device}=host:port', in Python"
                f" endpoints={{'{device}': 'host:port'}}"
            )
        return tuple(dict.fromkeys([*own, *spare]))


def checked_endpoints(
    given: Mapping[str | int, str | Sequence[str]], manifest: Manifest, fleet: Fleet
) -> dict[str, tuple[str, ...]]:
    """Endpoints by device name or stage number; ConfigError for a key that is neither and for a place without a port."""
    known = [*fleet.names, *(str(stage) for stage in range(len(manifest.parts)))]
    places: dict[str, tuple[str, ...]] = {}
    for key, value in given.items():
        if str(key) not in known:
            raise ConfigError(f"endpoints: '{key}' is no device and no stage{did_you_mean(str(key), known)}")
        places[str(key)] = (value,) if isinstance(value, str) else tuple(value)
        for place in places[str(key)]:
            host, _, port = place.partition("/")[0].rpartition(":")
            if not host or not (port.isascii() and port.isdigit()):
                raise ConfigError(f"endpoints: {key}: expected host:port or host:port/model, got '{place}'")
            require_port(f"endpoints: {key}: '{place[:60]}'", int(port[:6]), least=1)
    return places


@dataclass
class Endpoint:
    """A server and the model on it. After `failures` in a row it gets no request until `free_from_s`.

    A model that `is_identified` has shown an identity; from then on it must be `identity`, that of the run's stage. Servers
    other than `multiedge serve` have versions of their own, which say nothing of the plan.
    """

    address: str
    model: str
    identity: str
    channel: Any
    is_identified: bool = False
    failures: int = 0
    free_from_s: float = 0.0

    @classmethod
    def of(cls, place: str, stage: int, identity: str) -> Endpoint:
        address, _, model = place.partition("/")
        # A server that is up again is connected within a second; by default gRPC would wait up to two minutes.
        backoff = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 50))
        options = (*UNLIMITED_MESSAGES, *backoff, ("grpc.max_reconnect_backoff_ms", 500), ("grpc.use_local_subchannel_pool", 1))
        return cls(address, model or f"stage_{stage + 1}", identity, grpc_module().insecure_channel(address, options=options))

    def call(self, method: str, request: Any, timeout_s: float) -> Any:
        """The answer; raises grpc.RpcError."""
        kinds = messages()
        send, receive = kinds[f"{method}Request"].SerializeToString, kinds[f"{method}Response"].FromString
        return self.channel.unary_unary(f"/{SERVICE}/{method}", send, receive)(request, timeout=timeout_s)

    def mismatch(self, version: str) -> str:
        """What is wrong with the version of a model, '' if nothing is known to be."""
        self.is_identified |= version.startswith(IDENTITY)
        if not self.is_identified or version == self.identity:
            return ""
        return (
            f"{self.address}/{self.model}: expected the stage of this plan, {self.identity}, got {version or 'no identity'};"
            " serve the folder of this plan there"
        )

    def pause(self, now_s: float, least_s: float) -> None:
        """Counts a failure: no request is sent for a while, longer after each failure in a row."""
        pause_s = min(LONGEST_PAUSE_S, SHORTEST_PAUSE_S * 2.0 ** min(self.failures, 10))
        self.failures += 1
        self.free_from_s = now_s + max(pause_s, least_s)

    def worked(self) -> None:
        self.failures, self.free_from_s = 0, 0.0


class RemoteStage:
    """One stage behind its endpoints, in order of preference."""

    def __init__(
        self,
        stage: int,
        device: str,
        part: Part,
        identity: str,
        places: Sequence[str],
        clock: StageClock,
        patience_s: float,
        note_fault: Callable[[Fault], None],
    ) -> None:
        self._grpc = grpc_module()
        self.stage, self.device, self.part = stage, device, part
        self.endpoints = [Endpoint.of(place, stage, identity) for place in places]
        self.tries = 0
        self._clock, self._patience_s, self._note_fault = clock, patience_s, note_fault
        self._closing = threading.Event()
        self._fault: tuple[float, str] | None = None
        self._away: str | None = None
        self._count = 0

    def wait_ready(self, timeout_s: float) -> None:
        """Returns once one of the servers has the model; PipelineError if none does in time."""
        until = time.monotonic() + timeout_s
        while True:
            problems = [problem for endpoint in self.endpoints if (problem := self._problem(endpoint))]
            if len(problems) < len(self.endpoints):
                return
            if time.monotonic() >= until or self._closing.wait(SHORTEST_PAUSE_S):
                raise PipelineError(f"{'; '.join(problems)} (waited {timeout_s:g} s)")

    def _problem(self, endpoint: Endpoint) -> str:
        kinds = messages()
        try:
            ready = endpoint.call("ModelReady", kinds["ModelReadyRequest"](name=endpoint.model), PROBE_S).ready
        except self._grpc.RpcError as error:
            return f"{endpoint.address}/{endpoint.model}: {error.code().name}: {_details(error)}"
        if not ready:
            return f"{endpoint.address}: the server has no model '{endpoint.model}' that is ready"
        try:
            metadata = endpoint.call("ModelMetadata", kinds["ModelMetadataRequest"](name=endpoint.model), PROBE_S)
        except self._grpc.RpcError:
            return ""  # a server that describes no model; its answers are compared
        return endpoint.mismatch(next((each for each in metadata.versions if each.startswith(IDENTITY)), ""))

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """The stage's outputs. StageError if the stage refuses the item, or if no server answers for `patience_s`; after that,
        immediately, until one of the servers is there again."""
        self._count += 1
        self.tries = 0
        if self._away is not None:
            self._require_return(self._away)
        request = infer_request("", self._count, tensors, self.part.outputs)
        until = time.monotonic() + self._patience_s
        while time.monotonic() < until and not self._closing.is_set():
            endpoint = self._pick()
            if endpoint is not None and (response := self._try(endpoint, request)) is not None:
                return self._outputs(response, endpoint)
        if self._closing.is_set():
            raise StageError("the pipeline is closed")
        self._away = f": {self._fault[1]}" if self._fault else ""
        self._end_fault(None, "")
        raise StageError(f"no answer from {self._places()} for {self._patience_s:g} s{self._away}")

    def _require_return(self, reason: str) -> None:
        """Probes the servers whose pause is over; StageError if none is there: no item waits for what is known to be away."""
        for endpoint in self.endpoints:
            begin = time.monotonic()
            if endpoint.free_from_s > begin:
                continue
            if not self._problem(endpoint):
                endpoint.worked()
                self._away = None
                self._note_fault(Fault(RETURN, self.device, begin, begin, f"{endpoint.address} is back"))
                return
            now = time.monotonic()
            endpoint.pause(now, SHARE_OF_WAITING * (now - begin))
        raise StageError(f"no answer from {self._places()}{reason}; items are not sent until it is back")

    def close(self) -> None:
        """Also ends a request that is under way."""
        self._closing.set()
        for endpoint in self.endpoints:
            endpoint.channel.close()

    def _pick(self) -> Endpoint | None:
        """The first endpoint that may be tried; None, after a wait, if all are in a pause."""
        now = time.monotonic()
        for endpoint in self.endpoints:
            if endpoint.free_from_s <= now:
                return endpoint
        self._closing.wait(max(0.0, min(endpoint.free_from_s for endpoint in self.endpoints) - now))
        return None

    def _try(self, endpoint: Endpoint, request: Any) -> Any | None:
        """The server's answer; None if it is down or too slow; StageError if it refuses the item."""
        request.model_name = endpoint.model
        self.tries += 1
        begin = time.monotonic()
        # If one server hangs, there must be time to try the others, or the same one again.
        limit_s = min(self._clock.limit_s(self.stage, endpoint.address), self._patience_s / (len(self.endpoints) + 1))
        try:
            response = endpoint.call("ModelInfer", request, limit_s)
        except ValueError as error:  # what gRPC raises for a channel that was closed meanwhile
            raise StageError("the pipeline is closed") from error
        except self._grpc.RpcError as error:
            self._failed(endpoint, error, begin)
            return None
        now = time.monotonic()
        if problem := endpoint.mismatch(response.model_version):
            endpoint.pause(now, 0.0)
            self._fault = (self._fault[0] if self._fault else now, problem)
            return None
        self._clock.saw(self.stage, endpoint.address, now - begin)
        endpoint.worked()
        self._end_fault(now, f"; answered by {endpoint.address}")
        return response

    def _failed(self, endpoint: Endpoint, error: Any, begin_s: float) -> None:
        code, now = error.code().name, time.monotonic()
        what = f"{endpoint.address}/{endpoint.model}: {code}: {_details(error)}"
        if code not in TRANSIENT or TOO_LARGE in what:
            raise StageError(what) from error
        hung = code == "DEADLINE_EXCEEDED"
        if hung:
            self._clock.was_slow(self.stage)
        endpoint.pause(now, SHARE_OF_WAITING * (now - begin_s) if hung and len(self.endpoints) > 1 else 0.0)
        if self._fault is None and not self._closing.is_set():
            self._fault = (now, what)

    def _end_fault(self, recovered_s: float | None, ending: str) -> None:
        """Records the fault since which no server answered, if any; `recovered_s` is None if none answered in time."""
        if self._fault is not None:
            detected_s, detail = self._fault
            self._fault = None
            self._note_fault(Fault("server", self.device, detected_s, recovered_s, detail + ending))

    def _outputs(self, response: Any, endpoint: Endpoint) -> dict[str, Array]:
        if response.id not in ("", str(self._count)):
            raise StageError(f"{endpoint.address}: answered request {response.id} in place of {self._count}")
        made = unpack(response.outputs, response.raw_output_contents)
        for name in self.part.outputs:
            if name not in made:
                raise StageError(f"{endpoint.address}/{endpoint.model}: output '{name}' is missing{did_you_mean(name, made)}")
        return made

    def _places(self) -> str:
        return ", ".join(f"{endpoint.address}/{endpoint.model}" for endpoint in self.endpoints)


def _details(error: Any) -> str:
    return " ".join(str(error.details()).split())
