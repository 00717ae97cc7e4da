"""What a node holds for deployments: it fetches, verifies and loads what it is assigned, and releases the rest."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from multiedge.errors import MultiedgeError, NetworkError, PipelineError, one_line
from multiedge.network.records import Assignment, HeldStage, StagePhase
from multiedge.quantity import human_bytes
from multiedge.serving.node.folder import LocalStages, PlanFolders

log = logging.getLogger(__name__)

AGAIN_S = 0.5
"""Before what failed is tried again; it doubles each time, up to LONGEST_AGAIN_S."""
LONGEST_AGAIN_S = 30.0
TELL_S = 10.0
"""Between two lines about a fetch."""


@dataclass(frozen=True)
class Held:
    """An assignment and how far it is. It is worked on from `due_s`, if it is not ready."""

    assignment: Assignment
    phase: StagePhase = "waiting"
    done_bytes: int | None = None
    total_bytes: int | None = None
    memory_bytes: int | None = None
    reason: str = ""
    failures: int = 0
    due_s: float = 0.0

    def stages(self) -> tuple[HeldStage, ...]:
        """What the hub is told of each of its stages."""
        each, parts = self.assignment, (self.done_bytes, self.total_bytes, self.memory_bytes, self.reason)
        return tuple(HeldStage(each.deployment, stage, each.plan, self.phase, *parts) for stage in each.stages)


def reassigned(held: Mapping[Assignment, Held], assignments: Iterable[Assignment]) -> dict[Assignment, Held]:
    """What is to be held now: what is held already stays as it is."""
    return {each: held.get(each, Held(each)) for each in assignments}


def failed(held: Held, error: MultiedgeError, now_s: float) -> Held:
    """What is held after an error. While the pool cannot be reached it waits; another error is a failure. Both are tried
    again, since a pool comes back, and room is made."""
    is_away = isinstance(error, NetworkError) and error.status is None
    due_s = now_s + min(LONGEST_AGAIN_S, AGAIN_S * 2**held.failures)
    phase: StagePhase = "fetching" if is_away and held.phase != "failed" else "failed"
    return replace(held, phase=phase, reason=one_line(error), failures=held.failures + 1, due_s=due_s)


def next_due(held: Mapping[Assignment, Held], now_s: float) -> Held | None:
    """The assignment to work on; None if all are ready or wait."""
    due = [each for each in held.values() if each.phase != "ready" and each.due_s <= now_s]
    return min(due, key=lambda each: each.due_s, default=None)


class Holding:
    """Works on assignments, one after another, in `step`; other threads set and read them.

    Args:
        folders: Brings stages here.
        load: Loads stages once; returns the memory that it took. Its second argument tells whether to give up.
        on_ready: Called when an assignment is ready or has failed.
    """

    def __init__(
        self,
        folders: PlanFolders,
        load: Callable[[LocalStages, Callable[[], bool]], int | None],
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._folders, self._load, self._on_ready = folders, load, on_ready
        self._held: dict[Assignment, Held] = {}
        self._local: dict[Assignment, LocalStages] = {}
        self._tell_s = -math.inf
        self._lock, self._changed, self._closed = threading.Lock(), threading.Event(), threading.Event()

    @property
    def stages(self) -> tuple[HeldStage, ...]:
        """What the hub is told."""
        with self._lock:
            return tuple(stage for held in self._held.values() for stage in held.stages())

    @property
    def is_busy(self) -> bool:
        """Whether something is being fetched or loaded."""
        with self._lock:
            return any(each.phase in ("fetching", "loading") and not each.failures for each in self._held.values())

    def assign(self, assignments: Iterable[Assignment]) -> None:
        """All that the node is to hold from now on."""
        with self._lock:
            before = self._held.keys()
            self._held = reassigned(self._held, assignments)
            if before != self._held.keys():
                self._changed.set()

    def close(self) -> None:
        """Ends what is being fetched or loaded."""
        self._closed.set()
        self._changed.set()

    def step(self, timeout_s: float) -> None:
        """Works on one assignment, or waits for one up to `timeout_s`."""
        self._release()
        with self._lock:
            held = next_due(self._held, time.monotonic())
        if held is None:
            if self._changed.wait(timeout_s):
                self._changed.clear()
            return
        try:
            self._bring(held)
        except MultiedgeError as error:
            self._fail(held.assignment, error)
        except OSError as error:
            self._fail(held.assignment, PipelineError(one_line(error)))
        self._on_ready()

    def _bring(self, held: Held) -> None:
        assignment = held.assignment

        def is_cancelled() -> bool:
            with self._lock:
                return self._closed.is_set() or assignment not in self._held

        def progress(done: int, needed: int) -> None:
            self._change(assignment, lambda now: replace(now, done_bytes=done, total_bytes=needed))
            self._tell(assignment, done, needed)

        self._tell_s = -math.inf
        if held.phase == "waiting":
            self._change(assignment, lambda now: replace(now, phase="fetching"))
        if assignment not in self._local:
            self._local[assignment] = self._folders.open(assignment.plan, assignment.stages, progress, is_cancelled)
        self._change(assignment, lambda now: replace(now, phase="loading"))
        memory_bytes = self._load(self._local[assignment], is_cancelled)
        self._change(assignment, lambda now: replace(now, phase="ready", memory_bytes=memory_bytes, reason="", failures=0))
        taken = "" if memory_bytes is None else f", {human_bytes(memory_bytes)}"
        log.info("deployment '%s': %s ready%s", assignment.deployment, _stages_text(assignment), taken)

    def _tell(self, assignment: Assignment, done_bytes: int, needed_bytes: int) -> None:
        """Logs how far a fetch is, at its begin and then now and again."""
        if done_bytes < needed_bytes and time.monotonic() - self._tell_s >= TELL_S:
            self._tell_s = time.monotonic()
            amounts = f"{human_bytes(done_bytes)} of {human_bytes(needed_bytes)}"
            log.info("deployment '%s': %s: %s are here", assignment.deployment, _stages_text(assignment), amounts)

    def _change(self, assignment: Assignment, change: Callable[[Held], Held]) -> None:
        with self._lock:
            if assignment in self._held:
                self._held[assignment] = change(self._held[assignment])

    def _fail(self, assignment: Assignment, error: MultiedgeError) -> None:
        with self._lock:
            held = self._held.get(assignment)
            if held is None or self._closed.is_set():
                return
            after = failed(held, error, time.monotonic())
            self._held[assignment] = after
        if after.reason != held.reason:
            log.warning("deployment '%s': %s: %s", assignment.deployment, _stages_text(assignment), after.reason)

    def _release(self) -> None:
        """Releases what is not assigned any more; what cannot be loaded stays, since it is tried again."""
        with self._lock:
            gone = [each for each in self._local if each not in self._held or self._closed.is_set()]
        for assignment in gone:
            self._local.pop(assignment).release()


def _stages_text(assignment: Assignment) -> str:
    numbers = ", ".join(str(stage + 1) for stage in assignment.stages)
    return f"stage{'s' if len(assignment.stages) > 1 else ''} {numbers}"
