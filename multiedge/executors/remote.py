"""Stages behind servers that speak the Open Inference Protocol v2 over gRPC: `multiedge serve`, Triton, MLServer, ...

    open_pipeline("parts", fleet, "remote", endpoints={"laptop": "127.0.0.1:8081", "1": ["a:8001/x", "b:8001/x"]})

An endpoint is `host:port` or `host:port/model`; without a model it is `stage_N`, as `multiedge serve` names it. Keys are
device names or stage numbers (from 0, and these take precedence). Of several endpoints the first that works is used.
A stage is a pure function, so a request can be sent again whether or not it was answered.

Servers that have the extension of `multiedge.transports.references`, as `multiedge serve` does, keep what they make for the
next stage, whose server fetches it there. Where one of the two is another server, or cannot reach the first, tensors go by way
of the caller.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from multiedge.errors import ConfigError, PipelineError, StageError, did_you_mean, require_port
from multiedge.executors.flow.contract import require_fallbacks
from multiedge.executors.flow.expected import stage_clock
from multiedge.executors.flow.stage_clock import StageClock
from multiedge.executors.workers.servers import PROBE_S, SHORTEST_PAUSE_S, Endpoint, Released, Request
from multiedge.executors.workers.threads import Again, LostInputsError, ThreadsExecutor, ThreadsOptions
from multiedge.fleet import Fleet
from multiedge.measurements import RETURN, Fault
from multiedge.plan import IDENTITY, Manifest, Part
from multiedge.transports.open_inference import grpc_module, messages
from multiedge.transports.references import (
    FetchError,
    Held,
    OtherServers,
    made_outputs,
)

SHARE_OF_WAITING = 4.0
"""A server that did not answer a request within its deadline gets none for so many times as long, if there are others."""
TRANSIENT = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED", "RESOURCE_EXHAUSTED", "NOT_FOUND")
"""Status codes of a server that is down, starting or busy. NOT_FOUND is one: the model was there at the start."""
NOT_FETCHED = "FAILED_PRECONDITION"
"""The status code of a server that could not fetch an input from another."""
FETCH_S = 2.0
"""How long the caller may take to fetch what a server could not."""
UNREACHABLE_S = 30.0
"""For how long a server fetches nothing from another that it could not reach."""
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
        direct: Whether servers of this project fetch from each other; otherwise all tensors go by way of the caller.
    """

    endpoints: Mapping[str | int, str | Sequence[str]] = field(default_factory=dict)
    connect_s: float = 10.0
    patience_s: float | None = None
    fallbacks: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    direct: bool = True


class RemoteExecutor(ThreadsExecutor):
    """Sends each stage's tensors to its server, or what to fetch from which other server."""

    options_type = RemoteOptions
    name = "remote"
    transport = "grpc"
    lanes = 2

    def __init__(self, manifest: Manifest, fleet: Fleet, options: RemoteOptions) -> None:
        super().__init__(manifest, fleet, options)
        require_fallbacks(manifest, fleet, options.fallbacks)
        self._connect_s, self._fallbacks = options.connect_s, options.fallbacks
        self._patience_s = options.deadlines.first_s if options.patience_s is None else options.patience_s
        self._given = checked_endpoints(options.endpoints, manifest, fleet)
        self._released = Released() if options.direct else None

    def release(self, references: Iterable[Any]) -> None:
        if self._released:
            self._released.add(references)

    def settings(self) -> dict[str, Any]:
        return {"endpoints": {key: list(places) for key, places in self._given.items()}}

    def connect(self, stage: int, device: str) -> RemoteStage:
        places = self._places(stage, device)
        clock = stage_clock(self.manifest, self.options.deadlines)
        identity = self.manifest.identity(stage)
        part = self.routes.parts[stage]
        runner = RemoteStage(part, device, identity, places, clock, self._patience_s, self.note_fault, self._released)
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


class RemoteStage:
    """One stage behind its endpoints, in order of preference. Without `released`, all its tensors go by way of the caller."""

    def __init__(
        self,
        part: Part,
        device: str,
        identity: str,
        places: Sequence[str],
        clock: StageClock,
        patience_s: float,
        note_fault: Callable[[Fault], None],
        released: Released | None,
    ) -> None:
        self._grpc = grpc_module()
        self.part, self.device = part, device
        self.endpoints = [Endpoint.of(place, part.stage, identity) for place in places]
        self._clock, self._patience_s, self._note_fault, self._released = clock, patience_s, note_fault, released
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._fault: tuple[float, str] | None = None
        self._away: str | None = None
        self._numbers = count(1)

    @property
    def takes_references(self) -> bool:
        """Whether the server that is preferred of those that are there keeps outputs."""
        return next((each.keeps_outputs for each in self.endpoints if not each.failures), False)

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
        if self._released is not None:
            endpoint.ask_extensions()
        try:
            metadata = endpoint.call("ModelMetadata", kinds["ModelMetadataRequest"](name=endpoint.model), PROBE_S)
        except self._grpc.RpcError:
            return ""  # a server that describes no model; its answers are compared
        return endpoint.mismatch(next((each for each in metadata.versions if each.startswith(IDENTITY)), ""))

    def run(self, tensors: Mapping[str, Held], wanted: Collection[str], again: Again) -> dict[str, Held]:
        """The stage's outputs. StageError if the stage refuses the item, or if no server answers for `patience_s`; after that,
        immediately, until one of the servers is there again. LostInputsError if an input is kept nowhere any more."""
        if self._away is not None:
            self._require_return(self._away)
        request = Request(next(self._numbers), dict(tensors), self.part.outputs, frozenset(wanted), again)
        until = time.monotonic() + self._patience_s
        while time.monotonic() < until and not self._closing.is_set():
            endpoint = self._pick()
            if endpoint is not None and (response := self._try(endpoint, request)) is not None:
                return self._outputs(response, endpoint, request)
        if self._closing.is_set():
            raise StageError("the pipeline is closed")
        with self._lock:
            self._away = f": {self._fault[1]}" if self._fault else self._away or ""
        self._end_fault(None, "")
        raise StageError(f"no answer from {self._places()} for {self._patience_s:g} s{self._away or ''}")

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

    def _try(self, endpoint: Endpoint, request: Request) -> Any | None:
        """The server's answer; None if it is down or too slow; StageError if it refuses the item."""
        begin = time.monotonic()
        if not all(endpoint.can_fetch(held, begin) for held in request.tensors.values()):
            self._fetch(request)
        request.send()
        # If one server hangs, there must be time to try the others, or the same one again.
        limit_s = min(self._clock.limit_s(self.part.stage, endpoint.address), self._patience_s / (len(self.endpoints) + 1))
        try:
            message = request.message(endpoint, self._released.take(endpoint.address) if self._released else ())
            response = endpoint.call("ModelInfer", message, limit_s)
        except ValueError as error:  # what gRPC raises for a channel that was closed meanwhile
            raise StageError("the pipeline is closed") from error
        except self._grpc.RpcError as error:
            if error.code().name == NOT_FETCHED and request.kept:
                self._fetch(request)
                # It was there for the caller, so it is the server that cannot reach it.
                endpoint.unreachable_until_s |= dict.fromkeys(request.fetched_from, time.monotonic() + UNREACHABLE_S)
            else:
                self._failed(endpoint, error, begin)
            return None
        now = time.monotonic()
        if problem := endpoint.mismatch(response.model_version):
            endpoint.pause(now, 0.0)
            with self._lock:
                self._fault = (self._fault[0] if self._fault else now, problem)
            return None
        self._clock.saw(self.part.stage, endpoint.address, now - begin)
        endpoint.worked()
        self._end_fault(now, f"; answered by {endpoint.address}")
        return response

    def _fetch(self, request: Request) -> None:
        """Puts arrays in the place of the request's kept tensors; LostInputsError if that fails."""
        others = OtherServers()
        try:
            request.take(others.fetch(request.kept, FETCH_S))
        except FetchError as error:
            raise LostInputsError(request.kept, str(error)) from error
        finally:
            others.close()

    def _failed(self, endpoint: Endpoint, error: Any, begin_s: float) -> None:
        code, now = error.code().name, time.monotonic()
        what = f"{endpoint.address}/{endpoint.model}: {code}: {_details(error)}"
        if code not in TRANSIENT or TOO_LARGE in what:
            raise StageError(what) from error
        hung = code == "DEADLINE_EXCEEDED"
        if hung:
            self._clock.was_slow(self.part.stage)
        endpoint.pause(now, SHARE_OF_WAITING * (now - begin_s) if hung and len(self.endpoints) > 1 else 0.0)
        with self._lock:
            if self._fault is None and not self._closing.is_set():
                self._fault = (now, what)

    def _end_fault(self, recovered_s: float | None, ending: str) -> None:
        """Records the fault since which no server answered, if any; `recovered_s` is None if none answered in time."""
        with self._lock:
            fault, self._fault = self._fault, None
        if fault is not None:
            detected_s, detail = fault
            self._note_fault(Fault("server", self.device, detected_s, recovered_s, detail + ending))

    def _outputs(self, response: Any, endpoint: Endpoint, request: Request) -> dict[str, Held]:
        if response.id not in ("", str(request.number)):
            raise StageError(f"{endpoint.address}: answered request {response.id} in place of {request.number}")
        made = made_outputs(response, endpoint.address)
        for name in self.part.outputs:
            if name not in made:
                raise StageError(f"{endpoint.address}/{endpoint.model}: output '{name}' is missing{did_you_mean(name, made)}")
        return made

    def _places(self) -> str:
        return ", ".join(f"{endpoint.address}/{endpoint.model}" for endpoint in self.endpoints)


def _details(error: Any) -> str:
    return " ".join(str(error.details()).split())
