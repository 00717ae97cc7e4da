"""What one run recorded: raw events and samples, before any statistics.

Executors write them, `multiedge.metrics` computes with them, `multiedge.report` draws them. All times are seconds on one
monotonic clock (CLOCK_MONOTONIC, which all processes of a machine share), relative to the start of the run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Event:
    """An action that took time.

    Attributes:
        kind: 'compute' (a stage ran an item), 'skip' (it had nothing to compute for it), 'repeat' (an item came again, and a
            stage gave what it had made of it before), 'transfer' (a message was on a link), 'load' (a session was opened) or
            'replan'.
        item: Number of the item; -1 if it is not about one item.
        stage: Number of the stage; of a transfer the one that receives it, CALLER if the caller does.
        device: Where it happened; of a transfer the sender.
        start_s: Begin.
        stop_s: End.
        nbytes: Size of the message.
        peer: Of a transfer, the receiver.
    """

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
        """How long it took."""
        return self.stop_s - self.start_s


@dataclass(frozen=True)
class Item:
    """One request.

    Attributes:
        item: Its number.
        due_s: When it should be issued.
        issued_s: When it was issued.
        done_s: When its result was complete.
        error: Why it failed; '' if it did not.
    """

    item: int
    due_s: float
    issued_s: float
    done_s: float
    error: str = ""

    @property
    def latency_s(self) -> float:
        """Seconds from `due_s` to `done_s`, so a late issue increases it."""
        return self.done_s - self.due_s

    @property
    def lag_s(self) -> float:
        """Seconds from `due_s` to `issued_s`."""
        return self.issued_s - self.due_s


RETURN = "return"
"""The kind of Fault that is none: a device is back."""


@dataclass(frozen=True)
class Fault:
    """A device or link that failed, or a device that returned.

    Attributes:
        kind: What happened.
        device: Where.
        detected_s: When the executor detected it.
        recovered_s: When items were answered again; None if they were not.
        detail: The cause, in words.
    """

    kind: str
    device: str
    detected_s: float
    recovered_s: float | None = None
    detail: str = ""

    @property
    def is_return(self) -> bool:
        """Whether a device came back, which is no failure."""
        return self.kind == RETURN


@dataclass(frozen=True)
class Memory:
    """Memory of one device's worker process. None is not measured.

    Attributes:
        device: Name of the device.
        peak_bytes: Largest resident memory.
        anonymous_bytes: Resident memory without pages of files, at the end.
        file_bytes: Resident pages of files, at the end.
        gpu_peak_bytes: Largest GPU memory of the process.
        planned_bytes: What the plan expects.
        limit_bytes: The device's memory; None is no limit.
        method: 'VmHWM', or what was used instead.
        gpu_method: How GPU memory was measured, or why it was not; empty for a device without a GPU.
    """

    device: str
    peak_bytes: int | None
    anonymous_bytes: int | None = None
    file_bytes: int | None = None
    gpu_peak_bytes: int | None = None
    planned_bytes: int | None = None
    limit_bytes: int | None = None
    method: str = "not measured"
    gpu_method: str = ""


@dataclass(frozen=True)
class Energy:
    """Energy of one device over the timed window. None is not measured, never 0.

    Attributes:
        device: Name of the device.
        joules: Energy.
        peak_w: Largest average power over any window of `window_s`.
        mean_w: Average power.
        method: 'measured', 'modelled' or 'none'.
        source: The provider.
        domain: What it measures, such as 'package-0 + dram'.
        sample_hz: Samples per second.
        window_s: Width of the window of `peak_w`.
    """

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
class DeviceTotal:
    """What one device did in the timed window, also in events that are not kept.

    Attributes:
        device: Name of the device.
        busy_s: Time for which it computed.
        sent_bytes: Bytes that it sent to other devices for the items of the window.
    """

    device: str
    busy_s: float
    sent_bytes: int = 0


@dataclass(frozen=True)
class HostLoad:
    """What the processors that the run may use did in the timed window, in seconds of processor time.

    Attributes:
        cores: Number of these processors.
        wall_s: Length of the window.
        busy_s: Computing, for any process.
        steal_s: Taken by other virtual machines of the same host.
        caller_s: Computing for the process that fed the items.
        workers_s: Computing for the worker of each device.
    """

    cores: int
    wall_s: float
    busy_s: float
    steal_s: float
    caller_s: float
    workers_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def capacity_s(self) -> float:
        """Processor time that there was."""
        return self.cores * self.wall_s

    @property
    def other_s(self) -> float:
        """Processor time that went to work that is no part of the run, other virtual machines included."""
        return max(0.0, self.busy_s - self.caller_s - sum(self.workers_s.values())) + self.steal_s

    @property
    def other_share(self) -> float:
        """The same as a share of `capacity_s`, from 0 to 1."""
        return min(1.0, self.other_s / self.capacity_s) if self.capacity_s > 0 else 0.0

    @property
    def idle_share(self) -> float:
        """The share of `capacity_s` in which nothing was computed."""
        return max(0.0, 1.0 - (self.busy_s + self.steal_s) / self.capacity_s) if self.capacity_s > 0 else 1.0


@dataclass(frozen=True)
class RanStage:
    """What computed a stage on a device.

    Attributes:
        stage: Number of the stage.
        device: Name of the device.
        backend: Name of the backend.
        version: Version of the runtime.
        precision: Type of the numbers that it computed with.
        provider: What computed, in the runtime's own words.
    """

    stage: int
    device: str
    backend: str
    version: str
    precision: str
    provider: str

    @property
    def runtime(self) -> str:
        """The runtime in words."""
        return " ".join(filter(None, (self.backend, self.version, self.precision, self.provider)))


@dataclass(frozen=True)
class Measurements:
    """All records of one run.

    Attributes:
        items: Requests in the timed window.
        events: Actions of stages, links and the executor; of a long simulation only the first ones.
        start_s: Begin of the timed window.
        stop_s: End of the timed window.
        warmup_items: How many items ran before the window; they are in none of the lists.
        faults: Failures and returns.
        memory: One entry per device.
        energy: One entry per device that has a meter or a model.
        settings: Scenario, executor, emulation, transport, seed, threads.
        host: The load of this machine; None if the system does not show it, or the stages run elsewhere.
        totals: One entry per device, where they were added up during the run; empty if `events` are complete.
        left_out_events: How many events are not kept.
        by_caller: The (source, target) stages of transfers that went by way of the caller; all others went directly.
        runtimes: What computed each stage on each of its devices; empty if the executor does not know.
    """

    items: tuple[Item, ...]
    events: tuple[Event, ...]
    start_s: float
    stop_s: float
    warmup_items: int = 0
    faults: tuple[Fault, ...] = ()
    memory: tuple[Memory, ...] = ()
    energy: tuple[Energy, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    host: HostLoad | None = None
    totals: tuple[DeviceTotal, ...] = ()
    left_out_events: int = 0
    by_caller: tuple[tuple[int, int], ...] = ()
    runtimes: tuple[RanStage, ...] = ()

    @property
    def wall_s(self) -> float:
        """Seconds of the timed window."""
        return self.stop_s - self.start_s

    @property
    def documented_items(self) -> tuple[int, ...]:
        """The numbers of the items that were answered and all of whose events are kept, ascending."""
        kept_s = max((event.start_s for event in self.events), default=-math.inf) if self.left_out_events else math.inf
        return tuple(sorted(item.item for item in self.items if not item.error and item.done_s <= kept_s))

    @property
    def failures(self) -> tuple[Fault, ...]:
        """The faults without the returns."""
        return tuple(fault for fault in self.faults if not fault.is_return)

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device of the run, in the order of `memory`, then of `energy`, then of stages."""
        named = [*(entry.device for entry in self.memory), *(entry.device for entry in self.energy)]
        computed = [event.device for event in sorted(self.events, key=lambda event: event.stage) if event.kind == "compute"]
        return tuple(dict.fromkeys([*named, *computed]))

    @cached_property
    def _totals(self) -> Mapping[str, DeviceTotal]:
        return {total.device: total for total in self.totals}

    def busy_spans(self, device: str) -> tuple[tuple[float, float], ...]:
        """The times at which a device computed.

        Args:
            device: Name of the device.

        Returns:
            (begin, end) pairs in the timed window, ascending and disjoint.
        """
        spans = ((event.start_s, event.stop_s) for event in self.events if (event.kind, event.device) == ("compute", device))
        return merge_spans(spans, self.start_s, self.stop_s)

    def busy_s(self, device: str) -> float:
        """The time for which a device computed.

        Args:
            device: Name of the device.

        Returns:
            Seconds of the timed window.
        """
        if self.totals:
            return self._totals[device].busy_s if device in self._totals else 0.0
        return sum(stop - start for start, stop in self.busy_spans(device))


def merge_spans(spans: Iterable[tuple[float, float]], start: float, stop: float) -> tuple[tuple[float, float], ...]:
    """The union of some spans of time.

    Args:
        spans: (begin, end) pairs in any order.
        start: Begin of the window to which they are clipped.
        stop: End of that window.

    Returns:
        (begin, end) pairs, ascending and disjoint.

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
