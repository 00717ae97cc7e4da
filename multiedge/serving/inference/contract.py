"""What a model is to the front ends of the Open Inference Protocol: requests, replies, and how a request fails.

The front ends (`grpc_service`, `http_service`) decode a request, take a slot of its model, and encode the reply; a model sees
arrays by name and knows neither protocol.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

import numpy.typing as npt

from multiedge.errors import ChangedError, MultiedgeError
from multiedge.serving.signature import Signature
from multiedge.transports.references import FetchError

Array = npt.NDArray[Any]
Parameter = bool | int | float | str
"""A value of a request's or reply's parameters."""


class Status(Enum):
    """How a request failed: the name of gRPC's status code, and the status of HTTP."""

    INVALID_ARGUMENT = 400
    NOT_FOUND = 404
    FAILED_PRECONDITION = 412
    RESOURCE_EXHAUSTED = 429
    CANCELLED = 499
    INTERNAL = 500
    UNIMPLEMENTED = 501
    UNAVAILABLE = 503
    DEADLINE_EXCEEDED = 504


class RequestError(MultiedgeError):
    """A request that is not answered with outputs; `str(error)` is the line for the client."""

    status: ClassVar[Status] = Status.INTERNAL


class Invalid(RequestError):
    """The request does not fit the model or the protocol: sent again, it fails again."""

    status = Status.INVALID_ARGUMENT


class NotFound(RequestError):
    """There is no such model, version, region or stored tensor."""

    status = Status.NOT_FOUND


class Busy(RequestError):
    """As many requests wait as may; this one can be sent again later."""

    status = Status.RESOURCE_EXHAUSTED


class DeadlineExceeded(RequestError):
    """The time of the request is over."""

    status = Status.DEADLINE_EXCEEDED


class Unavailable(RequestError):
    """The model is there, and cannot answer now; the request can be sent again, or to another server."""

    status = Status.UNAVAILABLE


class Abandoned(RequestError):
    """The caller has gone while its request waited."""

    status = Status.CANCELLED


class Unsupported(RequestError):
    """A part of the protocol that this server or model does not have."""

    status = Status.UNIMPLEMENTED


def status_of(error: BaseException) -> Status:
    """The status of an error: a caller sends a request again, or elsewhere, where that can help.

    Args:
        error: Any error that a model raises.

    Returns:
        The status.
    """
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, ChangedError):
        return Status.UNAVAILABLE
    if isinstance(error, FetchError):
        return Status.FAILED_PRECONDITION
    return Status.INVALID_ARGUMENT if isinstance(error, MultiedgeError) else Status.INTERNAL


def _always() -> bool:
    return True


@dataclass(frozen=True)
class InferRequest:
    """One inference.

    Attributes:
        model: Name of the model.
        inputs: Arrays by name of the input.
        outputs: Names of the outputs that are wanted; empty for all.
        version: Of the model; '' where the client gave none.
        id: That of the client; '' where it gave none.
        parameters: What else the client states.
        deadline_s: A time of `time.monotonic`; None where the client waits without limit.
        is_active: Whether the client still waits for the answer.
    """

    model: str
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...] = ()
    version: str = ""
    id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    deadline_s: float | None = None
    is_active: Callable[[], bool] = _always

    @property
    def time_left_s(self) -> float | None:
        """Seconds until the deadline, at least 0; None without a deadline."""
        return None if self.deadline_s is None else max(0.0, self.deadline_s - time.monotonic())


@dataclass(frozen=True)
class InferReply:
    """The answer to a request.

    Attributes:
        outputs: Arrays by name: the outputs that were requested, or more.
        parameters: What else the client is told.
        version: Of the model that computed them.
    """

    outputs: Mapping[str, Array]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True)
class ModelConfig:
    """A model's configuration for clients of the protocol. The server makes no batches: `max_batch_size` is 0 for them.

    Attributes:
        name: Name of the model.
        platform: As `ServedModel.platform`.
        signature: Types and whole shapes of inputs and outputs.
        instances: How many requests compute at the same time.
        streams: Whether a request may have several replies.
        parameters: Texts about the model, such as the rows of its plan table.
    """

    name: str
    platform: str
    signature: Signature
    instances: int
    streams: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)


class ServedModel(ABC):
    """A model behind the front ends. `infer` is called from many threads, at most `concurrency` at the same time.

    `versions` are the versions that a request may name, the first of which is used where it names none; empty if the model has
    none. `platform` is as KServe and Triton write it, such as 'onnxruntime_onnx'.
    """

    name: str
    versions: tuple[str, ...] = ()
    platform: str = ""
    concurrency: int = 4
    may_lack_outputs: bool = False
    """Whether a reply without one of the outputs says that the item does not have it, as workflows with conditions do."""
    most_waiting: int = 16
    """Requests that may wait for a slot; the next one is refused as `Busy`."""

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """Types and shapes of inputs and outputs."""

    @property
    def is_ready(self) -> bool:
        """Whether a request can be answered now."""
        return True

    def check(self, request: InferRequest) -> None:
        """Refuses a request that does not fit, before it takes a slot.

        Args:
            request: The request.

        Raises:
            RequestError: If the model does not answer such requests.
            ModelError: If a tensor is missing, unknown, or of another type or shape.
        """
        self.signature.require_inputs(request.inputs)
        self.signature.require_outputs(request.outputs)

    @abstractmethod
    def infer(self, request: InferRequest) -> InferReply:
        """Computes; blocks, and ends about when the deadline does.

        Args:
            request: A request that was checked.

        Returns:
            The reply.

        Raises:
            RequestError: If there is no answer. Whatever the runtime raises is this request's failure alone, too.
        """

    def infer_stream(self, request: InferRequest) -> Iterator[InferReply]:
        """Computes for a stream.

        Args:
            request: A request that was checked.

        Returns:
            The replies to it; one unless a model has more.
        """
        yield self.infer(request)

    def config(self) -> ModelConfig:
        """Describes the model.

        Returns:
            The configuration for clients.
        """
        return ModelConfig(self.name, self.platform, self.signature, self.concurrency)

    def close(self) -> None:
        """Frees what the model holds; called once, when no request uses it any more."""
        return
