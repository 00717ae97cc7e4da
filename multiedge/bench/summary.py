"""What the rows say of each strategy: medians over seeds, ratios to the best single device and to the best known, and wins.

Ratios are summarised by their geometric mean over the instances on which every strategy gave a plan: a strategy that refuses
hard instances would otherwise seem better than one that solves them. The mean's 95 % interval is Student's, on logarithms, over
instances. The best known is the best of the rows.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from multiedge.bench.rows import MEASURES, PLANNED, Row
from multiedge.metrics.interval import Interval, sample_interval_95

TOLERANCE = 1e-3
"""Relative difference up to which two costs count as equal."""

Instance = tuple[str, str]


@dataclass(frozen=True)
class Cell:
    """One strategy on one instance: of its seeds with a plan the median cost by measure, and its interval."""

    instance: Instance
    strategy: str
    planned: int
    runs: int
    median: Mapping[str, float | None]
    interval: Mapping[str, Interval | None]
    over_single: Mapping[str, float | None]
    to_best: Mapping[str, float | None]


@dataclass(frozen=True)
class Score:
    """One strategy by one measure, over the `instances` of which every strategy's cost is known.

    `to_best` is the geometric mean of cost / best known cost (1 is the best), `over_single` that of the best single device's
    cost / cost (above 1 is a gain). `wins` counts, of all instances, those where no strategy is better, `alone` those where it
    is the only one.
    """

    instances: int
    to_best: float | None
    to_best_interval: Interval | None
    over_single: float | None
    over_single_interval: Interval | None
    wins: int
    alone: int


@dataclass(frozen=True)
class Standing:
    """One strategy over all instances. `planned` counts the instances on which every run gave a plan."""

    strategy: str
    planned: int
    instances: int
    scores: Mapping[str, Score]
    planning_s: float
    planning_interval: Interval | None


def summarise(rows: Sequence[Row], tolerance: float = TOLERANCE) -> list[Standing]:
    """The strategies in the order of their throughput; those that never gave a plan come last."""
    table = cells(rows)
    standings = [_standing(strategy, rows, table, tolerance) for strategy in dict.fromkeys(cell.strategy for cell in table)]
    return sorted(standings, key=lambda each: each.scores["throughput"].to_best or math.inf)


def cells(rows: Sequence[Row]) -> list[Cell]:
    """Every strategy on every instance, in the order of the rows."""
    groups: dict[tuple[Instance, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.instance, row.strategy), []).append(row)
    medians = {key: {measure: _median(group, measure) for measure in MEASURES} for key, group in groups.items()}
    best: dict[tuple[Instance, str], float] = {}
    for (instance, _), values in medians.items():
        for measure, value in values.items():
            if value is not None:
                best[instance, measure] = min(value, best.get((instance, measure), math.inf))
    return [
        _cell(instance, strategy, group, medians[instance, strategy], best) for (instance, strategy), group in groups.items()
    ]


def _cell(
    instance: Instance,
    strategy: str,
    group: Sequence[Row],
    median: Mapping[str, float | None],
    best: Mapping[tuple[Instance, str], float],
) -> Cell:
    known = {measure: value for measure, value in median.items() if value is not None}
    return Cell(
        instance=instance,
        strategy=strategy,
        planned=sum(row.status == PLANNED for row in group),
        runs=len(group),
        median=median,
        interval={measure: sample_interval_95(_costs(group, measure)) for measure in MEASURES},
        over_single={measure: _ratio(group[0].single.get(measure), known.get(measure)) for measure in MEASURES},
        to_best={measure: _ratio(known.get(measure), best.get((instance, measure))) for measure in MEASURES},
    )


def _costs(group: Iterable[Row], measure: str) -> list[float]:
    return [cost for row in group if (cost := row.cost(measure)) is not None]


def _median(group: Iterable[Row], measure: str) -> float | None:
    costs = _costs(group, measure)
    return statistics.median(costs) if costs else None


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above and below else None


def _standing(strategy: str, rows: Sequence[Row], table: Sequence[Cell], tolerance: float) -> Standing:
    own = [cell for cell in table if cell.strategy == strategy]
    seconds = [row.planning_s for row in rows if row.strategy == strategy]
    return Standing(
        strategy=strategy,
        planned=sum(cell.planned == cell.runs for cell in own),
        instances=len({cell.instance for cell in table}),
        scores={measure: _score(own, table, measure, tolerance) for measure in MEASURES},
        planning_s=statistics.median(seconds),
        planning_interval=sample_interval_95(seconds),
    )


def _score(own: Sequence[Cell], table: Sequence[Cell], measure: str, tolerance: float) -> Score:
    best_of: dict[Instance, list[str]] = {}
    for cell in table:
        ratio = cell.to_best[measure]
        if ratio is not None and ratio <= 1 + tolerance:
            best_of.setdefault(cell.instance, []).append(cell.strategy)
    won = [best_of[cell.instance] for cell in own if cell.strategy in best_of.get(cell.instance, ())]
    shared = common(table, measure)
    to_best = [ratio for cell in own if cell.instance in shared and (ratio := cell.to_best[measure]) is not None]
    over_single = [ratio for cell in own if cell.instance in shared and (ratio := cell.over_single[measure]) is not None]
    return Score(
        len(to_best),
        *geometric_mean(to_best, least=1.0),
        *geometric_mean(over_single),
        wins=len(won),
        alone=sum(len(names) == 1 for names in won),
    )


def common(table: Sequence[Cell], measure: str) -> set[Instance]:
    """The instances of which every strategy's cost is known; strategies of which none is known are left aside."""
    known: dict[str, set[Instance]] = {}
    for cell in table:
        if cell.median[measure] is not None:
            known.setdefault(cell.strategy, set()).add(cell.instance)
    return set.intersection(*known.values()) if known else set()


def geometric_mean(ratios: Sequence[float], least: float = 0.0) -> tuple[float | None, Interval | None]:
    """The geometric mean, and its 95 % interval, which ends at the `least` ratio that there can be; None where there are too
    few."""
    if not ratios:
        return None, None
    interval = sample_interval_95(ratios)
    within = None if interval is None else (max(least, interval[0]), max(least, interval[1]))
    return math.exp(statistics.fmean(map(math.log, ratios))), within
