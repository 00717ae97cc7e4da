"""Models and servers for tests of the Open Inference Protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from multiedge.errors import ModelError
from multiedge.graph import Tensor
from multiedge.serving.inference.contract import InferReply, InferRequest, ModelConfig, ServedModel
from multiedge.serving.inference.repository import ModelRepository
from multiedge.serving.inference.server import InferenceServer, ServerOptions
from multiedge.serving.signature import Signature

LOOPBACK = ("127.0.0.1", 0)
SIGNATURE = Signature(
    {"x": Tensor("x", "float32", ("n", 3)), "s": Tensor("s", "object", ("n",))},
    {"y": Tensor("y", "float32", ("n", 3)), "t": Tensor("t", "object", ("n",))},
)


class Doubler(ServedModel):
    """Gives `y` = 2 x and `t` = s in capitals, of version '1'. An `x` of 7 is refused, of 8 breaks it."""

    platform = "onnxruntime_onnx"
    versions = ("1",)

    def __init__(self, name: str = "m", factor: float = 2.0) -> None:
        self.name, self.factor = name, factor
        self.seen: list[InferRequest] = []
        self.closed = 0

    @property
    def signature(self) -> Signature:
        return SIGNATURE

    def infer(self, request: InferRequest) -> InferReply:
        assert not self.closed, "a model that is closed was used"
        self.seen.append(request)
        x = request.inputs["x"]
        if x.size and float(x.flat[0]) == 7:
            raise ModelError("seven is refused,\nsays the model")
        if x.size and float(x.flat[0]) == 8:
            raise ZeroDivisionError("eight breaks it")
        texts = np.array([text.upper() for text in request.inputs["s"]], dtype=object)
        return InferReply({"y": x * np.float32(self.factor), "t": texts}, {"row": "local"})

    def close(self) -> None:
        self.closed += 1


class Counter(ServedModel):
    """Gives, in a stream, the numbers from 0 to below `n`; otherwise `n` itself."""

    name = "counter"

    @property
    def signature(self) -> Signature:
        return Signature({"n": Tensor("n", "int64", (1,))}, {"i": Tensor("i", "int64", (1,))})

    def infer(self, request: InferRequest) -> InferReply:
        return InferReply({"i": request.inputs["n"]})

    def infer_stream(self, request: InferRequest) -> Iterator[InferReply]:
        for number in range(int(request.inputs["n"][0])):
            yield InferReply({"i": np.array([number])})

    def config(self) -> ModelConfig:
        return ModelConfig(self.name, self.platform, self.signature, self.concurrency, streams=True)


@dataclass
class Waiting(ServedModel):
    """Computes until `release` is set; `begun` counts the requests that have begun."""

    name: str = "waiting"
    concurrency: int = 1
    most_waiting: int = 1
    release: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def signature(self) -> Signature:
        return Signature({}, {"y": Tensor("y", "float32", (1,))})

    def infer(self, request: InferRequest) -> InferReply:
        self.begun.release()
        self.release.wait(10)
        return InferReply({"y": np.ones(1, np.float32)})


@contextmanager
def serving(*models: ServedModel, loaders: dict[str, Callable[[], ServedModel]] | None = None) -> Iterator[InferenceServer]:
    """A server of these models on loopback, over gRPC and HTTP."""
    repository = ModelRepository()
    for model in models:
        repository.put(model, (loaders or {}).get(model.name))
    for name, loader in (loaders or {}).items():
        repository.declare(name, loader)
    with InferenceServer(repository, ServerOptions(LOOPBACK, LOOPBACK)) as server:
        yield server
    repository.close()


def until(is_true: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Waits until something holds; AssertionError if it does not in time."""
    end_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.005)
