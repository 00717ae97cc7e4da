"""Runs ranked: one group per model, its leaderboard and its trade-offs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from multiedge.metrics import describe_metric, in_other_unit
from multiedge.metrics.run import latencies_s
from multiedge.report import curves, pareto
from multiedge.report.leaderboard import Column, make_column, order_columns
from multiedge.report.repeats import shared_ranks
from multiedge.report.results import RunResult
from multiedge.report.svg import NARROW, by_width
from multiedge.report.units import number_of

COUNTS = ("items", "completed", "failed", "lost", "duplicated", "recovery_s")
"""Figures with a column only where they are not zero in some run."""

IN_DETAIL = (
    "fps_predicted",
    "fps_predicted_at_pace",
    "prediction_error",
    "prediction_error_at_pace",
    "latency_p50_s",
    "latency_max_s",
)
"""Figures that are shown in each run's section, and not on the leaderboard."""

TRADE_OFFS = (
    ("latency_mean_s", "mean latency"),
    ("peak_memory_bytes", "peak memory"),
    ("energy_per_item_j", "energy per item"),
)


@dataclass(frozen=True)
class Group:
    """The runs of one model, since only these can be compared; `labels` are their names without the part that all share.
    Runs that the intervals of their throughput do not separate share a rank."""

    model: str
    results: Sequence[RunResult]
    first: int
    labels: Sequence[str]
    columns: Sequence[Column]
    numbers: Sequence[Sequence[float | None]]
    missing: Sequence[str]
    trade_offs: Sequence[tuple[str, Markup]]
    overlay: Markup

    @property
    def ranks(self) -> list[int]:
        """The rank of each run."""
        found = shared_ranks({row: result.results.get("fps") for row, result in enumerate(self.results)})
        return [self.first - 1 + found[row] for row in range(len(self.results))]

    @property
    def shared(self) -> list[bool]:
        """Whether each run has the rank of another."""
        counts = Counter(self.ranks)
        return [counts[place] > 1 for place in self.ranks]


def model_of(result: RunResult) -> str:
    """What identifies the run's model: its hash, otherwise its name in the plan or the configuration, otherwise ''."""
    return (result.plan and (result.plan.model_hash or result.plan.model)) or str(result.configuration.get("model") or "")


def groups(ranked: Sequence[RunResult]) -> list[Group]:
    """`ranked` (see `rank`) by model, with ranks that continue from group to group."""
    by_model, first = [], 1
    for _, members in itertools.groupby(ranked, key=model_of):
        results = list(members)
        columns, numbers, missing = board(results)
        shared, labels = _shared_words([result.name for result in results])
        # exporters name every graph 'main_graph': a name from the configuration is more useful
        name = results[0].configuration.get("model") or shared or (results[0].plan and results[0].plan.model) or ""
        drawings = trade_offs(results, first), latency_overlay(results, first)
        by_model.append(Group(str(name), results, first, labels, columns, numbers, missing, *drawings))
        first += len(results)
    return by_model


def _shared_words(names: Sequence[str]) -> tuple[str, list[str]]:
    """The leading parts, up to ', ', that all names share, and each name without them; '' where no name would be left."""
    parts = [name.split(", ") for name in names]
    same = itertools.takewhile(lambda words: len(set(words)) == 1, zip(*parts, strict=False))
    shared = min(len(list(same)), *(len(words) - 1 for words in parts), 1 << 30)
    return ", ".join(parts[0][:shared]), [", ".join(words[shared:]) for words in parts]


def with_distinct_names(results: Sequence[RunResult]) -> list[RunResult]:
    """The runs in the same order; equal names become 'name (1)', 'name (2)' in the order in which the runs were made."""
    taken = {result.name for result in results}
    groups: dict[str, list[int]] = {}
    for number, result in enumerate(results):
        groups.setdefault(result.name, []).append(number)
    named = list(results)
    for name, numbers in groups.items():
        free = (f"{name} ({count})" for count in itertools.count(1) if f"{name} ({count})" not in taken)
        for number in sorted(numbers, key=lambda number: results[number].created) if len(numbers) > 1 else ():
            named[number] = replace(results[number], name=next(free))
    return named


def rank(results: Sequence[RunResult]) -> list[RunResult]:
    """Runs of one model together, fastest first; runs without a throughput last, in the order given. Equal names get numbers
    in the order in which the runs were made."""

    def speed(result: RunResult) -> float:
        figure = result.results.get("fps")
        return figure.value if figure is not None and figure.value is not None else -1.0

    fastest = sorted(with_distinct_names(results), key=speed, reverse=True)
    models = list(dict.fromkeys(map(model_of, fastest)))
    return sorted(fastest, key=lambda result: models.index(model_of(result)))


def board(results: Sequence[RunResult]) -> tuple[list[Column], list[list[float | None]], list[str]]:
    """The leaderboard's columns, their numbers for sorting, and the metrics that no run measured."""
    names = [name for name in order_columns(name for result in results for name in result.results) if name != "rank"]
    made, numbers, missing = [], [], []
    for name in names:
        figures = [result.results.get(name) for result in results]
        values = [number_of(figure.value) if figure else None for figure in figures]
        if name in IN_DETAIL or in_other_unit(name, names):
            continue
        if name in COUNTS and (name in ("items", "completed") or not any(values)):
            continue
        if all(value is None for value in values):
            needed = max((figure.samples_needed or 0 for figure in figures if figure), default=0)
            missing.append(f"{name} (needs {needed} items)" if needed else name)
            continue
        made.append(make_column(name, figures))
        numbers.append(values)
    return made, numbers, missing


def board_rows(group: Group) -> list[dict[str, Any]]:
    """A group's rows for `multiedge.report.leaderboard`."""
    names = [column.name for column in group.columns]
    return [
        {
            "rank": place,
            "algorithm": label,
            "verdict": result.verdict,
            **{name: result.results.get(name) for name in names},
        }
        for place, label, result in zip(group.ranks, group.labels, group.results, strict=True)
    ]


def trade_offs(results: Sequence[RunResult], first: int = 1) -> list[tuple[str, Markup]]:
    """Throughput against each cost that at least two runs measured."""
    drawn = []
    for name, title in TRADE_OFFS:
        points = []
        for number, result in enumerate(results, first):
            x, y = (result.results.get(metric) for metric in ("fps", name))
            if x and y and x.value is not None and y.value is not None:
                points.append(pareto.Point(number, result.name, x.value, y.value, x.interval, y.interval))
        if len(points) > 1:
            drawn.append((title, pareto.draw(points, "items/s", describe_metric(name).unit, "throughput", title)))
    return drawn


def latency_overlay(results: Sequence[RunResult], first: int = 1, most: int = 8) -> Markup:
    """The latency distributions of the first `most` runs in one picture."""
    known = [(n, r.name, latencies_s(r.measurements)) for n, r in enumerate(results, first) if r.measurements]
    if len(known) < 2:
        return Markup("")
    return by_width(curves.latency_cdf(known[:most], 960, 330), curves.latency_cdf(known[:most], NARROW, 330))
