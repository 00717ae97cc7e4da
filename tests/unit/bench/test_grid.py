"""Strategies with options and seeds on models and fleets: a row for every cell, whatever a strategy does."""

from __future__ import annotations

import pytest

from multiedge.bench import grid as library
from multiedge.bench.grid import Case, grid, parse_choices, parse_seeds, run_cell, run_grid
from multiedge.bench.suite import Devices, Model
from multiedge.errors import ConfigError
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile

FLEET = synthetic_fleet((1, 1, 1), seed=3)
GRAPH = synthetic_graph(30, seed=1)
CASE = Case(
    Model("model", "1a", GRAPH, "1"),
    Devices("fleet", "2b", FLEET, "1"),
    synthetic_profile(GRAPH, FLEET, seed=2),
    {"throughput": 1.0, "latency": 1.0, "energy": None},
)


def test_a_strategy_has_options_after_its_name() -> None:
    (choice,) = parse_choices(["exact:time_limit_s=10:gap=0.02"])
    assert (choice.name, choice.label) == ("exact", "exact:time_limit_s=10:gap=0.02")
    assert choice.options == {"time_limit_s": 10, "gap": 0.02}


def test_only_strategies_that_draw_at_random_run_once_for_each_seed() -> None:
    choices = parse_choices(["throughput", "random", "branches:seed=7"])
    cells = [(choice.label, seed) for _, choice, seed in grid([CASE], choices, (3, 4))]
    assert cells == [("throughput", None), ("random", 3), ("random", 4), ("branches:seed=7", None)]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["singel"], "--strategies: unknown partitioner 'singel'; did you mean 'single'"),
        (["single:gap=1"], "partitioner 'single' has no option 'gap'"),
        (["exact:gap"], "--strategies: expected NAME:KEY=VALUE such as exact:time_limit_s=10, got 'exact:gap'"),
        (["single", "single"], "--strategies: 'single' is given twice"),
        ([], "--strategies: expected at least one"),
    ],
)
def test_strategies_that_cannot_run_are_refused_before_the_first_row(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_choices(texts)
    assert str(caught.value).startswith(message)


def test_seeds_are_ranges_and_numbers() -> None:
    assert parse_seeds("0-2,7") == (0, 1, 2, 7)
    for text in ("", "a", "3-1", "1-"):
        if text != "1-":
            with pytest.raises(ConfigError, match="--seeds: expected whole numbers"):
                parse_seeds(text)


def test_a_refusal_is_a_row_with_its_reason() -> None:
    row = run_cell(CASE, parse_choices(["manual"])[0], None)
    assert (row.status, row.figures) == ("refused", None)
    assert "needs partition_points" in row.reason


def test_an_error_of_a_strategy_is_a_row_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(profile, fleet, name, **options):
        raise ZeroDivisionError("no devices left")

    monkeypatch.setattr(library, "plan_model", broken)
    row = run_cell(CASE, parse_choices(["single"])[0], None)
    assert (row.status, row.reason) == ("failed", "ZeroDivisionError: no devices left")


def test_two_runs_give_equal_rows_apart_from_times() -> None:
    cells = list(grid([CASE], parse_choices(["throughput", "latency", "energy", "mincut", "branches", "random"]), (0, 1)))
    first, second = ([(row.key, row.status, row.figures, row.single) for row in run_grid(cells, {})] for _ in range(2))
    assert first == second
    assert len(first) == 8


def test_rows_that_are_known_are_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = list(grid([CASE], parse_choices(["single", "throughput"]), (0,)))
    known = {row.key: row for row in run_grid(cells[:1], {})}
    ran = []
    monkeypatch.setattr(
        library, "run_cell", lambda case, choice, seed: ran.append(choice.label) or run_cell(case, choice, seed)
    )
    rows = list(run_grid(cells, known))
    assert ran == ["throughput"]
    assert rows[0] is next(iter(known.values()))


def test_a_row_states_the_figures_of_its_plan() -> None:
    row = run_cell(CASE, parse_choices(["throughput"])[0], None)
    figures = row.figures
    assert figures.objective == "throughput"
    assert figures.value == figures.bottleneck_s == 1 / figures.items_per_s
    assert figures.lower_bound <= figures.value
    assert figures.memory_bytes > 0
    assert row.suite == "1"
    assert row.versions.startswith("multiedge ")
