"""A deployment as a model of the front end: bounds of a request choose a row, attempts on rows answer it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from multiedge.network.records import PlanRow
from multiedge.serving.front.attempts import AttemptRules
from multiedge.serving.front.bounds import Bounds, read_bounds
from multiedge.serving.front.choose import Choice, Condition, Refusal, RowState, choose
from multiedge.serving.front.offload import OffloadRules
from multiedge.serving.front.once import OnceById
from multiedge.serving.front.race import Race
from multiedge.serving.front.row_sequences import ClientSequences
from multiedge.serving.front.rows import ServingRow
from multiedge.serving.front.switch import OffloadSwitch
from multiedge.serving.inference.contract import (
    InferReply,
    InferRequest,
    Invalid,
    ModelConfig,
    Parameter,
    RequestError,
    ServedModel,
    Status,
)
from multiedge.serving.signature import Signature
from multiedge.states import SEQUENCE, Step

PLATFORM = "onnxruntime_onnx"
CALLBACK = "callback"
"""The parameter of a request with the address to which its result is sent as well."""
DEFAULT_SWITCH_INPUT = "offload"
CONCURRENCY, MOST_WAITING = 64, 256


class Refused(RequestError):
    """No row of the table keeps the bounds of the request."""

    status = Status.FAILED_PRECONDITION


@dataclass(frozen=True)
class ModelRules:
    """How a deployment answers.

    Attributes:
        attempts: How long attempts may take.
        switch_input: Name of a boolean input that says whether the request may leave the device; the parameter `offload` says
            the same. It is taken out of the request if the model has no such input.
        park_after_s: After the switch is off for so long, pipelines to other devices are closed.
        idle_s: A row that had no request for so long is closed, except those that are kept open.
        warm: So many rows are kept open, the first of the table, and the local ones.
    """

    attempts: AttemptRules = field(default_factory=AttemptRules)
    switch_input: str = DEFAULT_SWITCH_INPUT
    park_after_s: float = 1.0
    idle_s: float = 120.0
    warm: int = 2


@dataclass(frozen=True)
class _Asked:
    """What a request asks, decided once."""

    tensors: Mapping[str, np.ndarray]
    bounds: Bounds
    may_offload: bool


class DeployedModel(ServedModel):
    """Serves a deployment by the rows of its table.

    Args:
        name: Of the deployment.
        signature: Of the whole model.
        rows: In the order of the table.
        device: Name of the calling device; '' if it is none of the fleet.
        rules: How it answers.
        switch: Whether requests may leave the device; by default they may.
        once: Answers requests that have an id; None computes them like the others.
        refusal_of: Why nothing may be sent to a callback's address; '' if it may.
        version: Digest of the plan.
        battery: The charge of the calling device now; None is not known.
    """

    platform = PLATFORM
    may_lack_outputs = True
    concurrency, most_waiting = CONCURRENCY, MOST_WAITING

    def __init__(
        self,
        name: str,
        signature: Signature,
        rows: Sequence[ServingRow],
        *,
        device: str = "",
        rules: ModelRules | None = None,
        switch: OffloadSwitch | None = None,
        once: OnceById | None = None,
        refusal_of: Callable[[str], str] = lambda url: "callback: this server keeps no results",
        version: str = "",
        battery: Callable[[], float | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self._signature, self.rows = name, signature, tuple(rows)
        self.versions = (version,) if version else ()
        self._device, self._rules, self._once, self._now = device, rules or ModelRules(), once, clock
        self._switch = switch or OffloadSwitch(OffloadRules())
        self._refusal_of, self._battery = refusal_of, battery
        self._sequences = ClientSequences()

    @property
    def signature(self) -> Signature:
        return self._signature

    @property
    def is_ready(self) -> bool:
        return any(row.view().is_usable for row in self.rows)

    def check(self, request: InferRequest) -> None:
        inputs, _ = self._split(request)
        super().check(replace(request, inputs=inputs))
        read_bounds(request.parameters)
        if url := _callback(request):
            if not request.id:
                raise Invalid(f"{CALLBACK}: expected a request with an id, under which its result is kept; give one")
            if refusal := self._refusal_of(url):
                raise Invalid(refusal)

    def infer(self, request: InferRequest) -> InferReply:
        if request.id and self._once:
            return self._once.infer(request, self.compute, _callback(request))
        return self.compute(request)

    def compute(self, request: InferRequest) -> InferReply:
        """The reply of the first row that answers. Raises RequestError if none does, or none keeps the bounds."""
        asked, begin_s = self._asked(request), self._now()
        step = Step.of(asked.tensors[SEQUENCE]) if SEQUENCE in asked.tensors else None
        rows = self._preferred(asked)
        if step is not None:
            rows = self._sequences.rows_of(step, rows)
        rows[0].open()
        patience_s = begin_s + self._rules.attempts.patience_s
        own_s = request.deadline_s
        is_own = own_s is not None and own_s < patience_s
        race = Race(
            rows,
            self._rules.attempts,
            asked.tensors,
            own_s if own_s is not None and is_own else patience_s,
            is_own_deadline=is_own,
            is_active=request.is_active,
            clock=self._now,
        )
        answered = race.run()
        if step is not None:
            self._sequences.computed(step, answered.row)
        parameters: dict[str, Parameter] = {
            "row": answered.row,
            "attempts": answered.attempts,
            "latency_ms": round(answered.seconds * 1e3, 3),
        }
        return InferReply(answered.tensors, parameters, self.versions[0] if self.versions else "")

    def rows_for_sequence(self) -> Sequence[ServingRow]:
        """The rows that may compute a sequence that begins now, the best one first. Raises Refused if there is none."""
        return self._preferred(_Asked({}, Bounds(), self._switch.decide(None)))

    def config(self) -> ModelConfig:
        texts = {f"row.{row.name}": _described(row.row) for row in self.rows}
        return ModelConfig(self.name, self.platform, self.signature, self.concurrency, parameters=texts)

    def close(self) -> None:
        for row in self.rows:
            row.engine.park()
        for row in self.rows:
            row.engine.close()

    def tend(self) -> None:
        """Opens what is to be ready, and closes what is not used, or may not be; to be called now and again."""
        may_leave = self._switch.is_on
        allowed = [row for row in self.rows if row.is_local or may_leave]
        # The local rows answer as soon as nothing may leave.
        kept = {*allowed[: self._rules.warm], *(row for row in allowed if row.is_local)}
        for row in kept:
            row.open()
        for row in self.rows:
            idle_s = self._now() - row.engine.used_s
            is_out = not row.is_local and not may_leave and min(idle_s, self._switch.off_for_s()) >= self._rules.park_after_s
            is_idle = row not in kept and idle_s >= self._rules.idle_s
            if is_out or is_idle:
                row.engine.park()

    @property
    def answers_alone(self) -> bool:
        """Whether the rows on this device are open, if it has any."""
        return all(row.engine.is_running for row in self.rows if row.is_local)

    @property
    def sends_nothing(self) -> bool:
        """Whether no pipeline to another device is open."""
        return not any(row.engine.is_open for row in self.rows if not row.is_local)

    def _asked(self, request: InferRequest) -> _Asked:
        tensors, stated = self._split(request)
        bounds = read_bounds(request.parameters)
        may_offload = self._switch.decide(bounds.offload if stated is None else stated)
        return _Asked(tensors, bounds, may_offload)

    def _split(self, request: InferRequest) -> tuple[Mapping[str, np.ndarray], bool | None]:
        """The model's inputs, and what the switch's input states; None if the request has none."""
        name = self._rules.switch_input
        array = request.inputs.get(name)
        if array is None:
            return request.inputs, None
        if array.dtype != np.bool_ or array.size != 1:
            if name in self.signature.inputs:
                return request.inputs, None
            raise Invalid(f"input '{name}': expected one BOOL, got {array.dtype} {list(array.shape)}")
        if name in self.signature.inputs:
            return request.inputs, bool(array.item())
        return {key: each for key, each in request.inputs.items() if key != name}, bool(array.item())

    def _preferred(self, asked: _Asked) -> Sequence[ServingRow]:
        """The rows that may answer, the chosen one first, then those that would be chosen without it. Refused for none."""
        by_name = {row.name: row for row in self.rows}
        states = {row.name: row.state() for row in self.rows}
        table = [row.row for row in self.rows]
        chosen: list[ServingRow] = []
        battery = self._battery()
        while True:
            choice = choose(table, asked.bounds, Condition(self._device, asked.may_offload, battery, rows=states))
            if isinstance(choice, Refusal):
                if chosen:
                    return chosen
                raise Refused(str(choice))
            chosen.append(by_name[_name(choice)])
            states[_name(choice)] = RowState(is_usable=False)


def _name(choice: Choice) -> str:
    return choice.row.name


def _callback(request: InferRequest) -> str:
    value = request.parameters.get(CALLBACK, "")
    if not isinstance(value, str):
        raise Invalid(f"{CALLBACK}: expected an address, got {value}")
    return value


def _described(row: PlanRow) -> str:
    """A row for clients, in one line."""
    latency = row.expected.latency_s
    alone = "unknown" if latency is None else f"{latency * 1e3:.4g} ms"
    return f"{row.kind}, {alone}, on {', '.join(row.nodes)}"
