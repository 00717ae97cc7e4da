"""Outputs that a server keeps for the servers of later stages."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from multiedge.serving.inference.contract import Array, InferReply, InferRequest, NotFound, ServedModel
from multiedge.serving.inference.wire import Call, GivenTensor, Parameters, WantedOutput
from multiedge.serving.signature import Signature
from multiedge.transports.references import KEEP, KEPT, KEPT_MODEL, KEY, RELEASE, KeptTensor, OtherServers

LONGEST_S = 300.0
"""Nothing is kept for longer: its caller has gone."""
SHARE_FOR_FETCHING = 0.5
"""Of a request's time, the share in which its inputs must come: the caller learns what is missing before its time is over."""


@dataclass(frozen=True)
class Entry:
    """A kept tensor, and when it was made."""

    array: Array
    since_s: float


class KeptOutputs:
    """Tensors by random key, up to `limit_bytes` of them: older ones make room, and who wants them makes them again."""

    def __init__(self, limit_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_bytes, self._now = limit_bytes, clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Size of all that is kept."""
        return sum(entry.array.nbytes for entry in self._entries.values())

    def put(self, array: Array) -> str:
        """The key of a tensor that is kept from now on."""
        key, now = uuid.uuid4().hex, self._now()
        with self._lock:
            self._entries[key] = Entry(array, now)
            oldest = next(iter(self._entries))
            while oldest != key and (self.nbytes > self._limit_bytes or self._entries[oldest].since_s < now - LONGEST_S):
                del self._entries[oldest]
                oldest = next(iter(self._entries))
        return key

    def get(self, key: str) -> Array:
        """The tensor; KeyError if it is not kept any more."""
        with self._lock:
            return self._entries[key].array

    def release(self, keys: Iterable[str]) -> None:
        """Forgets tensors; keys that are not known do not matter."""
        with self._lock:
            for key in keys:
                self._entries.pop(key, None)


class KeptPlace:
    """The extension of `multiedge.transports.references` on the side of a server: a place for tensors."""

    def __init__(self, kept: KeptOutputs, others: OtherServers) -> None:
        self._kept, self._others = kept, others

    def note(self, parameters: Parameters) -> None:
        """Forgets what nobody fetches any more."""
        if keys := parameters.get(RELEASE):
            self._kept.release(str(keys).split(","))

    def has_input(self, parameters: Parameters) -> bool:
        return KEPT in parameters

    def takes_output(self, parameters: Parameters) -> bool:
        return parameters.get(KEEP) is True

    def read(self, tensors: Sequence[GivenTensor], call: Call) -> Mapping[str, Array]:
        """Fetches the tensors from the servers that keep them. Raises FetchError; PipelineError for what is no reference."""
        held = {tensor.name: KeptTensor.parse(str(tensor.parameters[KEPT])) for tensor in tensors}
        left_s = LONGEST_S if call.deadline_s is None else min(LONGEST_S, call.deadline_s - time.monotonic())
        return self._others.fetch(held, SHARE_FOR_FETCHING * left_s)

    def write(self, output: WantedOutput, array: Array, call: Call) -> Parameters:
        return {KEY: self._kept.put(array)}


class KeptModel(ServedModel):
    """Answers other servers, and callers, that fetch kept outputs: an inference that requests their keys."""

    name = KEPT_MODEL

    def __init__(self, kept: KeptOutputs) -> None:
        self._kept = kept

    @property
    def signature(self) -> Signature:
        return Signature({}, {})

    def infer(self, request: InferRequest) -> InferReply:
        """The kept tensors by key; NotFound if one of them is not kept any more."""
        try:
            return InferReply({key: self._kept.get(key) for key in request.outputs})
        except KeyError:
            raise NotFound("an output is not kept here any more") from None
