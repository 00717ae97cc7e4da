"""Strategies side by side: rows, ratios, data and pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from multiedge import compare as library
from multiedge.compare import ORACLES, as_json, comparable, compare, draw_all, ratios
from multiedge.errors import ConfigError
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile
from partitioners import PARTITIONERS

FLEET = synthetic_fleet((1, 1, 1), seed=3)
GRAPH = synthetic_graph(30, seed=1)
PROFILE = synthetic_profile(GRAPH, FLEET, seed=2)
NAMES = ["throughput", "manual", "latency", "equal_flops"]


@pytest.fixture(scope="module")
def rows():
    return compare(PROFILE, FLEET, NAMES)


def test_all_strategies_are_compared_but_the_oracles() -> None:
    assert comparable() == [name for name in PARTITIONERS.names() if name not in ORACLES]
    assert comparable([*ORACLES, "single"]) == [*ORACLES, "single"]
    with pytest.raises(ConfigError, match="unknown partitioner 'singel'; did you mean 'single'"):
        comparable(["single", "singel"])


def test_there_is_a_row_for_each_name_in_order(rows) -> None:
    assert [row.strategy for row in rows] == NAMES
    assert [row.strategy for row in rows if row.plan is None] == ["manual"]
    assert "needs partition_points" in rows[1].failure
    assert all(row.seconds >= 0 for row in rows)
    assert all(row.memory_bytes > 0 for row in rows if row.plan)


def test_progress_names_the_strategy_and_the_share() -> None:
    steps = []
    compare(PROFILE, FLEET, ["single", "equal_flops"], lambda name, share: steps.append((name, share)))
    assert steps == [("single", 0.0), ("equal_flops", 0.5)]


def test_a_bug_of_a_strategy_is_not_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(profile, fleet, name):
        raise ZeroDivisionError

    monkeypatch.setattr(library, "plan_model", broken)
    with pytest.raises(ZeroDivisionError):
        compare(PROFILE, FLEET, ["single"])


def test_ratios_are_to_the_best_of_the_rows(rows) -> None:
    throughput = ratios(rows, "throughput")
    assert set(throughput) == {"throughput", "latency", "equal_flops"}
    assert throughput["throughput"] == 1.0
    assert min(throughput.values()) == 1.0
    assert ratios(rows, "latency")["latency"] == 1.0
    assert ratios([], "latency") == {}


def test_data_hold_every_row_and_no_infinity(rows) -> None:
    data = {row["strategy"]: row for row in json.loads(json.dumps(as_json(rows), allow_nan=False))}
    assert list(data) == NAMES
    assert set(data["manual"]) == {"strategy", "failure", "seconds"}
    assert data["throughput"]["ratio_to_best"]["throughput"] == 1.0
    assert sum(stage["nodes"] for stage in data["equal_flops"]["stages"]) == 30
    assert all(row.plan.value < math.inf for row in rows if row.plan)


def test_each_plan_is_drawn_and_throughput_against_each_cost(rows, tmp_path: Path) -> None:
    written = draw_all(GRAPH, rows, tmp_path / "new" / "folder")
    names = {path.name for path in written}
    assert names >= {"pareto-latency.svg", "pareto-memory.svg", "graph-throughput.svg", "graph-latency.svg"}
    assert "graph-manual.svg" not in names
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == names
    for path in written:
        assert ElementTree.fromstring(path.read_text()).tag == "{http://www.w3.org/2000/svg}svg"


def test_a_cost_that_no_plan_knows_is_not_drawn(rows, tmp_path: Path) -> None:
    known = any(row.plan and row.plan.estimate.energy_j is not None for row in rows)
    assert (tmp_path / "pareto-energy.svg" in draw_all(GRAPH, rows, tmp_path)) is known
    assert draw_all(GRAPH, [row for row in rows if row.plan is None], tmp_path) == []
