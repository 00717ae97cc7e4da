"""Repeated runs of one plan as one result: medians with intervals."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from multiedge.metrics import MetricValue
from multiedge.metrics.interval import interval_95
from multiedge.metrics.validity import FaultCount, MovedStage, Validity
from multiedge.report.results import RunResult

SUMMED = ("items", "completed", "failed", "lost", "duplicated")
"""Figures that count; of repeated runs they are the sum."""
WORST = ("recovery_s",)
"""Figures of which the largest counts."""


def combined(rounds: Sequence[RunResult]) -> RunResult:
    """Runs of the same plan as one: of each figure the median, its 95 % interval and, in `repeats`, the value of each round.

    The raw records are those of the round with the median throughput. One invalid round makes the whole invalid. A single
    round is returned as it is.
    """
    if len(rounds) == 1:
        return rounds[0]
    middle = sorted(rounds, key=_throughput)[len(rounds) // 2]
    values = {name: _values(name, rounds) for name in middle.results}
    return replace(
        middle,
        results={name: _figure(name, figure, rounds) for name, figure in middle.results.items()},
        validity=_validity([result.validity for result in rounds]),
        repeats={name: each for name, each in values.items() if len(each) == len(rounds)},
    )


def _throughput(result: RunResult) -> float:
    figure = result.results.get("fps")
    return -1.0 if figure is None or figure.value is None else figure.value


def _values(name: str, rounds: Sequence[RunResult]) -> list[float]:
    """The figure in the rounds that measured it."""
    figures = [result.results.get(name) for result in rounds]
    return [figure.value for figure in figures if figure is not None and figure.value is not None]


def _figure(name: str, figure: MetricValue, rounds: Sequence[RunResult]) -> MetricValue:
    values = _values(name, rounds)
    if name in WORST and values:
        return replace(figure, value=max(values))
    if len(values) < len(rounds):
        note = f"measured in {len(values)} of {len(rounds)} rounds" if values else figure.note
        return replace(figure, value=None, note=note, method="none", by_device={})
    if name in SUMMED:
        return replace(figure, value=sum(values), note=f"in {len(rounds)} rounds")
    return replace(figure, value=statistics.median(values), interval=interval_95(values))


def _validity(each: Sequence[Validity]) -> Validity:
    reasons = tuple(f"round {number}: {reason}" for number, one in enumerate(each, 1) for reason in one.reasons)
    counts: dict[tuple[str, str], FaultCount] = {}
    moved: dict[int, MovedStage] = {}
    for one in each:
        for fault in one.faults:
            before = counts.get((fault.kind, fault.device), replace(fault, count=0, open=0))
            after = replace(fault, count=before.count + fault.count, open=before.open + fault.open)
            counts[fault.kind, fault.device] = after
        for stage in one.moved:
            ran = moved[stage.stage].ran if stage.stage in moved else ()
            moved[stage.stage] = replace(stage, ran=tuple(dict.fromkeys([*ran, *stage.ran])))
    busy = [one.busy_share for one in each if one.busy_share is not None]
    lost = [one.rate_loss for one in each if one.rate_loss is not None]
    stages = tuple(moved[stage] for stage in sorted(moved))
    is_valid = all(one.valid for one in each)
    return Validity(is_valid, reasons, tuple(counts.values()), stages, max(busy, default=None), max(lost, default=None))


def shared_ranks(figures: Mapping[int, MetricValue | None], higher_is_better: bool = True) -> dict[int, int]:
    """The rank of each row by one figure, as `ranks_by` gives it."""
    return ranks_by([(figures, higher_is_better)])


def ranks_by(criteria: Sequence[tuple[Mapping[int, MetricValue | None], bool]]) -> dict[int, int]:
    """The rank of each row, from 1: one more than the number of rows that are better.

    A criterion is a figure of each row, and whether more is better. A row is better than another by the first criterion whose
    intervals separate the two, so rows that none separates share a rank. A row with a figure is better than one without. Rows
    without any figure come last, each with a rank of its own.
    """
    oriented = [_oriented(figures, higher_is_better) for figures, higher_is_better in criteria]
    rows = list(criteria[0][0])
    known = [row for row in rows if any(bounds[row] is not None for bounds in oriented)]
    ranks = {row: 1 + sum(_is_better(other, row, oriented) for other in known) for row in known}
    unknown = [row for row in rows if row not in ranks]
    return {**ranks, **{row: len(known) + number for number, row in enumerate(unknown, 1)}}


_Bounds = tuple[float, float] | None


def _oriented(figures: Mapping[int, MetricValue | None], higher_is_better: bool) -> dict[int, _Bounds]:
    """The bounds of each row's figure, with more as better."""
    bounds = {row: None if figure is None else figure.bounds for row, figure in figures.items()}
    if higher_is_better:
        return bounds
    return {row: None if pair is None else (-pair[1], -pair[0]) for row, pair in bounds.items()}


def _is_better(row: int, other: int, criteria: Sequence[Mapping[int, _Bounds]]) -> bool:
    for bounds in criteria:
        own, others = bounds[row], bounds[other]
        if own is None or others is None:
            if own != others:
                return own is not None
        elif own[0] > others[1] or others[0] > own[1]:
            return own[0] > others[1]
    return False
