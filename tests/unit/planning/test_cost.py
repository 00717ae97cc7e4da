"""The cost model on a model small enough for pencil and paper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from multiedge.fleet import Device, Fleet, Link, Power
from multiedge.graph import Node
from multiedge.pipeline_cost import PipelineCost
from multiedge.plan import CALLER, DeviceMemory, Estimate, Stage, Transfer, direct_transfers, relay_transfers
from multiedge.planning import cost
from multiedge.planning.checks import violations
from multiedge.profile import MemoryUse, Profile
from tests.builders.fleets import fleet_of, with_device
from tests.builders.graphs import chain_graph, fork_graph, graph_of
from tests.builders.plans import direct_plan, relay_plan
from tests.builders.profiles import profile_of


@pytest.fixture
def profile() -> Profile:
    """x(10) -> A -> a(100) -> B -> b(50) -> C -> c(5), C reads a again; A and C share parameter w(1000), B has v(300)."""
    graph = graph_of(
        Node("A", "Op", ("x", "w"), ("a",)),
        Node("B", "Op", ("a", "v"), ("b",)),
        Node("C", "Op", ("b", "a", "w"), ("c",)),
        tensors={"x": 10, "a": 100, "b": 50, "c": 5},
        parameters={"w": 1000, "v": 300},
    )
    seconds = {"fast": [1.0, 2.0, 3.0], "slow": [2.0, 4.0, 6.0], "twin": [2.0, 4.0, 6.0]}
    return profile_of(graph, seconds, overhead_s={"slow": 0.5})


@pytest.fixture
def fleet() -> Fleet:
    devices = (
        Device("fast", memory_bytes=5000, power=Power(1.0, 11.0), joules_per_byte=0.01),
        Device("slow", memory_bytes=5000, power=Power(2.0, 5.0)),
        Device("twin", memory_bytes=5000, power=Power(2.0, 5.0)),
    )
    return Fleet(devices, {("fast", "slow"): Link(10.0, 1.0), ("fast", "twin"): Link(10.0, 1.0)})


def relay(profile: Profile, *stages: Stage):
    return stages, relay_transfers(profile.graph, stages, profile.cut_bytes.tolist())


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


def test_memory_is_shared_parameters_once_plus_peak_plus_buffers(profile, fleet):
    stages, moves = relay(profile, Stage.span("fast", 0, 3))
    assert cost.memory_by_device(profile, fleet, stages, moves) == {"fast": 1300 + 155 + (10 + 5)}
    stages, moves = relay(profile, Stage.span("fast", 0, 1), Stage.span("slow", 1, 3))
    assert cost.memory_by_device(profile, fleet, stages, moves) == {
        "fast": 1000 + 110 + (10 + 100),
        "slow": 1300 + 155 + (100 + 5),
    }


def test_memory_adds_the_runtime_once_per_device(profile, fleet):
    roomy = with_device(fleet, "fast", runtime_bytes=777)
    stages = (Stage.span("fast", 0, 1), Stage.span("slow", 1, 2), Stage.span("fast", 2, 3))
    moves = direct_transfers(profile.graph, stages)
    separate = [
        cost.stage_memory_bytes(profile, stages[i], [m for m in moves if m.target == i], [m for m in moves if m.source == i])
        for i in (0, 2)
    ]
    assert cost.memory_by_device(profile, roomy, stages, moves)["fast"] == 777 + sum(separate)


def test_replicas_share_the_items_and_their_links_the_bytes(profile, fleet):
    stages, moves = relay(profile, Stage.span("fast", 0, 2), Stage.span("slow", 2, 3, ("twin",)))
    expected = cost.estimate(profile, fleet, stages, moves)
    assert expected.bottleneck_s == 7.5
    assert expected.stages[1].utilisation == pytest.approx(6.5 / 2 / 7.5)
    assert expected.network_bytes == 150
    assert set(cost.memory_by_device(profile, fleet, stages, moves)) == {"fast", "slow", "twin"}


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


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        pytest.param(MemoryUse(), 1300 + 155 + 15, id="the least that any worker takes"),
        pytest.param(MemoryUse(working_copies=2), 1300 + 2 * 155 + 15, id="an arena of two copies"),
        pytest.param(MemoryUse(buffered_items=5), 1300 + 155 + 5 * 15, id="five slots of each transfer"),
        pytest.param(MemoryUse(packing_copies={"Op": 3}), 1300 + 3 * 1000, id="the peak is while the largest is packed"),
        pytest.param(MemoryUse(folded={"Op": "Op"}), 1300 + 300, id="B, which only C reads, has two versions while loading"),
        pytest.param(MemoryUse(folded={"Op": "Other"}), 1300 + 155 + 15, id="what is not folded is there once"),
        pytest.param(MemoryUse(packing_copies={"Other": 3}), 1300 + 155 + 15, id="operators whose weights stay as they are"),
    ],
)
def test_memory_is_the_larger_peak_of_loading_and_running(profile, fleet, use: MemoryUse, expected: int) -> None:
    stages, moves = relay(profile, Stage.span("fast", 0, 3))
    assert cost.memory_by_device(replace(profile, memory_use=use), fleet, stages, moves) == {"fast": expected}


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


@pytest.mark.parametrize(
    ("copies", "more"),
    [
        pytest.param({}, 0, id="none"),
        pytest.param({"MatMul": 1}, 700, id="all weights of the larger body, shared ones once"),
        pytest.param({"MatMul": 1, "Conv": 2}, 1600, id="by operator"),
    ],
)
def test_the_weights_of_a_body_have_copies_until_all_of_it_is_packed(copies: dict[str, int], more: int) -> None:
    bodies = ({"MatMul": ("x", "v", "w"), "Gemm": ("u",)}, {"MatMul": ("v",), "Conv": ("u", "w")})
    node = Node("branch", "If", ("x",), ("y",), captures=("v", "w", "u"), bodies=bodies)
    parameters = {"v": 300, "w": 400, "u": 250}
    profile = profile_of(graph_of(node, tensors={"x": 10, "y": 10}, parameters=parameters), {"a": 1.0})
    stages, moves = relay(replace(profile, memory_use=MemoryUse(body_copies=copies)), Stage.span("a", 0, 1))
    needed = cost.memory_by_device(replace(profile, memory_use=MemoryUse(body_copies=copies)), fleet_of("a"), stages, moves)
    assert needed == {"a": 950 + max(20 + 20, more)}


def test_a_device_holds_its_runtime_once_whatever_the_number_of_its_stages(profile: Profile, fleet: Fleet) -> None:
    large = with_device(fleet, "fast", runtime_bytes=700, memory_margin=0.1)
    stages = (Stage("fast", (0,)), Stage("slow", (1,), ("twin",)), Stage("fast", (2,)))
    expected = cost.estimate(profile, large, *relay(profile, *stages))
    first, other, last = (stage.memory_bytes for stage in expected.stages)
    assert expected.planned_bytes == {"fast": first + last - 700, "slow": other, "twin": other}
    assert expected.planned_bytes == cost.memory_by_device(profile, large, *relay(profile, *stages))
    assert expected.memory[0] == DeviceMemory("fast", first + last - 700, 5000, 0.1)


def test_the_bytes_of_a_stage_are_kept_for_the_last_stages_only(profile: Profile) -> None:
    enters, leaves = [Transfer(CALLER, 0, ("x",), 10)], [Transfer(0, 1, ("a",), 100)]
    first = Stage("fast", (0,))
    assert cost.stage_memory_bytes(profile, first, enters, leaves) == cost.stage_memory_bytes(
        profile, replace(first, device="slow"), enters, leaves
    )
    assert len(profile.recent_stages) == 1
    for number in range(2 * cost.RECENT_STAGES):
        cost.stage_memory_bytes(profile, first, [Transfer(CALLER, 0, (f"unused{number}",), 0)], leaves)
    assert len(profile.recent_stages) == cost.RECENT_STAGES


def test_what_only_passes_through_a_stage_counts_in_its_bytes(profile: Profile) -> None:
    """x(10) stays beside a(100) and b(50) where a later stage reads it, and goes after A where none does."""
    enters, both = [Transfer(CALLER, 0, ("x",), 10)], Stage("fast", (0, 1))
    without = cost.stage_memory_bytes(profile, both, enters, [Transfer(0, 1, ("b",), 60)])
    assert cost.stage_memory_bytes(profile, both, enters, [Transfer(0, 1, ("x", "b"), 60)]) == without + 10
