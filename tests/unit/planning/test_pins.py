"""Plans with the first stage, the last one or both on a device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.errors import ConfigError, InfeasibleError, PlanError
from multiedge.fleet import Fleet, Link
from multiedge.formats.plan import plan_from_json, plan_to_json
from multiedge.graph import Graph
from multiedge.plan import CALLER, Plan, Stage
from multiedge.planning.pins import AGAIN, Pins, first_nodes, last_nodes, pinned_profile, plan_pinned
from multiedge.profile import Profile
from multiedge.replanning.replan import replan
from multiedge.run import plan_model
from partitioners.latency import Latency
from tests.builders.fleets import fleet_of, with_device
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.plans import relay_plan, spans
from tests.builders.profiles import profile_of

FAST = Link(1000.0)
CHAIN = profile_of(chain_graph(5, sizes=1, weight_bytes=100), {"phone": 10.0, "desk": 1.0, "tablet": 1.0})
FLEET = fleet_of("phone", "desk", "tablet", links=FAST, source="phone")


@pytest.mark.parametrize(
    ("graph", "first", "last"),
    [
        (chain_graph(3), {0}, {2}),
        (graph_of("c:", "a: x c", "b: a"), {0, 1}, {2}),
        (graph_of("a: x", "b: a", "c: b y", inputs=("x", "y")), {0, 2}, {2}),
        (graph_of("a: x", "b: a", "c: b", outputs=("a", "b")), {0}, {0, 1, 2}),
        (graph_of("a:", "b: a", inputs=()), {0}, {1}),
    ],
    ids=["chain", "a constant comes first", "a second input is read late", "results are made early", "no inputs"],
)
def test_what_comes_first_and_last(graph: Graph, first: set[int], last: set[int]) -> None:
    assert (first_nodes(graph), last_nodes(graph)) == (first, last)


@pytest.mark.parametrize(
    ("pins", "devices"),
    [
        (Pins("phone"), ["phone", "desk"]),
        (Pins("", "phone"), ["desk", "phone"]),
        (Pins("phone", "phone"), ["phone", "desk", "phone"]),
        (Pins("tablet", "desk"), ["tablet", "desk"]),
    ],
)
def test_the_least_of_the_model_is_on_a_slow_device_that_must_have_an_end(pins: Pins, devices: list[str]) -> None:
    plan = plan_model(CHAIN, FLEET, "latency", first_on=pins.first_on, last_on=pins.last_on)
    assert [stage.device for stage in plan.stages] == devices
    assert plan.gap == pytest.approx(0.0)
    assert all(AGAIN not in text for text in (*plan.left_out, str(plan.scope)))


def test_inputs_are_sent_to_that_device_alone_and_results_come_from_it() -> None:
    plan = plan_model(CHAIN, FLEET, "latency", first_on="phone", last_on="phone")
    ends = {(move.source, move.target) for move in plan.transfers if CALLER in (move.source, move.target)}
    assert ends == {(CALLER, 0), (2, CALLER)}


def test_the_scope_says_so_and_stays_in_the_file() -> None:
    plan = plan_model(CHAIN, FLEET, "throughput", first_on="phone", last_on="desk")
    assert str(plan.scope) == "contiguous plans with the first stage on 'phone' and with the last stage on 'desk'"
    assert plan_from_json(plan_to_json(plan)).scope == plan.scope


def test_without_room_on_the_device_the_end_that_is_meant_is_named() -> None:
    small = with_device(FLEET, "phone", memory_bytes=50)
    with pytest.raises(InfeasibleError, match=r"^first stage on 'phone': "):
        plan_model(CHAIN, small, "latency", first_on="phone")


def test_two_stages_that_do_not_fit_together_are_not_taken_for_two_devices() -> None:
    """Either end fits on the phone, and both do not."""
    small = with_device(FLEET, "phone", memory_bytes=150)
    with pytest.raises(InfeasibleError, match="first stage on 'phone' and last stage on 'phone'"):
        plan_model(CHAIN, small, "latency", first_on="phone", last_on="phone")
    assert plan_model(CHAIN, small, "latency", first_on="phone").stages[0].device == "phone"


def test_a_rate_that_one_device_with_both_ends_does_not_keep_is_refused() -> None:
    """Two devices would keep 1 item in 10 s, the one takes 20 s for both ends."""
    with pytest.raises(InfeasibleError):
        plan_model(CHAIN, FLEET, "latency", first_on="phone", last_on="phone", min_fps=0.09)
    assert plan_model(CHAIN, FLEET, "latency", first_on="phone", last_on="phone", min_fps=0.05).estimate.bottleneck_s == 20.0


def test_a_strategy_that_cannot_keep_stages_on_a_device_is_refused_with_those_that_can() -> None:
    with pytest.raises(ConfigError) as caught:
        plan_model(CHAIN, FLEET, "equal_flops", first_on="phone")
    assert str(caught.value) == (
        "first_on, last_on: strategy 'equal_flops' cannot keep stages on a device; use 'throughput', 'latency', 'energy',"
        " 'exact', 'branches', 'single' or 'brute_force'"
    )


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="device 'phon' is not in fleet; did you mean 'phone'"):
        plan_model(CHAIN, FLEET, "latency", first_on="phon")


def test_a_plan_that_does_not_keep_the_pins_is_an_error() -> None:
    def elsewhere(profile: Profile, fleet: Fleet) -> Plan:
        return relay_plan(CHAIN, fleet, *spans(("desk", 5)))

    with pytest.raises(PlanError, match="first nodes are on device 'desk', not on 'phone'"):
        plan_pinned(elsewhere, CHAIN, FLEET, Pins("phone"))


def test_a_name_that_stands_for_the_second_half_must_be_free() -> None:
    fleet = fleet_of("phone", f"phone{AGAIN}", links=FAST)
    profile = profile_of(chain_graph(3), dict.fromkeys(fleet.names, 1.0))
    with pytest.raises(ConfigError, match=r"expected no device of the name 'phone \(again\)'"):
        plan_pinned(Latency().plan, profile, fleet, Pins("phone", "phone"))


def test_a_new_plan_for_a_changed_fleet_keeps_the_ends_where_they_were() -> None:
    plan = plan_model(CHAIN, FLEET, "latency", first_on="phone")
    other = replan(plan, pinned_profile(CHAIN, Pins("phone")), FLEET.without("desk")).plan
    assert [stage.device for stage in other.stages] == ["phone", "tablet"]
    with pytest.raises(InfeasibleError):
        replan(plan, pinned_profile(CHAIN, Pins("phone")), replace(FLEET, source=None).without("phone"))


def test_devices_with_equal_times_share_the_times_of_a_pinned_profile() -> None:
    equal = replace(CHAIN, seconds={**CHAIN.seconds, "tablet": CHAIN.seconds["desk"]})
    pinned = pinned_profile(equal, Pins("phone"))
    assert pinned.seconds["desk"] is pinned.seconds["tablet"]
    assert pinned.span_matrix_s("desk") is pinned.span_matrix_s("tablet")


def test_pins_find_what_is_elsewhere() -> None:
    stages = [Stage("phone", (0, 1)), Stage("desk", (2, 3, 4))]
    assert Pins("phone", "desk").violations(CHAIN.graph, stages) == []
    assert Pins("desk", "phone").violations(CHAIN.graph, stages) == [
        "first nodes are on device 'phone', not on 'desk'",
        "last nodes are on device 'desk', not on 'phone'",
    ]
