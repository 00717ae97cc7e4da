"""Feeds an executor by a scenario and records when each item was due, issued and done."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Protocol

from multiedge.errors import MultiedgeError, PipelineError, StageError
from multiedge.executors.flow.contract import Executor, Record, Result, RunInterrupted, Source, Tensors
from multiedge.executors.flow.host import HostReading
from multiedge.executors.flow.scenarios import Scenario
from multiedge.measurements import Event, Fault, HostLoad, Item, Measurements
from multiedge.meters.power import PowerMeter

WAIT_S = 0.5
"""How long one poll may wait; it returns as soon as there are results."""

UNANSWERED = "not answered: the run was ended before"
Progress = Callable[[int], None]


class ScenarioRun:
    """One pass of a scenario: iterate over it for the results, in the order of the items, as they come.

    Every item of `source` is run; an error in place of an item is its result. The first `warmup_items` are run beforehand as
    well and left out of everything but the count. `meters` are started and stopped with the timed window. `clock` must be the
    executor's. `progress` is called with the number of items newly answered; `finish` completes the measurements.

    No more results are held than are under way: whoever iterates keeps or drops them. An iteration that ends early, also by an
    exception, leaves `measurements` of what was answered until then.
    """

    def __init__(
        self,
        executor: Executor,
        source: Source,
        scenario: Scenario,
        *,
        warmup_items: int = 0,
        seed: int = 0,
        progress: Progress | None = None,
        meters: Sequence[PowerMeter] = (),
        clock: Callable[[], float] = time.monotonic,
        finish: Callable[[Measurements], Measurements] = lambda measurements: measurements,
    ) -> None:
        self._executor, self._source, self._scenario = executor, source, scenario
        self._most_warmup, self._seed, self._progress = max(warmup_items, 0), seed, progress
        self._meters, self._now, self._finish = meters, clock, finish
        self._start_s = math.nan
        self._warmup_items = 0
        self._due_s: dict[int, float] = {}
        self._items: dict[int, Item] = {}
        self._host: HostLoad | None = None
        self._record = Record()

    def __iter__(self) -> Generator[Result, None, None]:
        executor, stream = self._executor, iter(self._source)
        while executor.unanswered:  # of an iteration that ended early
            executor.poll(WAIT_S)
        first = list(islice(stream, self._most_warmup))
        self._warm_up(first)
        executor.mark()
        before = HostReading.now()
        with ExitStack() as running:
            for meter in self._meters:
                running.enter_context(meter)
            self._start_s = self._now()
            try:
                yield from self._in_order(self._answers(chain(first, stream)))
            finally:
                self._fail_unanswered()
                with suppress(PipelineError):  # an iteration that was left may end after the pipeline was closed
                    self._record, after = executor.record(), HostReading.now()
                    self._host = after.load_since(before, self._record.workers_cpu_s) if executor.on_this_machine else None

    def measurements(self) -> Measurements:
        """All that was recorded until now.

        Returns:
            The Measurements; times are relative to the start of the timed window.

        Raises:
            PipelineError: Before that start.
        """
        if not self.has_begun:
            raise PipelineError("no measurements: the timed window has not begun; iterate over the results first")
        items = tuple(self._items[number] for number in sorted(self._items))
        settings = {"scenario": self._scenario.name, "rate_per_s": self._scenario.rate_per_s, "seed": self._seed}
        if self._scenario.latency_bound_s is not None:
            settings["latency_bound_s"] = self._scenario.latency_bound_s
        measured = to_measurements(items, self._record, self._start_s, self._now(), self._warmup_items, settings)
        energy = tuple(meter.energy() for meter in self._meters)
        return self._finish(replace(measured, energy=energy, host=self._host))

    @property
    def has_begun(self) -> bool:
        """Whether the timed window has begun."""
        return not math.isnan(self._start_s)

    def unanswered(self) -> list[Result]:
        """Items that were issued and not answered before the iteration ended.

        Returns:
            A Result for each, with that as its error.
        """
        items = [item for item in self._items.values() if item.error == UNANSWERED]
        return [Result(item.item, None, item.error, item.issued_s, item.done_s) for item in items]

    def _warm_up(self, items: Sequence[Tensors | MultiedgeError]) -> None:
        self._warmup_items = len(items)
        for number, tensors in enumerate(items):
            if not isinstance(tensors, MultiedgeError):
                self._executor.submit(-1 - number, tensors)
        while self._executor.unanswered:
            self._executor.poll(WAIT_S)

    def _answers(self, items: Iterator[Tensors | MultiedgeError]) -> Iterator[Result]:
        issue = self._issue_at_due_times if self._scenario.rate_per_s else self._issue_when_answered
        yield from issue(items)
        while self._executor.unanswered:
            yield from self._executor.poll(WAIT_S)

    def _in_order(self, results: Iterable[Result]) -> Iterator[Result]:
        """An item that could not be read is answered before earlier ones."""
        held: dict[int, Result] = {}
        number = 0
        for result in results:
            due_s = self._due_s.pop(result.item)
            self._items[result.item] = Item(result.item, due_s, result.issued_s, result.done_s, result.error)
            if self._progress:
                self._progress(1)
            held[result.item] = result
            while number in held:
                yield held.pop(number)
                number += 1

    def _fail_unanswered(self) -> None:
        now = self._now()
        for number, due_s in self._due_s.items():
            self._items[number] = Item(number, due_s, min(due_s, now), now, UNANSWERED)
        self._due_s.clear()

    def _submit(self, number: int, tensors: Tensors | MultiedgeError) -> Iterator[Result]:
        """Nothing, or why the item cannot be submitted: it fails alone."""
        error: MultiedgeError | None = None
        if isinstance(tensors, MultiedgeError):
            error = tensors
        else:
            try:
                self._executor.submit(number, tensors)
            except StageError as refusal:  # inputs that are not the model's
                error = refusal
        if error is not None:
            now = self._now()
            yield Result(number, None, str(error), now, now, attempts=0)

    def _issue_when_answered(self, items: Iterator[Tensors | MultiedgeError]) -> Iterator[Result]:
        """Offline: everything is due at the start. Streams: a group is due when the group before it is answered."""
        executor, group = self._executor, self._scenario.at_once
        due_s = self._start_s
        for number, tensors in enumerate(items):
            if group and number % group == 0:
                while executor.unanswered:
                    yield from executor.poll(WAIT_S)
                due_s = self._now()
            while not executor.has_room:
                yield from executor.poll(WAIT_S)
            self._due_s[number] = due_s
            yield from self._submit(number, tensors)
            yield from executor.poll(0.0)

    def _issue_at_due_times(self, items: Iterator[Tensors | MultiedgeError]) -> Iterator[Result]:
        for number, (tensors, due) in enumerate(zip(items, self._scenario.due_times(self._seed), strict=False)):
            due_s = self._start_s + due
            while (left := due_s - self._now()) > 0 or not self._executor.has_room:
                yield from self._executor.poll(min(left, WAIT_S) if left > 0 else WAIT_S)
            self._due_s[number] = due_s
            yield from self._submit(number, tensors)


def run_scenario(executor: Executor, source: Source, scenario: Scenario, **options: Any) -> tuple[list[Result], Measurements]:
    """All results, in the order of the items, with all that was recorded; `options` are those of ScenarioRun.

    Raises RunInterrupted, which has what was answered, on Ctrl-C.
    """
    return collected(ScenarioRun(executor, source, scenario, **options))


class Collectable(Protocol):
    """What gives results as they come, and measurements: a scenario, or a plan that is run."""

    @property
    def has_begun(self) -> bool: ...

    def __iter__(self) -> Iterator[Result]: ...

    def unanswered(self) -> list[Result]: ...

    def measurements(self) -> Measurements: ...


def collected(run: Collectable) -> tuple[list[Result], Measurements]:
    """Every result of the run, and its measurements. Raises RunInterrupted on Ctrl-C once the timed window has begun."""
    results: list[Result] = []
    try:
        for result in run:
            results.append(result)
    except KeyboardInterrupt:
        if not run.has_begun:
            raise
        raise RunInterrupted([*results, *run.unanswered()], run.measurements()) from None
    return results, run.measurements()


def to_measurements(
    items: Sequence[Item], record: Record, start: float, now: float, warmup_items: int, settings: Mapping[str, Any]
) -> Measurements:
    """Measurements with all times relative to `start`; they end with the last answer, or `now` without any."""
    return Measurements(
        items=tuple(
            replace(item, due_s=item.due_s - start, issued_s=item.issued_s - start, done_s=item.done_s - start)
            for item in items
        ),
        events=tuple(_shift_event(event, start) for event in record.events),
        start_s=0.0,
        stop_s=max((item.done_s for item in items), default=now) - start,
        warmup_items=warmup_items,
        faults=tuple(_shift_fault(fault, start) for fault in record.faults),
        memory=record.memory,
        settings={**record.settings, **settings, "duplicates_dropped": record.duplicates_dropped},
        by_caller=record.by_caller,
        runtimes=record.runtimes,
    )


def _shift_event(event: Event, start: float) -> Event:
    return replace(event, start_s=event.start_s - start, stop_s=event.stop_s - start)


def _shift_fault(fault: Fault, start: float) -> Fault:
    recovered = None if fault.recovered_s is None else fault.recovered_s - start
    return replace(fault, detected_s=fault.detected_s - start, recovered_s=recovered)
