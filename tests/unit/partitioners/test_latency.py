"""The least latency of one request: sums on paper, bounds on the rate, and the prices that make the sum."""

from __future__ import annotations

from math import inf

import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet, Link
from multiedge.profile import Profile
from partitioners.engine import chain as chain_module
from partitioners.engine import priced
from partitioners.engine.chain import Chain
from partitioners.engine.fastest import latency_prices
from partitioners.latency import Latency
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.profiles import profile_of

TEN_PER_S = Link(10.0, latency_s=1.0)


def chain_profile(seconds: dict[str, list[float]], sizes: list[int] | int = 0, **values: object) -> Profile:
    return profile_of(chain_graph(len(next(iter(seconds.values()))), sizes=sizes), seconds, **values)


@pytest.mark.parametrize(
    ("seconds", "fleet", "sizes", "value", "devices"),
    [
        pytest.param({"a": [1, 2]}, fleet_of("a"), 0, 3.0, ["a"], id="one device"),
        pytest.param({"a": [1, 9], "b": [9, 1]}, fleet_of("a", "b"), 0, 2.0, ["a", "b"], id="each node where it is fast"),
        pytest.param(
            {"a": [1, 9], "b": [9, 1]}, fleet_of("a", "b", links=TEN_PER_S), 10, 1 + 2 + 1, ["a", "b"], id="2 s on the way"
        ),
        pytest.param(
            {"a": [1, 4], "b": [9, 1]}, fleet_of("a", "b", links=TEN_PER_S), 30, 5.0, ["a"], id="4 s on the way are too many"
        ),
        pytest.param(
            {"a": [5], "b": [1]}, fleet_of("a", "b", links=TEN_PER_S, source="a"), 5, 1.5 + 1 + 1.5, ["b"], id="there and back"
        ),
        pytest.param({"a": [3], "b": [1]}, fleet_of("a", "b", links=TEN_PER_S, source="a"), 5, 3.0, ["a"], id="stay"),
        pytest.param({"a": [1, 1], "b": [1, 1]}, fleet_of("a", "b"), 0, 2.0, None, id="a tie"),
    ],
)
def test_the_least_latency_on_paper(
    seconds: dict[str, list[float]], fleet: Fleet, sizes: int, value: float, devices: list[str] | None
) -> None:
    plan = Latency().plan(chain_profile(seconds, sizes), fleet)
    assert plan.value == pytest.approx(value)
    assert plan.gap == 0
    assert devices is None or [stage.device for stage in plan.stages] == devices


def test_overhead_counts_for_each_stage() -> None:
    profile = chain_profile({"a": [1, 9], "b": [9, 1]}, overhead_s={"a": 1.0, "b": 7.0})
    assert Latency().plan(profile, fleet_of("a", "b")).value == pytest.approx(1 + 1 + 7 + 1)
    profile = chain_profile({"a": [1, 9], "b": [9, 1]}, overhead_s={"a": 1.0, "b": 9.0})
    assert Latency().plan(profile, fleet_of("a", "b")).value == pytest.approx(1 + 10)


@pytest.mark.parametrize(
    ("min_fps", "value", "stages"),
    [
        pytest.param(None, 4.0, 1, id="no bound: one device"),
        pytest.param(1 / 4, 4.0, 1, id="a bound that it keeps"),
        pytest.param(1 / 3, 4 + 1, 2, id="a bound that it does not: 1 s on the way"),
        pytest.param(1 / 2, 4 + 1, 2, id="the most possible"),
    ],
)
def test_a_rate_is_paid_for_with_latency(min_fps: float | None, value: float, stages: int) -> None:
    profile = chain_profile({name: [1, 1, 1, 1] for name in "ab"})
    plan = Latency(min_fps=min_fps).plan(profile, fleet_of("a", "b", links=Link(inf, latency_s=1.0)))
    assert plan.value == pytest.approx(value)
    assert len(plan.stages) == stages
    assert plan.bound_scope == "contiguous plans" + ("" if min_fps is None else f" of at least {min_fps:.4g} items/s")


def test_a_rate_that_no_plan_reaches_is_refused_with_the_most_possible() -> None:
    profile = chain_profile({name: [1, 1, 1, 1] for name in "ab"})
    with pytest.raises(InfeasibleError, match=r"chain on fleet gives 0\.6 items/s; ask for 0\.5 items/s, the most possible"):
        Latency(min_fps=0.6).plan(profile, fleet_of("a", "b"))
    with pytest.raises(ConfigError, match="min_fps: expected items per second, more than 0, got -1"):
        Latency(min_fps=-1)


def test_devices_left_out_are_listed_with_the_latency_of_the_plan() -> None:
    plan = Latency().plan(chain_profile({"a": [1, 1], "b": [5, 5]}), fleet_of("a", "b"))
    assert plan.left_out == {"b": "no plan that uses it is faster than 2000 ms"}


def test_outputs_that_are_made_early_leave_an_honest_gap() -> None:
    """On b the first result of 100 bytes needs 10 s to come back, which the search does not see: it stays a bound."""
    graph = graph_of("y: x", "z: y", outputs=("y", "z"), tensors={"x": 0, "y": 100, "z": 0})
    plan = Latency().plan(profile_of(graph, {"a": [4, 4], "b": [1, 1]}), fleet_of("a", "b", links=Link(10.0), source="a"))
    assert plan.lower_bound <= 8.0 <= plan.value
    assert plan.gap == pytest.approx(1 - plan.lower_bound / plan.value)


def test_too_many_kinds_are_levelled_and_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "MOST_CELLS", 3 * 3 * 2 * 3)
    monkeypatch.setattr(priced, "MOST_ENTRIES", 0)
    profile = chain_profile({"a": [1, 2], "b": [2, 1], "c": [8, 8], "d": [8, 9]})
    plan = Latency().plan(profile, fleet_of(*"abcd"))
    assert plan.notes == ("devices that are nearly alike were taken as 2 kinds, since all 4 apart are too many to search",)
    assert plan.lower_bound == pytest.approx(2.0)
    assert 2.0 <= plan.value <= 4.0


def test_prices_add_up_to_the_latency_of_a_path() -> None:
    """a does the first node, b the second; items arise on c."""
    links = {("c", "a"): Link(10.0, 1.0), ("a", "b"): Link(5.0, 2.0), ("b", "c"): Link(2.0, 3.0)}
    profile = chain_profile({"a": [1, 9], "b": [9, 2], "c": [9, 9]}, [10, 20, 30], overhead_s={"a": 0.25, "b": 0.5})
    chain = Chain.of(profile, fleet_of(*"abc", links=links, source="c"))
    prices = latency_prices(chain)
    assert prices.enter.tolist()[:2] == pytest.approx([1 + 10 / 10, 3 + 10 / 2])
    assert prices.stage.tolist() == [0.25, 0.5, 0.0]
    assert prices.nodes[0].tolist() == [0, 1, 10]
    assert prices.hand_over[0, 1].tolist() == pytest.approx([2 + 10 / 5, 2 + 20 / 5, 2.0])
    assert prices.last_nodes[1].tolist() == pytest.approx([0, 9, 11 + 30 / 2])
    assert prices.last_stage[1] == 3.0
    assert prices.last_stage[2] == 0.0


def test_replicas_do_not_shorten_the_way_of_one_item() -> None:
    profile = chain_profile({name: [1, 1] for name in "abc"}, 10)
    chain = Chain.of(profile, fleet_of(*"abc", links=TEN_PER_S), replicate=True)
    prices = latency_prices(chain)
    single, pair = 0, 1
    assert chain.ways[pair].replicas == 2
    assert prices.hand_over[single, pair, 1] == prices.hand_over[single, single, 1] == pytest.approx(2.0)


def test_memory_is_hard() -> None:
    profile = profile_of(chain_graph(2, sizes=0, weight_bytes=100), {"a": 1.0, "b": 2.0})
    plan = Latency().plan(profile, Fleet((Device("a", memory_bytes=100), Device("b", memory_bytes=100))))
    assert plan.value == 3.0
    with pytest.raises(InfeasibleError, match="MiB more on"):
        Latency().plan(profile, Fleet((Device("a", memory_bytes=99), Device("b", memory_bytes=199))))
