"""The plan table: which rows there are, why others are absent, and what each promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Encoding, Fleet, Link, Power
from multiedge.graph import Graph
from multiedge.network.records import ONLY_ROW, NodeWork
from multiedge.run import plan_model
from multiedge.table import PRECISION, Accuracy, Table, draw_table, expected_of, plan_table
from tests.builders.fleets import fleet_of, with_devices
from tests.builders.graphs import chain_graph, fork_graph
from tests.builders.profiles import profile_of


def _float32(graph: Graph) -> Graph:
    return replace(graph, tensors={name: replace(tensor, dtype="float32") for name, tensor in graph.tensors.items()})


CHAIN = profile_of(_float32(chain_graph(4, sizes=2, weight_bytes=10)), dict.fromkeys("abc", 1.0))
FLEET = replace(fleet_of("a", "b", "c", links=Link(2.0)), source="a")
POWERED = with_devices(FLEET, power=Power(1.0, 3.0), joules_per_byte=0.5)


def _rows(table: Table) -> dict[str, tuple[str, ...]]:
    return {row.name: row.devices for row in table.rows}


def test_each_kind_has_a_row_or_a_reason() -> None:
    table = plan_table(CHAIN, FLEET)
    rows = _rows(table)
    assert {"fastest", "quickest", "float16"} <= rows.keys()
    assert rows["quickest"] == ("a",)
    assert table.absent["local"] == "is the plan of 'quickest'"
    assert "needs watts" in table.absent["energy"]
    assert "no split over branches" in table.absent["branches"]


def test_some_row_does_without_each_device_but_the_calling_one() -> None:
    rows = _rows(plan_table(CHAIN, FLEET, ("fastest", "fallback")))
    assert all(any(name not in devices for devices in rows.values()) for name in "bc")
    assert any(name.startswith("without-") for name in rows)


def test_the_first_kind_asked_for_comes_first_after_a_plan_of_the_user() -> None:
    assert [row.name for row in plan_table(CHAIN, POWERED, ("local", "fastest")).rows] == ["local", "fastest"]
    chosen = plan_model(CHAIN, POWERED, "equal_flops")
    table = plan_table(CHAIN, POWERED, ("fastest", "local"), chosen=chosen)
    assert (table.rows[0].name, table.rows[0].plan) == (ONLY_ROW, chosen)


def test_a_row_that_others_equal_or_beat_is_absent_with_their_name() -> None:
    alone = fleet_of("a")
    profile = profile_of(chain_graph(4, sizes=2, weight_bytes=10), {"a": 1.0})
    table = plan_table(profile, with_devices(alone, power=Power(1.0, 3.0)), ("fastest", "quickest", "energy"))
    assert _rows(table) == {"fastest": ("a",)}
    assert table.absent == {"quickest": "is the plan of 'fastest'", "energy": "is the plan of 'fastest'"}


def test_a_fallback_beats_no_row_and_is_not_made_for_a_device_that_no_row_needs() -> None:
    """Links are so slow that the fastest plan is no faster than the calling device alone."""
    slow = replace(fleet_of("a", "b", "c", links=Link(0.1)), source="a")
    table = plan_table(CHAIN, slow, ("fastest", "quickest", "fallback"))
    assert [row.name for row in table.rows] in (["fastest"], ["quickest"])
    assert table.absent["fallback"] == "the calling device alone computes, and nobody asks without it"


def test_no_row_is_equalled_or_beaten_by_another() -> None:
    table = plan_table(CHAIN, POWERED, ("fastest", "quickest", "energy", "branches", "float16"))
    figures = [
        (row.plan.estimate.bottleneck_s, row.plan.estimate.latency_s, row.plan.estimate.energy_j, row.name == "float16")
        for row in table.rows
    ]
    assert len(figures) > 1
    for one in figures:
        assert not any(other is not one and all(a <= b for a, b in zip(other, one, strict=True)) for other in figures)


def test_a_graph_with_branches_has_a_row_that_splits_and_joins() -> None:
    profile = profile_of(fork_graph(2, 2, nbytes=1), dict.fromkeys("ab", 10.0))
    table = plan_table(profile, replace(fleet_of("a", "b", links=Link(10.0)), source="a"), ("quickest", "branches"))
    branches = next(row for row in table.rows if row.name == "branches")
    assert set(branches.devices) == {"a", "b"}
    assert branches.expected.latency_s < plan_model(profile, fleet_of("a", "b", links=Link(10.0)), "latency").value


@pytest.mark.parametrize(("kind", "first", "last"), [("first", True, False), ("last", False, True), ("both", True, True)])
def test_stages_are_forced_to_the_calling_device(kind: str, first: bool, last: bool) -> None:
    """The calling device is slow: nothing would be there otherwise."""
    profile = profile_of(chain_graph(4, sizes=1), {"a": 9.0, "b": 1.0, "c": 1.0})
    fleet = replace(fleet_of("a", "b", "c", links=Link(100.0)), source="a")
    (row,) = plan_table(profile, fleet, (kind,)).rows
    assert (row.first == ("a",), row.last == ("a",)) == (first, last)
    assert len(row.devices) > 1


def test_without_a_calling_device_the_remedy_is_named() -> None:
    table = plan_table(CHAIN, replace(FLEET, source=None), ("fastest", "local"))
    assert table.absent == {"local": "the calling device is not known; give --source NODE, or `source:` in --devices"}


def test_a_kind_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match="rows: unknown kind 'fastes'; did you mean 'fastest'"):
        plan_table(CHAIN, FLEET, ("fastes",))


def test_a_table_without_rows_says_why() -> None:
    with pytest.raises(InfeasibleError, match="no split over branches"):
        plan_table(CHAIN, FLEET, ("branches",))


def test_float16_leaves_the_calling_device_out_if_its_tensors_are_of_another_type() -> None:
    graph = CHAIN.graph
    first = graph.inputs[0]
    tensors = {**graph.tensors, first: replace(graph.tensors[first], dtype="int64")}
    profile = replace(CHAIN, graph=replace(graph, tensors=tensors))
    slow_caller = replace(profile, seconds={**profile.seconds, "a": profile.seconds["a"] * 50})
    row = next(row for row in plan_table(slow_caller, FLEET, ("fastest", "float16")).rows if row.name == "float16")
    assert "a" not in row.devices


def test_a_row_is_approximate_if_the_table_rounds_and_not_if_the_fleet_states_it() -> None:
    assert {row.name: row.is_approximate for row in plan_table(CHAIN, FLEET, ("fastest", "local", "float16")).rows} == {
        "fastest": False,
        "local": False,
        "float16": True,
    }
    stated = replace(fleet_of("a", "b", "c", links=Link(2.0, encoding=Encoding.FLOAT16)), source="a")
    (row,) = plan_table(CHAIN, stated, ("fastest",)).rows
    assert any(move.encoding is Encoding.FLOAT16 for move in row.plan.transfers)
    assert not row.is_approximate


def test_accuracy_is_as_measured_and_that_of_a_row_that_rounds_only_if_it_was_measured_itself() -> None:
    def shown(accuracy: Accuracy) -> dict[str, float | None]:
        return {
            row.name: row.expected.accuracy for row in plan_table(CHAIN, FLEET, ("fastest", "float16"), accuracy=accuracy).rows
        }

    assert shown(Accuracy()) == {"fastest": None, "float16": None}
    assert shown(Accuracy(0.9)) == {"fastest": 0.9, "float16": None}
    assert shown(Accuracy(0.9, {"float16": 0.8})) == {"fastest": 0.9, "float16": 0.8}
    with pytest.raises(ConfigError, match="accuracy: there is no row 'float'; did you mean 'float16'"):
        shown(Accuracy(of_rows={"float": 0.8}))


def test_a_variant_has_a_row_of_its_own_whose_accuracy_is_not_that_of_the_model() -> None:
    small = replace(CHAIN, graph=replace(CHAIN.graph, model_hash="int8"), seconds={n: s / 2 for n, s in CHAIN.seconds.items()})
    table = plan_table(CHAIN, FLEET, ("fastest",), variants={"int8": small}, accuracy=Accuracy(0.9))
    model, variant = table.rows
    assert (variant.name, variant.kind, variant.variant, variant.expected.accuracy) == ("int8", PRECISION, "int8", None)
    assert variant.expected.items_per_s > model.expected.items_per_s
    measured = plan_table(CHAIN, FLEET, ("fastest",), variants={"int8": small}, accuracy=Accuracy(0.9, {"int8": 0.85}))
    assert [row.expected.accuracy for row in measured.rows] == [0.9, 0.85]


def test_work_is_what_an_item_takes_of_each_device_beyond_waiting() -> None:
    plan = plan_model(CHAIN, POWERED, "throughput")
    work = {each.node: each for each in expected_of(plan, POWERED).work}
    assert sum(each.busy_s for each in work.values()) == pytest.approx(4.0)
    assert sum(each.sent_bytes for each in work.values()) == plan.estimate.network_bytes
    for each in work.values():
        assert each.energy_j == pytest.approx(2.0 * each.busy_s + 0.5 * each.sent_bytes)
    assert expected_of(plan, FLEET).work_of("a").energy_j is None
    assert expected_of(plan, POWERED).work_of("elsewhere") == NodeWork("elsewhere", 0.0, 0.0, 0.0)


def test_the_pictures_have_the_costs_that_are_known(tmp_path: Path) -> None:
    assert [path.name for path in draw_table(plan_table(CHAIN, FLEET), tmp_path)] == ["pareto-latency.svg"]
    names = [path.name for path in draw_table(plan_table(CHAIN, POWERED), tmp_path)]
    assert names == ["pareto-latency.svg", "pareto-energy.svg"]
    assert "fastest" in (tmp_path / "pareto-energy.svg").read_text()


def test_one_device_alone_has_one_plan() -> None:
    profile = profile_of(chain_graph(2, sizes=1), {"a": 1.0})
    fleet = Fleet(fleet_of("a").devices, source="a")
    table = plan_table(profile, fleet)
    assert len(table.rows) == 1
    assert table.absent["fallback"] == "the calling device alone computes, and nobody asks without it"
