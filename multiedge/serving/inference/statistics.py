"""What a model's requests took, as the protocol's statistics have it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Duration:
    """How often something happened, and the nanoseconds of all times together."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True)
class Statistics:
    """Sums since a model was first loaded.

    `queue` is waiting for a slot; `compute_input` and `compute_output` are fetching, checking and placing tensors. Only
    requests that succeed count there. `last_inference_ms` is UNIX time in milliseconds, 0 before the first request.
    """

    last_inference_ms: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


class Counters:
    """Counts the requests of one model, from any thread. `clock` gives UNIX time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last_s = 0.0
        self._succeeded = self._failed = self._failed_ns = 0
        self._input_ns = self._queue_ns = self._infer_ns = self._output_ns = 0

    def succeed(self, input_ns: int, queue_ns: int, infer_ns: int, output_ns: int) -> None:
        """Counts a request that was answered."""
        with self._lock:
            self._last_s = self._clock()
            self._succeeded += 1
            self._input_ns += input_ns
            self._queue_ns += queue_ns
            self._infer_ns += infer_ns
            self._output_ns += output_ns

    def fail(self, ns: int) -> None:
        """Counts a request that was not."""
        with self._lock:
            self._last_s = self._clock()
            self._failed += 1
            self._failed_ns += ns

    def read(self) -> Statistics:
        """The sums so far."""
        with self._lock:
            count = self._succeeded
            parts_ns = (self._queue_ns, self._input_ns, self._infer_ns, self._output_ns)
            queue, given, infer, made = (Duration(count, ns) for ns in parts_ns)
            success, fail = Duration(count, sum(parts_ns)), Duration(self._failed, self._failed_ns)
            return Statistics(int(self._last_s * 1000), success, fail, queue, given, infer, made)
