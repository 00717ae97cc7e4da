"""Servers of the Open Inference Protocol as a stage sees them: which are there, what they can do, and a request to them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from multiedge.executors.flow.contract import Array
from multiedge.executors.workers.threads import Again
from multiedge.plan import IDENTITY
from multiedge.transports.open_inference import SERVICE, UNLIMITED_MESSAGES, grpc_module, messages
from multiedge.transports.references import EXTENSION, Held, KeptTensor, add_released, chained_request

PROBE_S = 2.0
"""How long a server may take to answer whether it has a model."""
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0


class Released:
    """Keys of kept tensors that nobody reads any more, by address of their server, until it is told."""

    def __init__(self) -> None:
        self._keys: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    def add(self, tensors: Iterable[KeptTensor]) -> None:
        with self._lock:
            for tensor in tensors:
                self._keys.setdefault(tensor.address, []).append(tensor.key)

    def take(self, address: str) -> list[str]:
        """The keys of a server, which will be told now."""
        with self._lock:
            return self._keys.pop(address, [])


@dataclass
class Endpoint:
    """A server and the model on it. After `failures` in a row it gets no request until `free_from_s`. A server that
    `keeps_outputs` fetches inputs from others, but not from `unreachable_until_s`, addresses and times.

    A model that `is_identified` has shown an identity; from then on it must be `identity`, that of the run's stage. Servers
    other than `multiedge serve` have versions of their own, which say nothing of the plan.
    """

    address: str
    model: str
    identity: str
    channel: Any
    is_identified: bool = False
    keeps_outputs: bool = False
    unreachable_until_s: dict[str, float] = field(default_factory=dict)
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

    def ask_extensions(self) -> None:
        """Finds out whether the server keeps outputs; one that cannot tell does not."""
        try:
            request = messages()["ServerMetadataRequest"]()
            self.keeps_outputs = EXTENSION in self.call("ServerMetadata", request, PROBE_S).extensions
        except grpc_module().RpcError:
            self.keeps_outputs = False

    def can_fetch(self, tensor: Held, now_s: float) -> bool:
        """Whether the server can have an input: any array, and a kept tensor if it is known to fetch it."""
        if not isinstance(tensor, KeptTensor):
            return True
        return self.keeps_outputs and self.unreachable_until_s.get(tensor.address, 0.0) <= now_s

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


@dataclass
class Request:
    """An item for a stage, as often as it is sent. Inputs in `kept` are on other servers; the caller fetched from
    `fetched_from` itself. Outputs that are not `wanted` may stay on the server."""

    number: int
    tensors: dict[str, Held]
    outputs: tuple[str, ...]
    wanted: frozenset[str]
    again: Again
    is_sent: bool = False
    fetched_from: frozenset[str] = frozenset()

    def send(self) -> None:
        """Counts."""
        if self.is_sent:
            self.again()
        self.is_sent = True

    @property
    def kept(self) -> dict[str, KeptTensor]:
        return {name: held for name, held in self.tensors.items() if isinstance(held, KeptTensor)}

    def take(self, arrays: Mapping[str, Array]) -> None:
        """Has these arrays in the place of kept tensors."""
        self.fetched_from = frozenset(held.address for held in self.kept.values())
        self.tensors |= arrays

    def message(self, endpoint: Endpoint, released: Iterable[str]) -> Any:
        """The request for an endpoint, which tells it what is not needed any more."""
        stay = [name for name in self.outputs if name not in self.wanted] if endpoint.keeps_outputs else []
        message = chained_request(self.number, self.tensors, self.outputs, stay)
        message.model_name = endpoint.model
        add_released(message, released)
        return message
