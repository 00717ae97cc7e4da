"""The cost model on a model small enough for pencil and paper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from multiedge.fleet import Device, Fleet, Link, Power
from multiedge.pipeline_cost import PipelineCost
from multiedge.plan import CALLER, Estimate, Stage, Transfer, direct_transfers
from multiedge.planning import cost, memory
from multiedge.planning.checks import violations
from multiedge.profile import Profile
from tests.builders.fleets import fleet_of, with_device
from tests.builders.graphs import chain_graph, fork_graph, graph_of
from tests.builders.plans import direct_plan, relay, relay_plan
from tests.builders.profiles import profile_of


def test_compute_and_transfer_overlap_so_the_busiest_sets_the_pace(profile, fleet):
    expected = cost.estimate(profile, fleet, *relay(profile, Stage.span("fast", 0, 2), Stage.span("slow", 2, 3)))
    assert [stage.compute_s for stage in expected.stages] == [3.0, 6.5]
    assert expected.bottleneck_s == 15.0
    assert expected.bottleneck == "link 'fast' -> 'slow'"
    assert expected.stages[0].transfer_s == 1.0 + 150 / 10
    assert expected.latency_s == 3.0 + 16.0 + 6.5
    assert expected.network_bytes == 150
    assert [stage.utilisation for stage in expected.stages] == [pytest.approx(0.2), pytest.approx(6.5 / 15)]


def test_energy_counts_idling_for_the_whole_item_and_bytes_sent(profile, fleet):
    expected = cost.estimate(profile, fleet, *relay(profile, Stage.span("fast", 0, 2), Stage.span("slow", 2, 3)))
    assert expected.energy_j == pytest.approx((1.0 * 15 + 10.0 * 3 + 0.01 * 150) + (2.0 * 15 + 3.0 * 6.5))


def test_energy_is_unknown_where_a_device_in_use_declares_no_watts(profile, fleet):
    silent = with_device(fleet, "fast", power=None)
    assert cost.estimate(profile, silent, *relay(profile, Stage.span("fast", 0, 3))).energy_j is None
    assert cost.estimate(profile, silent, *relay(profile, Stage.span("slow", 0, 3))).energy_j is not None


def test_replicas_share_the_items_and_their_links_the_bytes(profile, fleet):
    stages, moves = relay(profile, Stage.span("fast", 0, 2), Stage.span("slow", 2, 3, ("twin",)))
    expected = cost.estimate(profile, fleet, stages, moves)
    assert expected.bottleneck_s == 7.5
    assert expected.stages[1].utilisation == pytest.approx(6.5 / 2 / 7.5)
    assert expected.network_bytes == 150
    assert set(memory.memory_by_device(profile, fleet, stages, moves)) == {"fast", "slow", "twin"}


def test_items_travel_from_where_they_arise_and_results_back(profile, fleet):
    home = replace(fleet, source="slow")
    expected = cost.estimate(profile, home, *relay(profile, Stage.span("fast", 0, 3)))
    assert expected.latency_s == pytest.approx(1.0 + 10 / 10 + 6.0 + 1.0 + 5 / 10)
    assert expected.bottleneck == "device 'fast'"
    assert expected.network_bytes == 15


def test_direct_transfers_send_a_tensor_once_to_each_reader(profile):
    stages = (Stage.span("fast", 0, 1), Stage.span("slow", 1, 2), Stage.span("twin", 2, 3))
    assert direct_transfers(profile.graph, stages) == (
        Transfer(CALLER, 0, ("x",), 10),
        Transfer(0, 1, ("a",), 100),
        Transfer(0, 2, ("a",), 100),
        Transfer(1, 2, ("b",), 50),
        Transfer(2, CALLER, ("c",), 5),
    )


def test_violations_lists_all_errors(profile, fleet):
    stages = (Stage("phone", (2,)), Stage("slow", (0, 0, 9)), Stage("fast", ()))
    assert violations(profile, fleet, stages, ()) == [
        "stage 0: device 'phone' is not in fleet; known: fast, slow, twin",
        "node 0 'A' is in stage 1 and again in stage 1",
        "stage 1: node 9 does not exist; the model has nodes 0 to 2",
        "stage 2 on 'fast' has no nodes",
        "node 1 'B' is in no stage",
        "order broken: node 2 in stage 0 reads 'a', which stage 1 makes later",
    ]


def test_violations_tells_memory_needed_and_there(profile, fleet):
    tight = with_device(fleet, "fast", memory_bytes=1469)
    assert violations(profile, tight, *relay(profile, Stage.span("fast", 0, 3))) == [
        "device 'fast' needs 1.4 KiB and has 1.4 KiB; 1 B more would do"
    ]


# Boundary cases on a chain of two nodes of 1 s each: t0 -> n0 -> t1 -> n1 -> t2.

AB = fleet_of("a", "b", links=Link(10.0, 1.0))


def two_nodes(sizes: Any = 10, seconds: float = 1.0, **values: Any) -> Profile:
    return profile_of(chain_graph(2, sizes=sizes), dict.fromkeys("abc", seconds), **values)


def split(profile: Profile, fleet: Fleet, **replicas: tuple[str, ...]) -> Estimate:
    first, second = Stage("a", (0,), replicas.get("a", ())), Stage("b", (1,), replicas.get("b", ()))
    return relay_plan(profile, fleet, first, second).estimate


@pytest.mark.parametrize(
    ("profile", "fleet", "bottleneck_s", "latency_s"),
    [
        pytest.param(two_nodes(0), AB, 1.0, 1 + 1 + 1, id="no bytes: the latency of the link alone"),
        pytest.param(two_nodes(10), AB, 1.0, 1 + 2 + 1, id="1 s on the link, as busy as the devices"),
        pytest.param(two_nodes(11), AB, 1.1, 1 + 2.1 + 1, id="1.1 s on the link"),
        pytest.param(two_nodes(10), fleet_of("a", "b"), 1.0, 2.0, id="links of any bandwidth"),
        pytest.param(two_nodes(10, 0.0), AB, 1.0, 2.0, id="nodes that take no time"),
        pytest.param(two_nodes(0, 0.0), fleet_of("a", "b"), 0.0, 0.0, id="nothing takes time"),
        pytest.param(two_nodes(10), fleet_of("a", "b", links=Link(20.0, 1.0, loss=0.5)), 1.0, 4.0, id="half the messages lost"),
        pytest.param(
            two_nodes(10), fleet_of("a", "b", links=Link(10.0, 1.0, jitter_s=9.0)), 1.0, 4.0, id="jitter is not counted"
        ),
        pytest.param(
            two_nodes(10),
            fleet_of("a", "b", bandwidth_bytes_per_s=10.0, latency_s=0.5),
            1.0,
            4.0,
            id="interfaces: the slower rate, both latencies",
        ),
        pytest.param(two_nodes(10, 1e-9), AB, 1.0, 2 + 2e-9, id="nanoseconds beside seconds"),
        pytest.param(two_nodes(10, 1e9), AB, 1e9, 2e9 + 2, id="years"),
    ],
)
def test_times_of_a_split_chain(profile: Profile, fleet: Fleet, bottleneck_s: float, latency_s: float) -> None:
    found = split(profile, fleet)
    assert found.bottleneck_s == pytest.approx(bottleneck_s, rel=1e-12, abs=0)
    assert found.latency_s == pytest.approx(latency_s, rel=1e-12, abs=0)
    assert found.fps_bound == (pytest.approx(1 / bottleneck_s) if bottleneck_s else float("inf"))


def test_of_equally_busy_ones_the_device_that_comes_first_is_named() -> None:
    assert split(two_nodes(10), AB).bottleneck == "device 'a'"
    assert split(two_nodes(11), AB).bottleneck == "link 'a' -> 'b'"
    assert split(two_nodes(0, 0.0), AB).bottleneck == "device 'a'"
    assert [stage.utilisation for stage in split(two_nodes(0, 0.0), AB).stages] == [0.0, 0.0]


def test_a_source_in_the_fleet_is_paid_for_both_ways() -> None:
    """c feeds: 10 bytes to a at 5 bytes/s, 10 bytes from b at 2 bytes/s."""
    links = {("a", "b"): Link(10.0, 1.0), ("c", "a"): Link(5.0), ("b", "c"): Link(2.0, 0.25)}
    found = split(two_nodes(10), fleet_of(*"abc", links=links, source="c"))
    assert (found.bottleneck, found.bottleneck_s) == ("link 'b' -> 'c'", 5.0)
    assert found.latency_s == pytest.approx(2 + 1 + 2 + 1 + 0.25 + 5)
    assert found.network_bytes == 30
    assert found.stages[1].transfer_s == pytest.approx(0.25 + 5)


def test_a_link_declared_one_way_holds_for_both() -> None:
    there, back = (fleet_of("a", "b", links={pair: Link(10.0, 1.0)}) for pair in (("a", "b"), ("b", "a")))
    assert split(two_nodes(), there) == split(two_nodes(), back)


def test_two_transfers_over_one_link_add_up() -> None:
    """a sends h to the second stage and again, for the same items, p to the fourth: 20 bytes per item over a -> b."""
    graph = graph_of("h: x", "q: h", "p: h", "y: p q")
    profile = profile_of(graph, dict.fromkeys("ab", 1.0))
    stages = Stage("a", (0,)), Stage("b", (1,)), Stage("a", (2,)), Stage("b", (3,))
    found = direct_plan(profile, fleet_of("a", "b", links=Link(5.0)), *stages).estimate
    assert (found.bottleneck, found.bottleneck_s) == ("link 'a' -> 'b'", 4.0)


def test_stages_of_one_device_wait_for_each_other() -> None:
    """Both branches on b: 1 s for the head, 1 s each, 1 s for the join; on b and c they overlap."""
    profile = profile_of(fork_graph(2, 1, nbytes=0), dict.fromkeys("abc", 1.0))
    for last, expected in (("b", 4.0), ("c", 3.0)):
        stages = Stage("a", (0,)), Stage("b", (1,)), Stage(last, (2,)), Stage("a", (3,))
        assert direct_plan(profile, fleet_of(*"abc"), *stages).estimate.latency_s == expected


@pytest.mark.parametrize(
    ("replicas", "bottleneck_s", "network_bytes"),
    [
        pytest.param({}, 4.0, 10, id="none"),
        pytest.param({"b": ("c",)}, 2.0, 10, id="two of the second: half the items each, half the bytes on each link"),
        pytest.param({"b": ("c", "d")}, 4 / 3, 10, id="three of the second: the link from a carries a third"),
    ],
)
def test_replicas_share_the_items(replicas: dict[str, tuple[str, ...]], bottleneck_s: float, network_bytes: int) -> None:
    profile = profile_of(chain_graph(2, sizes=10), {"a": [1, 1], **{name: [4.0, 4.0] for name in "bcd"}})
    found = split(profile, fleet_of(*"abcd", links=Link(10.0)), **replicas)
    assert found.bottleneck_s == pytest.approx(bottleneck_s)
    assert found.network_bytes == network_bytes
    assert found.latency_s == 1 + 1 + 4


def test_unlike_replicas_are_as_slow_as_the_slowest() -> None:
    profile = profile_of(chain_graph(1), {"a": 1.0, "b": 3.0})
    found = relay_plan(profile, fleet_of("a", "b"), Stage("a", (0,), ("b",))).estimate
    assert found.stages[0].compute_s == 3.0
    assert found.bottleneck_s == 1.5


@pytest.mark.parametrize(
    ("power", "joules"),
    [
        pytest.param((Power(0, 0), Power(0, 0)), 0.0, id="no watts"),
        pytest.param((Power(2, 5), Power(1, 4)), (5 * 1 + 2 * 3) + (4 * 4), id="a idles 3 of 4 s, b never"),
        pytest.param((Power(5, 5), Power(0, 1)), 5 * 4 + 1 * 4, id="a draws the same idle and busy"),
        pytest.param((None, Power(1, 4)), None, id="one is not known"),
    ],
)
def test_energy_is_idle_and_busy_watts_over_the_time_of_an_item(power: tuple[Power | None, ...], joules: float | None) -> None:
    fleet = Fleet(tuple(Device(name, power=each) for name, each in zip("ab", power, strict=True)))
    found = split(profile_of(chain_graph(2), {"a": 1.0, "b": 4.0}), fleet)
    assert found.energy_j == (None if joules is None else pytest.approx(joules))


@pytest.mark.parametrize(
    ("objective", "energy_j", "expected"),
    [
        ("throughput", 3.0, 1.0),
        ("latency", 3.0, 2.0),
        ("energy", 3.0, 3.0),
        ("energy", None, float("inf")),
        ("energy", 0.0, 0.0),
    ],
)
def test_the_value_of_each_objective(objective: str, energy_j: float | None, expected: float) -> None:
    assert cost.objective_value(objective, Estimate((), 1.0, "", 2.0, energy_j, 0)) == expected


def test_a_plan_keeps_its_proof_and_the_model_it_is_for() -> None:
    profile = profile_of(chain_graph(1, model_hash="h1"), {"a": 2.0})
    moves = direct_transfers(profile.graph, [Stage("a", (0,))])
    plan = cost.make_plan("s", "latency", profile, fleet_of("a"), [Stage("a", (0,))], moves, lower_bound=1.0, notes=("n",))
    assert (plan.value, plan.gap, plan.model_hash, plan.notes) == (2.0, 0.5, "h1", ("n",))


OWN = PipelineCost(caller_s=1.0, caller_byte_s=0.1, worker_s=2.0, worker_byte_s=0.01, hop_s=3.0)


def test_the_executors_own_cost_is_expected_and_lowers_no_bound(profile: Profile, fleet: Fleet) -> None:
    """Of 'slow' c returns 5 bytes and b and a enter: 6.5 s, and 2 s and 155 bytes of messages."""
    placed = relay(profile, Stage.span("fast", 0, 2), Stage.span("slow", 2, 3))
    quick = replace(fleet, links={})
    without, expected = (cost.estimate(each, quick, *placed) for each in (profile, replace(profile, pipeline=OWN)))
    assert (without.expected_s, without.fps_expected, without.expected_latency_s) == (None, None, None)
    assert replace(expected, pipeline=None, expected_s=None, expected_latency_s=None) == without
    assert expected.bottleneck_s == 6.5
    assert expected.expected_s == pytest.approx(6.5 + 2.0 + 1.55)
    assert expected.expected_latency_s == pytest.approx(without.latency_s + 3 * 3.0 + 0.01 * (160 + 155))


def test_the_caller_may_be_what_limits_the_expected_rate(profile: Profile, fleet: Fleet) -> None:
    slow_caller = replace(profile, pipeline=replace(OWN, caller_s=50.0))
    expected = cost.estimate(slow_caller, replace(fleet, links={}), *relay(profile, Stage.span("fast", 0, 3)))
    assert expected.expected_s == pytest.approx(50.0 + 0.1 * 15)
