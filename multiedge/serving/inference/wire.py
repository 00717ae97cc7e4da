"""A request and a reply as both protocols have them: tensors with parameters, whose contents may be outside the message."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from multiedge.serving.inference.contract import Array, Parameter
from multiedge.transports.references import ABSENT, KEPT

REGION = "shared_memory_region"
"""The parameter of a tensor that is in shared memory."""
ELSEWHERE = frozenset({REGION, KEPT, ABSENT})
"""Parameters of inputs whose contents are not in the message."""
TIMEOUT, BINARY_OUTPUTS, FINAL = "timeout", "binary_data_output", "triton_final_response"
EMPTY_FINAL = "triton_enable_empty_final_response"
"""Whether a request of a stream wants an empty last reply."""

Parameters = Mapping[str, Parameter]


@dataclass(frozen=True)
class GivenTensor:
    """An input; `array` is None where its contents are elsewhere. `datatype` and `shape` are empty where a message has none."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    array: Array | None
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class WantedOutput:
    """An output that a request names."""

    name: str
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class WireRequest:
    """A decoded request for an inference."""

    model: str
    version: str
    id: str
    inputs: tuple[GivenTensor, ...]
    outputs: tuple[WantedOutput, ...]
    parameters: Parameters


@dataclass(frozen=True)
class MadeOutput:
    """An output; `is_here` is False where the contents have gone elsewhere and only the description is sent."""

    name: str
    array: Array
    is_here: bool = True
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class WireReply:
    """A reply to encode."""

    model: str
    version: str
    id: str
    outputs: tuple[MadeOutput, ...]
    parameters: Parameters


@dataclass(frozen=True)
class Call:
    """What a transport knows of a request: whether its client still waits, until when (`time.monotonic`; None: without limit),
    and whether it is on this machine."""

    is_active: Callable[[], bool]
    deadline_s: float | None
    is_local: Callable[[], bool]


class Place(Protocol):
    """Where tensors can be besides the message. Errors are RequestErrors."""

    def note(self, parameters: Parameters) -> None:
        """Sees the parameters of each request."""

    def has_input(self, parameters: Parameters) -> bool:
        """Whether an input with these parameters is here."""

    def takes_output(self, parameters: Parameters) -> bool:
        """Whether an output that is requested with these parameters goes here."""

    def read(self, tensors: Sequence[GivenTensor], call: Call) -> Mapping[str, Array]:
        """The arrays of such inputs by name."""

    def write(self, output: WantedOutput, array: Array, call: Call) -> Parameters:
        """Takes the output; the parameters with which the reply describes it."""
