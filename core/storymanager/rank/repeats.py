"""Test cases that ran several times: one outcome each, with medians and 95 % intervals."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from core.testcasecontroller.testcase.testcase import Outcome
from multiedge.metrics.interval import interval_95
from multiedge.report.units import number_of

SUFFIX = "_interval"
"""The column with the interval of a metric has the metric's name with this ending."""
_TO = " to "


def combined(rounds: Sequence[Sequence[Outcome]]) -> list[Outcome]:
    """The outcomes of test cases that ran in every round, with the time and the folder of the last one."""
    if len(rounds) == 1:
        return list(rounds[0])
    together = []
    for last in rounds[-1]:
        outcomes = [outcome for done in rounds for outcome in done if outcome.algorithm is last.algorithm]
        earlier = tuple(outcome.url for outcome in outcomes[:-1])
        together.append(replace(last, metrics=_metrics(outcomes), earlier=earlier))
    return together


def _metrics(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Numbers as their median, followed by their interval; texts that differ, one after the other; anything else as in the last
    round."""
    metrics: dict[str, Any] = {}
    for name, last in outcomes[-1].metrics.items():
        values = [outcome.metrics.get(name) for outcome in outcomes]
        numbers = [number for value in values if (number := _number(value)) is not None]
        texts = dict.fromkeys(value for value in values if isinstance(value, str))
        other = " / ".join(texts) if len(texts) > 1 else last
        metrics[name] = other if len(numbers) < len(values) else statistics.median(numbers)
        interval = interval_95(numbers) if len(numbers) == len(values) else None
        if interval:
            metrics[name + SUFFIX] = f"{interval[0]!r}{_TO}{interval[1]!r}"
    return metrics


def _number(value: Any) -> float | None:
    """A number that a metric returned; None for anything else."""
    return None if isinstance(value, str) else number_of(value)


def read_interval(text: str | None) -> tuple[float, float] | None:
    """The interval in a column of that kind; None where there is none."""
    low, _, high = (text or "").partition(_TO)
    try:
        return float(low), float(high)
    except ValueError:
        return None
