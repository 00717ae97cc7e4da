"""What the protocol's requests do, the same for gRPC and HTTP: from a decoded request to the reply to encode."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from multiedge.composed import VOID, is_void
from multiedge.errors import describe, did_you_mean
from multiedge.serving.inference.contract import (
    Array,
    DeadlineExceeded,
    InferReply,
    InferRequest,
    Invalid,
    NotFound,
    Parameter,
    RequestError,
    ServedModel,
    Unsupported,
)
from multiedge.serving.inference.repository import Loaded, ModelRepository
from multiedge.serving.inference.shared_memory import SystemSharedMemory
from multiedge.serving.inference.wire import (
    BINARY_OUTPUTS,
    ELSEWHERE,
    EMPTY_FINAL,
    FINAL,
    TIMEOUT,
    Call,
    MadeOutput,
    Parameters,
    Place,
    WantedOutput,
    WireReply,
    WireRequest,
)
from multiedge.transports.references import ABSENT

NOTHING: Array = np.empty(0, object)
"""What is sent of an output that the item does not have, with the parameter ABSENT."""
EXTENSIONS = (
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "statistics",
    "system_shared_memory",
)
PROTOCOL_PARAMETERS = frozenset({TIMEOUT, BINARY_OUTPUTS, EMPTY_FINAL})
"""Parameters for the server; a model does not see them."""
STATEFUL = ("sequence_id", "sequence_start", "sequence_end", "priority")
"""Parameters of Triton that would have no effect here."""
Run = Callable[[ServedModel, InferRequest], Iterator[InferReply]]


@dataclass(frozen=True)
class ServerInfo:
    """What the server says of itself."""

    name: str
    version: str
    extensions: tuple[str, ...]


class InferenceService:
    """Answers requests for the models of a repository.

    `places` are where tensors can be besides messages and shared memory; `extensions` are listed with the protocol's own.
    `internal` are models for such places: they take no slot and stand in no index.
    """

    def __init__(
        self,
        repository: ModelRepository,
        info: ServerInfo,
        places: Sequence[Place] = (),
        internal: Mapping[str, ServedModel] | None = None,
    ) -> None:
        self.repository = repository
        self.memory = SystemSharedMemory()
        self.info = replace(info, extensions=(*EXTENSIONS, *info.extensions))
        self._places: tuple[Place, ...] = (self.memory, *places)
        self._internal = dict(internal or {})

    def infer(self, wire: WireRequest, call: Call) -> WireReply:
        """The reply to one request. Raises RequestError, and whatever the model raises."""
        (reply,) = self._replies(wire, call, _once)
        return reply

    def stream(self, wire: WireRequest, call: Call) -> Iterator[WireReply]:
        """The replies to one request of a stream; each says whether it is the last one."""
        streams = self._streams(wire)
        for reply in self._replies(wire, call, lambda model, request: model.infer_stream(request)):
            yield replace(reply, parameters={**reply.parameters, FINAL: not streams})
        if streams and wire.parameters.get(EMPTY_FINAL) is True:
            yield WireReply(wire.model, wire.version, wire.id, (), {FINAL: True})

    def _streams(self, wire: WireRequest) -> bool:
        if wire.model in self._internal:
            return False
        with self.repository.using(wire.model, wire.version) as loaded:
            return loaded.model.config().streams

    def _replies(self, wire: WireRequest, call: Call, run: Run) -> Iterator[WireReply]:
        for place in self._places:
            place.note(wire.parameters)
        internal = self._internal.get(wire.model)
        if internal:
            request = self._request(wire, call)
            yield from (self._reply(wire, internal, reply, call) for reply in run(internal, request))
            return
        with self.repository.using(wire.model, wire.version) as loaded:
            yield from self._counted(loaded, wire, call, run)

    def _counted(self, loaded: Loaded, wire: WireRequest, call: Call, run: Run) -> Iterator[WireReply]:
        """The replies of a model that holds a slot meanwhile; its counters have what it took."""
        model, now = loaded.model, time.perf_counter_ns
        begin = now()
        try:
            request = self._request(wire, call)
            model.check(request)
            checked = now()
            with loaded.slots.taken(request.is_active, request.deadline_s):
                start, output_ns = now(), 0
                for reply in run(model, request):
                    made = now()
                    encoded = self._reply(wire, model, reply, call)
                    output_ns += now() - made
                    yield encoded
        except BaseException:
            loaded.counters.fail(now() - begin)
            raise
        loaded.counters.succeed(checked - begin, start - checked, now() - start - output_ns, output_ns)

    def _request(self, wire: WireRequest, call: Call) -> InferRequest:
        """The request as a model sees it, with all its inputs here."""
        for name in STATEFUL:
            if wire.parameters.get(name):
                raise Unsupported(f"parameter '{name}': no model here has sequences or priorities; leave it out")
        deadline_s = deadline_of(wire.parameters, call.deadline_s)
        if deadline_s is not None and deadline_s <= time.monotonic():
            raise DeadlineExceeded("the time of the request was over before it began")
        outputs = tuple(dict.fromkeys(output.name for output in wire.outputs))
        parameters = {name: value for name, value in wire.parameters.items() if name not in PROTOCOL_PARAMETERS}
        inputs = self._inputs(wire, call if deadline_s == call.deadline_s else replace(call, deadline_s=deadline_s))
        return InferRequest(wire.model, inputs, outputs, wire.version, wire.id, parameters, deadline_s, call.is_active)

    def _inputs(self, wire: WireRequest, call: Call) -> dict[str, Array]:
        arrays = {tensor.name: tensor.array for tensor in wire.inputs if tensor.array is not None}
        away = [tensor for tensor in wire.inputs if tensor.array is None]
        for place in self._places if away else ():
            here = [tensor for tensor in away if place.has_input(tensor.parameters)]
            if here:
                arrays |= place.read(here, call)
        for tensor in away:
            if tensor.name not in arrays:
                known = ELSEWHERE & set(tensor.parameters)
                what = f"this server has no {', '.join(known)}" if known else "expected contents, got none"
                raise Invalid(f"input '{tensor.name}': {what}")
        if len(arrays) < len(wire.inputs):
            raise Invalid(f"expected each input once, got {describe([tensor.name for tensor in wire.inputs])}")
        return arrays

    def _reply(self, wire: WireRequest, model: ServedModel, reply: InferReply, call: Call) -> WireReply:
        """The outputs that the request names, each in the message or where the request wants it; without names, all."""
        wanted = wire.outputs or tuple(WantedOutput(name) for name in reply.outputs)
        if model.may_lack_outputs:
            reply = replace(reply, outputs={**dict.fromkeys(model.signature.outputs, VOID), **reply.outputs})
        outputs = tuple(self._output(output, reply, call) for output in wanted)
        version = reply.version or wire.version or next(iter(model.versions), "")
        return WireReply(wire.model, version, wire.id, outputs, reply.parameters)

    def _output(self, output: WantedOutput, reply: InferReply, call: Call) -> MadeOutput:
        if output.name not in reply.outputs:
            raise RequestError(f"the model made no output '{output.name}'{did_you_mean(output.name, reply.outputs)}")
        array = reply.outputs[output.name]
        if is_void(array):
            return MadeOutput(output.name, NOTHING, True, {ABSENT: True})
        if not output.parameters:
            return MadeOutput(output.name, array)
        if output.parameters.get("classification"):
            raise Unsupported(f"output '{output.name}': classification: there are no labels here; request the output itself")
        for place in self._places:
            if place.takes_output(output.parameters):
                return MadeOutput(output.name, array, False, place.write(output, array, call))
        return MadeOutput(output.name, array)


def _once(model: ServedModel, request: InferRequest) -> Iterator[InferReply]:
    yield model.infer(request)


def deadline_of(parameters: Parameters, deadline_s: float | None) -> float | None:
    """The earlier one of the transport's deadline and that of the parameter `timeout`, microseconds from now; 0 is none.

    Raises Invalid for another value.
    """
    timeout_us: Parameter = parameters.get(TIMEOUT, 0)
    if not isinstance(timeout_us, int) or isinstance(timeout_us, bool) or timeout_us < 0:
        raise Invalid(f"parameter '{TIMEOUT}': expected a whole number of microseconds, got {describe(timeout_us)}")
    if not timeout_us:
        return deadline_s
    own_s = time.monotonic() + timeout_us / 1e6
    return own_s if deadline_s is None else min(own_s, deadline_s)


def require_unnamed(repository: str) -> None:
    """NotFound for a named repository: there is one, without a name."""
    if repository:
        raise NotFound(f"no repository {describe(repository)}; leave the name out")


def require_no_parameters(names: Iterable[str]) -> None:
    """Unsupported for parameters of loading, such as a configuration that takes the place of the model's own."""
    for name in names:
        raise Unsupported(f"parameter {describe(name)}: a model is loaded as the server has it; leave it out")
