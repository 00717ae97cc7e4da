"""The smallest bottleneck: what can be one, how it is found, and the reasons of devices without work."""

from __future__ import annotations

import re
from itertools import pairwise
from math import inf

import numpy as np
import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet, Link
from multiedge.profile import Profile
from partitioners.engine import chain as chain_module
from partitioners.engine.chain import Chain
from partitioners.throughput import (
    Throughput,
    count_candidates,
    least_conceivable_s,
    list_candidates,
    reasons,
    smallest_bottleneck,
)
from tests.builders.cases import random_case
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.oracle import Oracle
from tests.builders.profiles import profile_of


def chain_profile(seconds: dict[str, list[float]], sizes: list[int] | int = 0, **values: object) -> Profile:
    return profile_of(chain_graph(len(next(iter(seconds.values()))), sizes=sizes), seconds, **values)


@pytest.mark.parametrize(
    ("seconds", "fleet", "sizes", "value", "counts"),
    [
        pytest.param({"a": [1, 2, 3]}, fleet_of("a"), 0, 6.0, [3], id="one device"),
        pytest.param({"a": [5]}, fleet_of("a"), 0, 5.0, [1], id="one node"),
        pytest.param({"a": [1, 2, 3], "b": [1, 2, 3]}, fleet_of("a", "b"), 0, 3.0, [2, 1], id="two equal devices"),
        pytest.param({"a": [1, 2, 3], "b": [1, 2, 3], "c": [1, 2, 3]}, fleet_of(*"abc"), 0, 3.0, [2, 1], id="two of three do"),
        pytest.param({"a": [4, 4, 4], "b": [2, 2, 2]}, fleet_of("a", "b"), 0, 4.0, None, id="the slow one takes one node"),
        pytest.param({"a": [1, 1, 9], "b": [9, 9, 1]}, fleet_of("a", "b"), 0, 2.0, [2, 1], id="each does what it does best"),
        pytest.param(
            {"a": [2, 2], "b": [2, 2]}, fleet_of("a", "b", links=Link(1.0)), [0, 3, 0], 3.0, [1, 1], id="the link sets it"
        ),
        pytest.param(
            {"a": [2, 2], "b": [2, 2]}, fleet_of("a", "b", links=Link(1.0)), [0, 5, 0], 4.0, [2], id="the link is too slow"
        ),
        pytest.param({"a": [0, 0], "b": [0, 0]}, fleet_of("a", "b"), 0, 0.0, [2], id="no time at all"),
        pytest.param({"a": [1e-9, 2e-9], "b": [1e-9, 2e-9]}, fleet_of("a", "b"), 0, 2e-9, [1, 1], id="nanoseconds"),
        pytest.param({"a": [1e6, 2e6], "b": [1e6, 2e6]}, fleet_of("a", "b"), 0, 2e6, [1, 1], id="weeks"),
    ],
)
def test_the_smallest_bottleneck_on_paper(
    seconds: dict[str, list[float]], fleet: Fleet, sizes: list[int] | int, value: float, counts: list[int] | None
) -> None:
    plan = Throughput().plan(chain_profile(seconds, sizes), fleet)
    assert plan.value == pytest.approx(value, rel=1e-9, abs=0)
    assert plan.lower_bound == plan.value
    assert plan.gap == 0
    assert plan.bound_scope == "contiguous plans"
    assert counts is None or [len(stage.nodes) for stage in plan.stages] == counts


def test_a_source_far_from_the_fast_device_keeps_the_work() -> None:
    """10 bytes to b take 10 s; on a the two nodes take 6 s."""
    profile = chain_profile({"a": [3, 3], "b": [1, 1]}, [10, 0, 0])
    assert Throughput().plan(profile, fleet_of("a", "b", links=Link(1.0), source="a")).value == 3.0
    assert Throughput().plan(profile, fleet_of("a", "b", links=Link(1.0))).value == 2.0


def test_latency_of_a_link_does_not_lower_the_rate() -> None:
    profile = chain_profile({"a": [2, 2], "b": [2, 2]}, 1)
    assert Throughput().plan(profile, fleet_of("a", "b", links=Link(inf, latency_s=1e6))).value == 2.0


def test_overhead_can_make_a_second_device_not_worth_it() -> None:
    seconds = {"a": [2.0, 2.0], "b": [2.0, 2.0]}
    assert len(Throughput().plan(chain_profile(seconds, overhead_s=1.9), fleet_of("a", "b")).stages) == 2
    assert Throughput().plan(chain_profile(seconds, overhead_s={"a": 0.0, "b": 2.1}), fleet_of("a", "b")).value == 4.0


def test_fused_nodes_stay_together() -> None:
    profile = profile_of(chain_graph(3), dict.fromkeys("ab", 1.0), fused={"t2"})
    assert [stage.nodes for stage in Throughput().plan(profile, fleet_of("a", "b")).stages] in (
        [(0,), (1, 2)],
        [(0, 1, 2)],
    )
    whole = profile_of(chain_graph(3), dict.fromkeys("ab", 1.0), fused={"t1", "t2"})
    assert [stage.nodes for stage in Throughput().plan(whole, fleet_of("a", "b")).stages] == [(0, 1, 2)]


def test_replicas_are_used_only_where_asked_for() -> None:
    profile, fleet = chain_profile({name: [1.0, 8.0] for name in "abc"}), fleet_of(*"abc")
    assert Throughput().plan(profile, fleet).value == 8.0
    plan = Throughput(replicate=True).plan(profile, fleet)
    assert plan.value == 3.0
    assert plan.bound_scope == "contiguous plans with replicas"
    assert sum(len(stage.devices) for stage in plan.stages) == 3


def test_memory_is_hard_and_the_error_helps() -> None:
    profile = profile_of(chain_graph(2, sizes=0, weight_bytes=1 << 20), dict.fromkeys("ab", 1.0))
    small = Fleet((Device("a", memory_bytes=1 << 20), Device("b", memory_bytes=(1 << 20) - 1)))
    with pytest.raises(InfeasibleError, match=r"0\.001 MiB more on 'b' would do"):
        Throughput().plan(profile, small)


def test_out_of_time_the_bound_is_what_was_refuted() -> None:
    chain = Chain.of(chain_profile({"a": [1, 2, 3, 4], "b": [4, 3, 2, 1]}), fleet_of("a", "b"))
    hasty, best = smallest_bottleneck(chain, deadline_s=-inf), smallest_bottleneck(chain)
    assert hasty.lower_bound_s < best.seconds <= hasty.seconds
    assert best.lower_bound_s == best.seconds == 3.0


@pytest.mark.parametrize("seed", range(40))
def test_every_bottleneck_is_among_the_candidates(seed: int) -> None:
    profile, fleet = random_case(seed)
    chain = Chain.of(profile, fleet)
    values = list_candidates(chain, -1.0, inf)
    assert (np.diff(values) > 0).all()
    for _, cost in Oracle(profile, fleet).contiguous():
        assert np.isclose(values, cost.bottleneck_s, rtol=1e-9, atol=0).any(), cost.bottleneck_s


@pytest.mark.parametrize("seed", range(10))
def test_candidates_are_counted_and_listed_between_two_values(seed: int) -> None:
    chain = Chain.of(*random_case(seed))
    values = list_candidates(chain, -1.0, inf)
    for low, high in pairwise(values[:: max(1, len(values) // 5)]):
        inside = list_candidates(chain, float(low), float(high))
        # Values within a rounding error of either end may be in or out.
        expected = values[(values > low * (1 + 1e-9)) & (values < high * (1 - 1e-9))]
        assert set(expected.tolist()) <= set(inside.tolist())
        assert all(low * (1 - 1e-9) <= value <= high * (1 + 1e-9) for value in inside)
        assert count_candidates(chain, float(low), float(high)) >= len(inside)


WITHIN = [
    pytest.param(inf, 2.0, ["a", "b", "c"], id="no bound: a stage on each"),
    pytest.param(26.0, 2.0, ["a", "b", "c"], id="a bound that it keeps"),
    pytest.param(20.0, 4.0, ["a", "b"], id="one hand-over of 10 s"),
    pytest.param(6.0, 6.0, ["a"], id="no hand-over"),
]


@pytest.mark.parametrize(("most_s", "value", "used"), WITHIN)
def test_throughput_within_a_latency(most_s: float, value: float, used: list[str]) -> None:
    """Three nodes of 2 s each on equal devices; a message takes 10 s to arrive and occupies its link for none."""
    profile = chain_profile({name: [2, 2, 2] for name in "abc"})
    fleet = fleet_of(*"abc", links=Link(inf, latency_s=10.0))
    plan = Throughput(max_latency_s=most_s).plan(profile, fleet)
    assert (plan.value, plan.gap) == (value, 0.0)
    assert len(plan.estimate.stages) == len(used)
    assert plan.scope.most_latency_s == (most_s if most_s < inf else None)


def test_a_latency_that_no_plan_keeps_is_refused_with_one_that_suffices() -> None:
    profile = chain_profile({"a": [1 / 3, 1 / 3]})
    with pytest.raises(InfeasibleError, match=r"within 500 ms was found: allow 666.667 ms$"):
        Throughput(max_latency_s=0.5).plan(profile, fleet_of("a"))
    assert Throughput(max_latency_s=0.666667).plan(profile, fleet_of("a")).stages


def test_on_a_large_fleet_the_latency_that_is_advised_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "MOST_CELLS", 40)
    profile = chain_profile({name: [speed, speed, speed] for name, speed in zip("abcd", (1.0, 1.5, 2.0, 2.5), strict=True)}, 1)
    fleet = fleet_of(*"abcd", links=Link(1.0))
    with pytest.raises(InfeasibleError, match="no proof that there is none") as error:
        Throughput(max_latency_s=0.5).plan(profile, fleet)
    advised = re.search(r"allow (\S+) ms", str(error.value))
    assert advised is not None
    assert Throughput(max_latency_s=float(advised[1]) / 1e3).plan(profile, fleet).stages


@pytest.mark.parametrize("latency_s", [0.0, -1.0, float("nan")])
def test_a_latency_that_nothing_keeps_is_no_bound(latency_s: float) -> None:
    with pytest.raises(ConfigError, match="max_latency_s: expected seconds, more than 0"):
        Throughput(max_latency_s=latency_s)


def test_the_reason_of_a_device_without_work_names_the_bound() -> None:
    profile = chain_profile({name: [2, 2] for name in "ab"})
    plan = Throughput(max_latency_s=5.0).plan(profile, fleet_of("a", "b", links=Link(inf, latency_s=10.0)))
    assert plan.left_out == {"b": "no plan within 5000 ms that uses it has a bottleneck below 4e+03 ms"}


@pytest.mark.parametrize("seed", range(20))
def test_no_plan_is_below_the_least_conceivable(seed: int) -> None:
    profile, fleet = random_case(seed)
    costs = Oracle(profile, fleet).contiguous_costs(replicas=True)
    least = least_conceivable_s(Chain.of(profile, fleet, replicate=True))
    assert all(least <= cost.bottleneck_s for cost in costs)


@pytest.mark.parametrize(
    ("device", "seconds", "links", "expected"),
    [
        pytest.param(Device("b", memory_bytes=1), 1.0, None, "its memory holds not even one node", id="memory"),
        pytest.param(Device("b"), 9.0, None, "its quickest node takes 9e+03 ms, the bottleneck is 2e+03 ms", id="speed"),
        pytest.param(
            Device("b"),
            1.0,
            Link(1.0),
            "the smallest cut takes 1e+04 ms on its fastest link, the bottleneck is 2e+03 ms",
            id="link",
        ),
        pytest.param(Device("b"), 1.0, None, "no plan that uses it has a bottleneck below 2e+03 ms", id="no better plan"),
    ],
)
def test_each_device_without_work_has_its_reason(device: Device, seconds: float, links: Link | None, expected: str) -> None:
    profile = chain_profile({"a": [1, 1], "b": [seconds, seconds]}, 10)
    chain = Chain.of(profile, fleet_of(Device("a"), device, links=links))
    assert reasons(chain, 2.0)["b"] == expected
