"""Feeds an executor by a scenario and records when each item was due, issued and done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from multiedge.errors import MultiedgeError
from multiedge.executors.flow.contract import Executor, Record, Result, Source, Tensors
from multiedge.executors.flow.host import HostReading
from multiedge.executors.flow.scenarios import Scenario
from multiedge.measurements import Event, Fault, Item, Measurements
from multiedge.meters.power import PowerMeter

WAIT_S = 0.5
"""How long one poll may wait; it returns as soon as there are results."""

Progress = Callable[[int], None]


@dataclass
class _Log:
    """Results in the order in which they came, with the moment each item was due."""

    start_s: float
    now: Callable[[], float]
    progress: Progress | None = None
    results: list[Result] = field(default_factory=list)
    due: dict[int, float] = field(default_factory=dict)

    def take(self, results: list[Result]) -> None:
        self.results += results
        if self.progress and results:
            self.progress(len(results))


def run_scenario(
    executor: Executor,
    source: Source,
    scenario: Scenario,
    *,
    warmup_items: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
    meters: Sequence[PowerMeter] = (),
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Result], Measurements]:
    """Runs every item of `source` and returns the results in order with all that was recorded.

    The first `warmup_items` are run beforehand as well and left out of everything but the count. An error in place of an item
    is its result. `progress` is called with the number of items newly answered. `meters` are started and stopped with the
    timed window. `clock` must be the executor's.
    """
    stream = iter(source)
    first = list(islice(stream, max(warmup_items, 0)))
    _warm_up(executor, first)
    executor.mark()
    before = HostReading.now()
    with ExitStack() as running:
        for meter in meters:
            running.enter_context(meter)
        log = _Log(clock(), clock, progress)
        issue = _issue_at_due_times if scenario.rate_per_s else _issue_when_answered
        issue(executor, chain(first, stream), scenario, seed, log)
        while executor.unanswered:
            log.take(executor.poll(WAIT_S))
    log.results.sort(key=lambda result: result.item)  # an item that could not be read is answered before earlier ones
    record, after = executor.record(), HostReading.now()
    host = after.load_since(before, record.workers_cpu_s) if executor.on_this_machine else None
    stop = max((result.done_s for result in log.results), default=clock())
    settings = {"scenario": scenario.name, "rate_per_s": scenario.rate_per_s, "seed": seed}
    if scenario.latency_bound_s is not None:
        settings["latency_bound_s"] = scenario.latency_bound_s
    measured = to_measurements(log.results, log.due, record, log.start_s, stop, len(first), settings)
    return log.results, replace(measured, energy=tuple(meter.energy() for meter in meters), host=host)


def _warm_up(executor: Executor, items: Sequence[Tensors | MultiedgeError]) -> None:
    for number, tensors in enumerate(items):
        if not isinstance(tensors, MultiedgeError):
            executor.submit(-1 - number, tensors)
    while executor.unanswered:
        executor.poll(WAIT_S)


def _submit(executor: Executor, number: int, tensors: Tensors | MultiedgeError, log: _Log) -> None:
    if isinstance(tensors, MultiedgeError):
        now = log.now()
        log.take([Result(number, None, str(tensors), now, now, attempts=0)])
    else:
        executor.submit(number, tensors)


def _issue_when_answered(
    executor: Executor, items: Iterator[Tensors | MultiedgeError], scenario: Scenario, seed: int, log: _Log
) -> None:
    """Offline: everything is due at the start. Streams: a group is due when the group before it is answered."""
    for number, tensors in enumerate(items):
        if scenario.at_once and number % scenario.at_once == 0:
            while executor.unanswered:
                log.take(executor.poll(WAIT_S))
            group_due = log.now()
        while not executor.has_room:
            log.take(executor.poll(WAIT_S))
        log.due[number] = group_due if scenario.at_once else log.start_s
        _submit(executor, number, tensors, log)
        log.take(executor.poll(0.0))


def _issue_at_due_times(
    executor: Executor, items: Iterator[Tensors | MultiedgeError], scenario: Scenario, seed: int, log: _Log
) -> None:
    for number, (tensors, due) in enumerate(zip(items, scenario.due_times(seed), strict=False)):
        log.due[number] = log.start_s + due
        while (left := log.due[number] - log.now()) > 0 or not executor.has_room:
            log.take(executor.poll(min(left, WAIT_S) if left > 0 else WAIT_S))
        _submit(executor, number, tensors, log)


def to_measurements(
    results: list[Result],
    due: Mapping[int, float],
    record: Record,
    start: float,
    stop: float,
    warmup_items: int,
    settings: Mapping[str, Any],
) -> Measurements:
    """Measurements with all times relative to `start`."""
    return Measurements(
        items=tuple(
            Item(result.item, due[result.item] - start, result.issued_s - start, result.done_s - start, result.error)
            for result in results
        ),
        events=tuple(_shift_event(event, start) for event in record.events),
        start_s=0.0,
        stop_s=stop - start,
        warmup_items=warmup_items,
        faults=tuple(_shift_fault(fault, start) for fault in record.faults),
        memory=record.memory,
        settings={**record.settings, **settings, "duplicates_dropped": record.duplicates_dropped},
    )


def _shift_event(event: Event, start: float) -> Event:
    return replace(event, start_s=event.start_s - start, stop_s=event.stop_s - start)


def _shift_fault(fault: Fault, start: float) -> Fault:
    recovered = None if fault.recovered_s is None else fault.recovered_s - start
    return replace(fault, detected_s=fault.detected_s - start, recovered_s=recovered)
