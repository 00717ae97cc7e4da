"""Items that depend on answers: a source gives its next item once it has the answer to the one before."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from multiedge.errors import StageError
from multiedge.executors.flow.contract import Array, Executor, Result, Tensors
from multiedge.executors.flow.drive import WAIT_S, to_measurements
from multiedge.executors.flow.host import HostReading
from multiedge.measurements import Item, Measurements
from multiedge.meters.power import PowerMeter

Feedback = Generator[Tensors, dict[str, Array], None]
"""Yields items, and is sent the outputs of each, until it has no more. StageError is raised in it for an item that failed."""


def run_feedback(
    executor: Executor,
    sources: Iterable[Feedback],
    *,
    meters: Sequence[PowerMeter] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Measurements:
    """Runs every source to its end, all at the same time as far as the executor has room.

    Args:
        executor: Nothing of it is under way.
        sources: Where items come from.
        meters: They are started and stopped with the timed window.
        clock: The executor's.

    Returns:
        The measurements, with the name of the nearest scenario. Items are due when they are there: after the answer to the one
        before.

    Raises:
        StageError: For an item that failed, if its source does not handle that. Whatever a source raises ends the run.
    """
    sources = list(sources)
    name = "SingleStream" if len(sources) == 1 else "Offline"
    executor.mark()
    before = HostReading.now()
    with ExitStack() as running:
        for meter in meters:
            running.enter_context(meter)
        start_s = clock()
        items = _exchange(executor, sources, clock)
        record, after = executor.record(), HostReading.now()
    measured = to_measurements(items, record, start_s, clock(), 0, {"scenario": name})
    host = after.load_since(before, record.workers_cpu_s) if executor.on_this_machine else None
    return replace(measured, energy=tuple(meter.energy() for meter in meters), host=host)


def _exchange(executor: Executor, sources: Iterable[Feedback], clock: Callable[[], float]) -> list[Item]:
    ready = deque((source, tensors, clock()) for source in sources if (tensors := next(source, None)) is not None)
    under_way: dict[int, tuple[Feedback, float]] = {}
    items: list[Item] = []
    number = 0
    while ready or under_way:
        while ready and executor.has_room:
            source, tensors, due_s = ready.popleft()
            executor.submit(number, tensors)
            under_way[number] = source, due_s
            number += 1
        for result in executor.poll(WAIT_S):
            source, due_s = under_way.pop(result.item)
            items.append(Item(result.item, due_s, result.issued_s, result.done_s, result.error))
            following = _next_item(source, result)
            if following is not None:
                ready.append((source, following, clock()))
    return sorted(items, key=lambda item: item.item)


def _next_item(source: Feedback, result: Result) -> Tensors | None:
    """What the source gives after this result; None if it has ended."""
    try:
        if result.tensors is None:
            return source.throw(StageError(f"item {result.item}: {result.error}", item=result.item))
        return source.send(result.tensors)
    except StopIteration:
        return None
