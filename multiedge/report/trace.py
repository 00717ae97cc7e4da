"""A run as Chrome-trace JSON, for https://ui.perfetto.dev or chrome://tracing.

One process per device, one thread per stage, a complete slice per item and stage. A transfer is a slice of its sender's
network thread with an arrow to the slice that it feeds; requests are asynchronous slices from due to done. Counters
show power and memory. Times are microseconds from the start of the timed window.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multiedge.files import write_text
from multiedge.fleet import Fleet
from multiedge.measurements import Event, Measurements

REQUESTS = 0
"""The id of the process that shows the caller's requests."""

NETWORK, FAULTS = 1000, 1001
"""Ids of the threads of a device that are not stages."""

Entry = dict[str, Any]


def chrome_trace(measurements: Measurements, fleet: Fleet | None = None) -> dict[str, Any]:
    """The trace as JSON data. With the `fleet`'s watts the power counter follows the computations, otherwise it is the mean."""
    pids = {name: number for number, name in enumerate(measurements.devices, start=1)}
    entries = [
        *_names(measurements, pids),
        *_slices(measurements, pids),
        *_requests(measurements),
        *_faults(measurements, pids),
        *_power(measurements, pids, fleet),
        *_memory(measurements, pids),
    ]
    return {"traceEvents": entries, "displayTimeUnit": "ms", "otherData": {"warmup_items": measurements.warmup_items}}


def write_trace(measurements: Measurements, path: str | os.PathLike[str], fleet: Fleet | None = None) -> Path:
    """Writes the trace atomically. Returns its path."""
    return write_text(path, json.dumps(chrome_trace(measurements, fleet), separators=(",", ":")) + "\n")


def _us(measurements: Measurements, at_s: float) -> float:
    return round((at_s - measurements.start_s) * 1e6, 3)


def _names(run: Measurements, pids: dict[str, int]) -> Iterator[Entry]:
    def name(kind: str, pid: int, text: str, tid: int = 0) -> Entry:
        return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": text}}

    yield name("process_name", REQUESTS, "requests")
    for device, pid in pids.items():
        yield name("process_name", pid, device)
        for stage in sorted({event.stage for event in run.events if event.device == device and event.kind == "compute"}):
            yield name("thread_name", pid, f"stage {stage + 1}", stage + 1)
        yield name("thread_name", pid, "sending", NETWORK)


def _slices(run: Measurements, pids: dict[str, int]) -> Iterator[Entry]:
    feeds = _Feeds(run)
    for number, event in enumerate(run.events):
        if event.device not in pids:
            continue
        tid = NETWORK if event.kind == "transfer" else event.stage + 1
        begin, duration = _us(run, event.start_s), round(event.seconds * 1e6, 3)
        title = f"item {event.item}" if event.item >= 0 else event.kind
        arguments = {"item": event.item, "stage": event.stage + 1, "bytes": event.nbytes}
        slice_ = {"ph": "X", "cat": event.kind, "pid": pids[event.device], "tid": tid, "ts": begin, "dur": duration}
        yield {**slice_, "name": title if event.kind != "transfer" else f"{title} → {event.peer}", "args": arguments}
        fed = feeds.of(event)
        if fed is not None:
            flow = {"name": "transfer", "cat": "transfer", "id": number}
            yield {**flow, "ph": "s", "pid": pids[event.device], "tid": tid, "ts": begin}
            yield {**flow, "ph": "f", "bp": "e", "pid": pids[fed.device], "tid": fed.stage + 1, "ts": _us(run, fed.start_s)}


class _Feeds:
    """Finds the computation that a transfer feeds: the next one of its item on the receiving device."""

    def __init__(self, run: Measurements) -> None:
        self._computed: dict[tuple[str, int], list[Event]] = {}
        for event in sorted(run.events, key=lambda event: event.start_s):
            if event.kind == "compute":
                self._computed.setdefault((event.device, event.item), []).append(event)

    def of(self, event: Event) -> Event | None:
        if event.kind != "transfer":
            return None
        computed = self._computed.get((event.peer, event.item), ())
        return next((each for each in computed if each.start_s >= event.start_s), None)


def _requests(run: Measurements) -> Iterator[Entry]:
    for item in run.items:
        request = {"name": f"item {item.item}", "cat": "request", "id": item.item, "pid": REQUESTS, "tid": 0}
        yield {**request, "ph": "b", "ts": _us(run, item.due_s), "args": {"error": item.error} if item.error else {}}
        if math.isfinite(item.done_s):
            yield {**request, "ph": "e", "ts": _us(run, item.done_s)}


def _faults(run: Measurements, pids: dict[str, int]) -> Iterator[Entry]:
    for fault in run.faults:
        place = {"pid": pids.get(fault.device, REQUESTS), "tid": FAULTS, "cat": "fault"}
        stop_s = run.stop_s if fault.recovered_s is None else fault.recovered_s
        arguments = {"detail": fault.detail, "recovered": fault.recovered_s is not None}
        duration = round((stop_s - fault.detected_s) * 1e6, 3)
        if not fault.is_return:
            yield {**place, "ph": "X", "name": fault.kind, "ts": _us(run, fault.detected_s), "dur": duration, "args": arguments}
        yield {**place, "ph": "i", "s": "g", "name": f"{fault.kind}: {fault.device}", "ts": _us(run, fault.detected_s)}


def _power(run: Measurements, pids: dict[str, int], fleet: Fleet | None) -> Iterator[Entry]:
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
            yield {"ph": "C", "name": name, "pid": pids[entry.device], "ts": _us(run, at_s), "args": {"W": watts}}


def _memory(run: Measurements, pids: dict[str, int]) -> Iterator[Entry]:
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
                        "ts": _us(run, at_s),
                        "args": {"MiB": mebibytes},
                    }
