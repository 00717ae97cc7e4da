"""What a run left behind: raw events and samples, before any statistics.

Executors write them, `multiedge.metrics` computes from them, `multiedge.report` draws them. All times are seconds on
one monotonic clock (CLOCK_MONOTONIC, which the processes of a machine share), made relative to the run's start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that took time. `kind`: 'compute' (a stage ran an item), 'transfer' (a message was on a link: `device`
    sends, `peer` receives), 'load' (a session was made), 'replan'. `item` is -1 where no single item is meant."""

    kind: str
    item: int
    stage: int
    device: str
    start_s: float
    stop_s: float
    nbytes: int = 0
    peer: str = ""

    @property
    def seconds(self) -> float:
        return self.stop_s - self.start_s


@dataclass(frozen=True)
class Item:
    """One request: when it was due to be issued, issued and complete. `error` is '' if it was answered well."""

    item: int
    due_s: float
    issued_s: float
    done_s: float
    error: str = ""

    @property
    def latency_s(self) -> float:
        """From the moment it was due, so a late issue counts against the system."""
        return self.done_s - self.due_s


@dataclass(frozen=True)
class Fault:
    """A device or link that failed or came back. `detected_s` is when the executor knew; `recovered_s` when items
    flowed again, None if they never did."""

    kind: str
    device: str
    detected_s: float
    recovered_s: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Memory:
    """Memory of one device's worker process, bytes. `method` is 'VmHWM' or says what stood in for it; None is not measured."""

    device: str
    peak_bytes: int | None
    anonymous_bytes: int | None = None
    file_bytes: int | None = None
    gpu_peak_bytes: int | None = None
    planned_bytes: int | None = None
    limit_bytes: int | None = None
    method: str = "not measured"


@dataclass(frozen=True)
class Energy:
    """Energy of one device over the timed window. `method` is 'measured', 'modelled' or 'none'; `source` names the
    provider; `window_s` is the width over which `peak_w` was averaged. None is not measured, never 0."""

    device: str
    joules: float | None
    peak_w: float | None
    mean_w: float | None
    method: str = "none"
    source: str = ""
    domain: str = ""
    sample_hz: float | None = None
    window_s: float | None = None


@dataclass(frozen=True)
class Measurements:
    """All that one run recorded. `start_s` to `stop_s` is the timed window; `warmup_items` were run before it and are
    in none of the lists. `settings` records scenario, executor, emulation, transport, seed, threads."""

    items: tuple[Item, ...]
    events: tuple[Event, ...]
    start_s: float
    stop_s: float
    warmup_items: int = 0
    faults: tuple[Fault, ...] = ()
    memory: tuple[Memory, ...] = ()
    energy: tuple[Energy, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def wall_s(self) -> float:
        """Seconds of the timed window."""
        return self.stop_s - self.start_s

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that appears anywhere in the run: in the order of the memory list, then of stages."""
        named = [*(entry.device for entry in self.memory), *(entry.device for entry in self.energy)]
        computed = [event.device for event in sorted(self.events, key=lambda event: event.stage) if event.kind == "compute"]
        return tuple(dict.fromkeys([*named, *computed]))

    def busy_spans(self, device: str) -> tuple[tuple[float, float], ...]:
        """When `device` computed, within the timed window, overlaps merged."""
        spans = ((event.start_s, event.stop_s) for event in self.events if (event.kind, event.device) == ("compute", device))
        return merge_spans(spans, self.start_s, self.stop_s)

    def busy_s(self, device: str) -> float:
        """Seconds of the timed window in which `device` computed."""
        return sum(stop - start for start, stop in self.busy_spans(device))


def merge_spans(spans: Iterable[tuple[float, float]], start: float, stop: float) -> tuple[tuple[float, float], ...]:
    """The union of `spans`, clipped to [start, stop], ascending and disjoint.

    >>> merge_spans([(3, 4), (0, 2), (1, 3), (9, 12)], 0.5, 10)
    ((0.5, 4), (9, 10))
    """
    merged: list[tuple[float, float]] = []
    for begin, end in sorted((max(begin, start), min(end, stop)) for begin, end in spans):
        if end <= begin:
            continue
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple(merged)
