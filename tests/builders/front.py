"""Rows of a deployment whose pipelines are fakes that a test controls, and requests to them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np

from multiedge.executors.flow.contract import Closing, Result
from multiedge.graph import Tensor
from multiedge.network.records import Expected, PlanRow
from multiedge.serving.front.attempts import AttemptRules
from multiedge.serving.front.breaker import BreakerRules
from multiedge.serving.front.model import DeployedModel, ModelRules
from multiedge.serving.front.rows import ServingRow
from multiedge.serving.inference.contract import InferRequest
from multiedge.serving.signature import Signature

DEVICE = "desk"
SIGNATURE = Signature({"x": Tensor("x", "float32", (1, 2))}, {"y": Tensor("y", "float32", (1, 2))})
QUICK = ModelRules(AttemptRules(least_deadline_s=0.1, unknown_deadline_s=0.1, pause_s=0.01, patience_s=2.0), park_after_s=0.05)
BREAKER = BreakerRules(failures=2, wait_s=0.05, trial_s=0.2)


class FakePipeline(Closing):
    """Answers x + `adds` after `takes_s`; a test makes it hang, end, or refuse items."""

    def __init__(self, adds: float = 1.0, takes_s: float = 0.0) -> None:
        self.adds, self.takes_s = adds, takes_s
        self.executor = self
        self.ended = ""
        self.hangs = False
        self.refuses = ""
        self.opened = self.computed = self.closed = 0
        self._items: deque[tuple[int, np.ndarray, float]] = deque()
        self._news = threading.Event()

    def __enter__(self) -> FakePipeline:
        self.opened += 1
        self.ended = ""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.closed += 1
        self._items.clear()

    @property
    def is_open(self) -> bool:
        return self.opened > self.closed

    has_room = True

    @property
    def unanswered(self) -> int:
        return len(self._items)

    def submit(self, item: int, tensors: Mapping[str, np.ndarray]) -> None:
        self.computed += 1
        self._items.append((item, tensors["x"], time.monotonic()))

    def poll(self, timeout_s: float) -> list[Result]:
        self._news.wait(min(timeout_s, 0.005))
        self._news.clear()
        if self.ended:
            results = [Result(item, None, self.ended) for item, _, _ in self._items]
            self._items.clear()
            return results
        if self.hangs:
            return []
        now = time.monotonic()
        done = [each for each in self._items if now - each[2] >= self.takes_s]
        for each in done:
            self._items.remove(each)
        return [self._result(item, x, now) for item, x, _ in done]

    def _result(self, item: int, x: np.ndarray, now: float) -> Result:
        if self.refuses:
            return Result(item, None, self.refuses)
        return Result(item, {"y": x + np.float32(self.adds)}, done_s=now)

    def wake(self) -> None:
        self._news.set()

    def mark(self) -> None:
        pass


def plan_row(name: str, kind: str = "fastest", nodes: tuple[str, ...] = ("tablet",), latency_s: float = 0.001) -> PlanRow:
    expected = Expected(items_per_s=100.0, latency_s=latency_s)
    return PlanRow(name, kind, f"{name:0<64}", expected, nodes, first=nodes[:1], last=nodes[-1:])


@dataclass
class Rows:
    """A model with a fake pipeline for each row."""

    pipelines: dict[str, FakePipeline]
    model: DeployedModel
    rows: dict[str, ServingRow] = field(default_factory=dict)

    def wait_open(self, *names: str) -> None:
        wait_until(lambda: all(self.rows[name].engine.is_running for name in names or self.rows))


def wait_until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.002)


def fake_rows(names: Mapping[str, FakePipeline], rules: ModelRules = QUICK, **options: object) -> AbstractContextManager[Rows]:
    """A model whose rows have these pipelines, in this order; a row called 'local' is on the calling device."""

    @contextmanager
    def running():
        rows = {}
        for number, (name, pipeline) in enumerate(names.items()):
            is_local = name == "local"
            nodes = (DEVICE,) if is_local else ("tablet",)
            # Each row is expected to take longer than the one before, so that requests prefer them in this order.
            row = plan_row(name, "local" if is_local else "fastest", nodes, 0.001 * (number + 1))
            rows[name] = ServingRow(row, lambda pipeline=pipeline: pipeline, BREAKER, is_local=is_local)
        model = DeployedModel("small", SIGNATURE, list(rows.values()), device=DEVICE, rules=rules, **options)
        for row in rows.values():
            row.open()
        held = Rows(dict(names), model, rows)
        held.wait_open()
        try:
            yield held
        finally:
            model.close()

    return running()


def request(value: float = 0.0, *, id: str = "", deadline_s: float | None = None, **parameters: object) -> InferRequest:
    until = None if deadline_s is None else time.monotonic() + deadline_s
    x = np.full((1, 2), value, np.float32)
    return InferRequest("small", {"x": x}, id=id, parameters=parameters, deadline_s=until)
