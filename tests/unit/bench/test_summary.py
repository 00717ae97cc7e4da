"""The summary of rows: medians over seeds, ratios over common instances, wins with ties."""

from __future__ import annotations

import math

import pytest

from multiedge.bench.summary import cells, geometric_mean, summarise
from tests.builders.bench import bench_row


def by_strategy(rows):
    return {each.strategy: each for each in summarise(rows)}


def test_ratios_are_to_the_best_of_the_rows_and_to_the_best_single_device() -> None:
    found = by_strategy([bench_row("a", 2.0), bench_row("b", 3.0)])
    assert found["a"].scores["throughput"].to_best == 1.0
    assert found["b"].scores["latency"].to_best == pytest.approx(1.5)
    assert found["a"].scores["energy"].over_single == pytest.approx(2.0)


def test_the_geometric_mean_is_over_instances() -> None:
    rows = [bench_row("a", 1.0), bench_row("b", 2.0), bench_row("a", 1.0, model="n"), bench_row("b", 8.0, model="n")]
    score = by_strategy(rows)["b"].scores["throughput"]
    assert score.to_best == pytest.approx(4.0)
    assert score.to_best_interval[0] < 4.0 < score.to_best_interval[1]


def test_means_leave_out_an_instance_that_one_strategy_refused() -> None:
    rows = [bench_row("a", 1.0), bench_row("b", 2.0), bench_row("a", 9.0, model="hard"), bench_row("b", model="hard")]
    found = by_strategy(rows)
    assert (found["a"].planned, found["b"].planned, found["b"].instances) == (2, 1, 2)
    assert found["a"].scores["throughput"].instances == 1
    assert found["a"].scores["throughput"].over_single == pytest.approx(4.0)


def test_a_strategy_that_never_plans_comes_last_and_spoils_no_mean() -> None:
    standings = summarise([bench_row("never"), bench_row("a", 1.0)])
    assert [each.strategy for each in standings] == ["a", "never"]
    assert standings[0].scores["throughput"].to_best == 1.0
    assert standings[1].scores["throughput"].to_best is None


def test_costs_within_the_tolerance_tie() -> None:
    rows = [bench_row("a", 1.0), bench_row("b", 1.0005), bench_row("c", 1.1), bench_row("a", 1.0, model="n")]
    found = by_strategy(rows)
    assert [found[name].scores["throughput"].wins for name in "abc"] == [2, 1, 0]
    assert [found[name].scores["throughput"].alone for name in "abc"] == [1, 0, 0]


def test_seeds_become_their_median_with_an_interval() -> None:
    rows = [bench_row("random", cost, seed=seed) for seed, cost in enumerate((2.0, 3.0, 10.0))]
    (cell,) = cells([*rows, bench_row("random", seed=3)])
    assert cell.median["throughput"] == 3.0
    assert cell.interval["throughput"][0] < 3.0 < cell.interval["throughput"][1]
    assert (cell.planned, cell.runs) == (3, 4)


def test_the_interval_of_a_geometric_mean_is_on_logarithms() -> None:
    mean, (low, high) = geometric_mean([1.0, 2.0, 4.0])
    assert mean == pytest.approx(2.0)
    assert low * high == pytest.approx(mean**2)
    assert geometric_mean([]) == (None, None)
    assert geometric_mean([3.0]) == (pytest.approx(3.0), None)
    assert math.isfinite(high)
