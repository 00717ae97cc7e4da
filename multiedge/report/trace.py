"""A run as Chrome-trace JSON, for https://ui.perfetto.dev or chrome://tracing.

One process per device, one thread per stage, a complete slice per item and stage. A transfer is a slice of its sender's
network thread with an arrow to the slice that it feeds; requests are asynchronous slices from due to done. Counters
show power and memory. Viewers drop slices that overlap on a thread, so overlapping ones (joined items, messages to several
devices) are on further threads of the same name. Times are microseconds from the start of the timed window, or from the first
event if that is earlier, for viewers do not show negative times; `otherData` has the start of the window.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from multiedge.files import write_text
from multiedge.fleet import Fleet
from multiedge.measurements import Event, Measurements

REQUESTS = 0
"""The id of the process that shows the caller's requests."""

NETWORK, FAULTS, OTHER = 1000, 1001, 1002
"""Ids of the threads of a device that are not stages."""

FURTHER = 10_000
"""Between the ids of a thread and of the further threads for slices that overlap."""

Entry = dict[str, Any]


def chrome_trace(measurements: Measurements, fleet: Fleet | None = None) -> dict[str, Any]:
    """The trace as JSON data. With the `fleet`'s watts the power counter follows the computations, otherwise it is the mean."""
    pids = {name: number for number, name in enumerate(measurements.devices, start=1)}
    origin_s = _origin_s(measurements)
    run = _shifted(measurements, origin_s)
    slices, faults = _slices(run, pids), _faults(run, pids)
    entries = [*_names(slices, faults, pids), *slices, *_requests(run), *faults, *_power(run, pids, fleet), *_memory(run, pids)]
    other = {"warmup_items": run.warmup_items, "timed_window_start_us": _us(run.start_s)}
    return {"traceEvents": entries, "displayTimeUnit": "ms", "otherData": other}


def write_trace(measurements: Measurements, path: str | os.PathLike[str], fleet: Fleet | None = None) -> Path:
    """Writes the trace atomically. Returns its path."""
    return write_text(path, json.dumps(chrome_trace(measurements, fleet), separators=(",", ":")) + "\n")


def _origin_s(run: Measurements) -> float:
    """The earliest time that is drawn."""
    times = [event.start_s for event in run.events] + [item.due_s for item in run.items]
    return min([run.start_s, *times, *(fault.detected_s for fault in run.faults)])


def _shifted(run: Measurements, origin_s: float) -> Measurements:
    """The run with all times relative to the origin."""
    return replace(
        run,
        start_s=run.start_s - origin_s,
        stop_s=run.stop_s - origin_s,
        events=tuple(replace(e, start_s=e.start_s - origin_s, stop_s=e.stop_s - origin_s) for e in run.events),
        items=tuple(
            replace(i, due_s=i.due_s - origin_s, issued_s=i.issued_s - origin_s, done_s=i.done_s - origin_s) for i in run.items
        ),
        faults=tuple(
            replace(
                f,
                detected_s=f.detected_s - origin_s,
                recovered_s=None if f.recovered_s is None else f.recovered_s - origin_s,
            )
            for f in run.faults
        ),
    )


def _us(at_s: float) -> float:
    return _ns(at_s) / 1e3


def _ns(at_s: float) -> int:
    return round(at_s * 1e9)


def _threads(spans: Sequence[tuple[int, int, float, float]]) -> list[int]:
    """The id of a thread for each (process, thread, begin, end), such that no two on a thread overlap."""
    free_ns: dict[tuple[int, int], list[int]] = {}
    chosen = [0] * len(spans)
    for number in sorted(range(len(spans)), key=lambda number: spans[number][2:]):
        pid, tid, begin, end = spans[number]
        ends = free_ns.setdefault((pid, tid), [])
        lane = next((lane for lane, free in enumerate(ends) if free <= _ns(begin)), len(ends))
        ends[lane : lane + 1] = [_ns(end)]
        chosen[number] = tid + lane * FURTHER
    return chosen


def _names(slices: Sequence[Entry], faults: Sequence[Entry], pids: Mapping[str, int]) -> Iterator[Entry]:
    def name(kind: str, pid: int, text: str, tid: int = 0) -> Entry:
        return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": text}}

    yield name("process_name", REQUESTS, "requests")
    used = {(entry["pid"], entry["tid"]) for entry in (*slices, *faults)}
    for device, pid in pids.items():
        yield name("process_name", pid, device)
        for tid in sorted({tid for process, tid in used if process == pid} | {NETWORK}):
            yield name("thread_name", pid, _thread_name(tid % FURTHER), tid)


def _thread_name(tid: int) -> str:
    return {NETWORK: "sending", FAULTS: "faults", OTHER: "loading and planning"}.get(tid, f"stage {tid}")


def _slices(run: Measurements, pids: Mapping[str, int]) -> list[Entry]:
    drawn = [event for event in run.events if event.device in pids]
    places = [(pids[event.device], _thread(event), event.start_s, max(event.start_s, event.stop_s)) for event in drawn]
    threads = _threads(places)
    feeds = _Feeds(drawn)
    entries = []
    for number, (event, tid) in enumerate(zip(drawn, threads, strict=True)):
        begin, duration = _us(event.start_s), (_ns(max(event.start_s, event.stop_s)) - _ns(event.start_s)) / 1e3
        title = f"item {event.item}{' skipped' * (event.kind == 'skip')}" if event.item >= 0 else event.kind
        arguments = {"item": event.item, "stage": event.stage + 1, "bytes": event.nbytes}
        slice_ = {"ph": "X", "cat": event.kind, "pid": pids[event.device], "tid": tid, "ts": begin, "dur": duration}
        entries.append({**slice_, "name": title if event.kind != "transfer" else f"{title} → {event.peer}", "args": arguments})
        fed = feeds.of(event)
        if fed is not None:
            flow = {"name": "transfer", "cat": "transfer", "id": number}
            target = {"pid": pids[drawn[fed].device], "tid": threads[fed], "ts": _us(drawn[fed].start_s)}
            entries.append({**flow, "ph": "s", "pid": pids[event.device], "tid": tid, "ts": begin})
            entries.append({**flow, "ph": "f", "bp": "e", **target})
    return entries


def _thread(event: Event) -> int:
    return {"transfer": NETWORK, "compute": event.stage + 1, "skip": event.stage + 1}.get(event.kind, OTHER)


class _Feeds:
    """Finds the computation that a transfer feeds: the next one of its item on the receiving device."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._computed: dict[tuple[str, int], list[int]] = {}
        for number in sorted(range(len(events)), key=lambda number: events[number].start_s):
            event = events[number]
            if event.kind == "compute":
                self._computed.setdefault((event.device, event.item), []).append(number)

    def of(self, event: Event) -> int | None:
        """The number of that event."""
        if event.kind != "transfer":
            return None
        computed = self._computed.get((event.peer, event.item), ())
        return next((number for number in computed if self._events[number].start_s >= event.start_s), None)


def _requests(run: Measurements) -> Iterator[Entry]:
    for item in run.items:
        request = {"name": f"item {item.item}", "cat": "request", "id": item.item, "pid": REQUESTS, "tid": 0}
        yield {**request, "ph": "b", "ts": _us(item.due_s), "args": {"error": item.error} if item.error else {}}
        if math.isfinite(item.done_s):
            yield {**request, "ph": "e", "ts": _us(item.done_s)}


def _faults(run: Measurements, pids: Mapping[str, int]) -> list[Entry]:
    ends = [max(fault.detected_s, run.stop_s if fault.recovered_s is None else fault.recovered_s) for fault in run.faults]
    processes = [pids.get(fault.device, REQUESTS) for fault in run.faults]
    spans = [(pid, FAULTS, fault.detected_s, end) for pid, fault, end in zip(processes, run.faults, ends, strict=True)]
    entries = []
    for (pid, _, begin_s, end_s), tid, fault in zip(spans, _threads(spans), run.faults, strict=True):
        place = {"pid": pid, "tid": tid, "cat": "fault", "ts": _us(begin_s)}
        arguments = {"detail": fault.detail, "recovered": fault.recovered_s is not None}
        duration = (_ns(end_s) - _ns(begin_s)) / 1e3
        entries.append({**place, "ph": "X", "name": fault.kind, "dur": duration, "args": arguments})
        entries.append({**place, "ph": "i", "s": "g", "name": f"{fault.kind}: {fault.device}"})
    return entries


def _power(run: Measurements, pids: Mapping[str, int], fleet: Fleet | None) -> Iterator[Entry]:
    for entry in run.energy:
        device = fleet.by_name.get(entry.device) if fleet else None
        if entry.method == "modelled" and device is not None and device.power is not None:
            idle_w, busy_w = device.power.idle_w, device.power.busy_w
            steps = [(run.start_s, idle_w)]
            steps += [step for start, stop in run.busy_spans(entry.device) for step in ((start, busy_w), (stop, idle_w))]
        elif entry.mean_w is not None:
            steps = [(run.start_s, entry.mean_w), (run.stop_s, entry.mean_w)]
        else:
            continue
        for at_s, watts in steps:
            name = f"power [W], {entry.method}"
            yield {"ph": "C", "name": name, "pid": pids[entry.device], "ts": _us(at_s), "args": {"W": watts}}


def _memory(run: Measurements, pids: Mapping[str, int]) -> Iterator[Entry]:
    """The peak as a constant: when it was reached within the run is not known."""
    for entry in run.memory:
        if entry.peak_bytes is None:
            continue
        levels = {"peak": entry.peak_bytes, "anonymous": entry.anonymous_bytes, "file": entry.file_bytes}
        for name, nbytes in levels.items():
            if nbytes is not None:
                for at_s in (run.start_s, run.stop_s):
                    counter = f"memory [MiB], {name}"
                    mebibytes = round(nbytes / 2**20, 3)
                    yield {
                        "ph": "C",
                        "name": counter,
                        "pid": pids[entry.device],
                        "ts": _us(at_s),
                        "args": {"MiB": mebibytes},
                    }
