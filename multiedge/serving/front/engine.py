"""A running pipeline that requests of many threads share: one thread owns it, and turns requests into items."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from itertools import count

from multiedge.errors import MultiedgeError, StageError, one_line
from multiedge.executors.flow.contract import Executor, Result, Tensors
from multiedge.executors.flow.pipeline import Pipeline
from multiedge.serving.inference.contract import Array

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""How long one poll of the pipeline may wait; a request wakes it."""
MARK_EACH = 1024
"""After so many answers what the pipeline has recorded is dropped: it runs for months."""
CLOSE_S = 10.0
"""How long closing may take: the pipeline ends its workers within two seconds."""


class EngineState(Enum):
    """What an engine does."""

    PARKED = "parked"
    OPENING = "opening"
    RUNNING = "running"
    DRAINING = "draining"
    """It takes no more requests, and is parked once all are answered."""
    CLOSING = "closing"


class ItemFailed(MultiedgeError):
    """The pipeline works, and could not compute this item."""


class RowFailed(MultiedgeError):
    """The pipeline could not start, or has ended, or was closed before the item was answered."""


@dataclass(frozen=True)
class Answer:
    """The outputs of an item by name, and when they were there (CLOCK_MONOTONIC)."""

    tensors: dict[str, Array]
    done_s: float


@dataclass
class _Entry:
    tensors: Tensors
    future: Future[Answer]


class Engine:
    """The pipeline of one row. All methods may be called from any thread, and none waits for the pipeline but `close`.

    Args:
        name: For threads and the log.
        open_pipeline: Starts the pipeline, and ends it with its block; called again after the engine was parked. Its results
            need not be in order.
        on_failed: Called from the engine's thread with the reason when the pipeline could not start or has ended.
    """

    def __init__(
        self,
        name: str,
        open_pipeline: Callable[[], AbstractContextManager[Pipeline]],
        on_failed: Callable[[str], None] = lambda reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._open, self._on_failed, self._now = open_pipeline, on_failed, clock
        self._lock = threading.Condition()
        self._inbox: deque[_Entry] = deque()
        self._executor: Executor | None = None
        self._under_way: dict[int, Future[Answer]] = {}
        self._thread: threading.Thread | None = None
        self.state = EngineState.PARKED
        self.used_s = clock()
        """When the last request came."""

    @property
    def waiting(self) -> int:
        """Requests that are not answered."""
        return len(self._inbox) + len(self._under_way)

    @property
    def is_running(self) -> bool:
        """Whether a request would be computed immediately."""
        return self.state is EngineState.RUNNING

    @property
    def is_open(self) -> bool:
        """Whether its pipeline, or a part of it, is there."""
        return self.state is not EngineState.PARKED

    def start(self) -> None:
        """Starts the pipeline, if it is parked."""
        with self._lock:
            if self.state is EngineState.DRAINING:
                self.state = EngineState.RUNNING
            if self.state is not EngineState.PARKED:
                return
            self.state, self.used_s = EngineState.OPENING, self._now()
            before = self._thread
            self._thread = threading.Thread(target=self._run, args=(before,), name=f"row-{self.name}", daemon=True)
            self._thread.start()

    def submit(self, tensors: Tensors) -> Future[Answer]:
        """The answer to come. It has ItemFailed or RowFailed if there is none; one that is cancelled before its turn is not
        computed."""
        future: Future[Answer] = Future()
        with self._lock:
            self.used_s = self._now()
            if self.state not in (EngineState.OPENING, EngineState.RUNNING):
                future.set_exception(RowFailed(f"row '{self.name}' is {self.state.value}"))
                return future
            self._inbox.append(_Entry(tensors, future))
            executor = self._executor
        if executor is not None:
            executor.wake()
        return future

    def park(self) -> None:
        """Closes the pipeline once every request is answered that it has; the next `start` opens it again."""
        with self._lock:
            if self.state in (EngineState.RUNNING, EngineState.OPENING):
                self.state = EngineState.DRAINING
            executor = self._executor
        if executor is not None:
            executor.wake()

    def close(self) -> None:
        """Ends the pipeline; what is not answered fails."""
        with self._lock:
            thread, executor = self._thread, self._executor
            entries, self._inbox = list(self._inbox), deque()
            under_way, self._under_way = list(self._under_way.values()), {}
            if self.state is not EngineState.PARKED:
                self.state = EngineState.DRAINING
        for future in [*(entry.future for entry in entries), *under_way]:
            _fail(future, RowFailed(f"row '{self.name}' is closed"))
        if executor is not None:
            executor.wake()
        if thread is not None:
            thread.join(CLOSE_S)

    # -- the thread -----------------------------------------------------------------------------------------------------

    def _run(self, before: threading.Thread | None) -> None:
        if before is not None:  # its pipeline may still be closing
            before.join()
        reason = ""
        try:
            with self._open() as pipeline:
                self._serve(pipeline.executor)
                reason = pipeline.executor.ended
        except MultiedgeError as error:
            reason = str(error)
        except Exception as error:  # whatever a pipeline raises ends this row alone
            log.exception("row '%s' has failed", self.name)
            reason = f"{type(error).__name__}: {one_line(error)}"
        finally:
            self._ended(reason)

    def _serve(self, executor: Executor) -> None:
        """Passes requests and answers on until the pipeline has ended, or the engine is to be parked."""
        numbers = count()
        with self._lock:
            self._executor = executor
            if self.state is EngineState.OPENING:
                self.state = EngineState.RUNNING
        log.info("row '%s' is open", self.name)
        answered = 0
        while not (self._is_done() or executor.ended):
            self._submit_waiting(executor, numbers)
            results = executor.poll(LOOK_S)
            for result in results:
                self._answer(result, executor.ended)
            answered += len(results)
            if answered >= MARK_EACH:
                executor.mark()
                answered = 0

    def _is_done(self) -> bool:
        with self._lock:
            if self.state is EngineState.DRAINING and not self.waiting:
                self.state = EngineState.CLOSING
            return self.state is EngineState.CLOSING

    def _submit_waiting(self, executor: Executor, numbers: count[int]) -> None:
        while executor.has_room:
            with self._lock:
                if not self._inbox:
                    return
                entry, number = self._inbox.popleft(), next(numbers)
                if not entry.future.set_running_or_notify_cancel():
                    continue
                self._under_way[number] = entry.future
            try:
                executor.submit(number, entry.tensors)
            except StageError as error:  # inputs that are not the model's
                self._take(number, ItemFailed(str(error)))

    def _answer(self, result: Result, ended: str) -> None:
        if result.tensors is not None:
            self._take(result.item, Answer(result.tensors, result.done_s))
        else:
            self._take(result.item, RowFailed(f"row '{self.name}': {ended}") if ended else ItemFailed(result.error))

    def _take(self, number: int, outcome: Answer | ItemFailed | RowFailed) -> None:
        with self._lock:
            future = self._under_way.pop(number, None)
        if future is None:
            return
        if isinstance(outcome, Answer):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)

    def _ended(self, reason: str) -> None:
        """Parks the engine; what is not answered fails with the reason."""
        with self._lock:
            self._executor, self.state = None, EngineState.PARKED
            futures = [*self._under_way.values(), *(entry.future for entry in self._inbox)]
            self._under_way.clear()
            self._inbox.clear()
        log.info("row '%s' is closed%s", self.name, f": {reason}" if reason else "")
        if reason:
            self._on_failed(reason)
        for future in futures:
            _fail(future, RowFailed(f"row '{self.name}': {reason or 'it was closed'}"))


def _fail(future: Future[Answer], error: RowFailed) -> None:
    """Sets the error of a future that may have been cancelled, answered, or not begun."""
    if not future.done() and (future.running() or future.set_running_or_notify_cancel()):
        future.set_exception(error)
