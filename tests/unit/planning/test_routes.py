"""Estimates for executors that send tensors between stages by way of the caller."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.fleet import Device, Fleet, Link
from multiedge.graph import Node
from multiedge.pipeline_cost import PipelineCost
from multiedge.plan import Stage, direct_transfers
from multiedge.planning import cost
from multiedge.planning.routes import routed
from tests.builders.graphs import graph_of
from tests.builders.profiles import profile_of

GRAPH = graph_of(
    Node("A", "Op", ("x",), ("a",)),
    Node("B", "Op", ("a",), ("b",)),
    Node("C", "Op", ("b", "a"), ("c",)),
    tensors={"x": 10, "a": 100, "b": 50, "c": 5},
    parameters={},
)
PROFILE = profile_of(GRAPH, {name: [1.0, 2.0, 3.0] for name in ("d0", "d1", "d2", "home")})
STAGES = tuple(Stage.span(f"d{number}", number, number + 1) for number in range(3))
ALL = [(0, 1), (0, 2), (1, 2)]


def fleet(source="home"):
    devices = tuple(Device(name) for name in ("d0", "d1", "d2", "home"))
    return Fleet(devices, {(name, "home"): Link(10.0, 1.0) for name in ("d0", "d1", "d2")}, source=source)


def plan(devices):
    return cost.make_plan("by hand", "throughput", PROFILE, devices, STAGES, direct_transfers(GRAPH, STAGES))


def test_a_plan_of_which_nothing_goes_by_the_caller_is_unchanged():
    direct = plan(fleet())
    assert routed(direct, PROFILE, fleet(), ()) is direct


def test_what_the_executor_takes_can_be_another_than_the_plan_was_made_for():
    cheap, dear = PipelineCost(0.0, 0.0, 0.5, 0.0, 0.0), PipelineCost(0.0, 0.0, 2.0, 0.0, 0.0)
    made = cost.make_plan(
        "by hand", "throughput", replace(PROFILE, pipeline=cheap), fleet(), STAGES, direct_transfers(GRAPH, STAGES)
    )
    routes = routed(made, replace(PROFILE, pipeline=cheap), fleet(), (), dear)
    assert routes.estimate.expected_s - made.estimate.expected_s == pytest.approx(1.5)
    assert routes.estimate.bottleneck_s == made.estimate.bottleneck_s


def test_the_caller_s_links_carry_what_stages_send_to_each_other():
    direct, hub = plan(fleet()).estimate, routed(plan(fleet()), PROFILE, fleet(), ALL).estimate
    assert direct.bottleneck == "device 'd2'"
    # a is sent to d1 and d2, b to d2; d2 has (100 + 50) bytes on its link.
    assert (hub.bottleneck, hub.bottleneck_s) == ("link 'home' -> 'd2'", 15.0)
    # x; a there once and to two stages; b there and on; c.
    assert hub.network_bytes == 10 + 3 * 100 + 2 * 50 + 5
    assert hub.source.sent_bytes == 10 + 2 * 100 + 50


def test_an_item_alone_takes_both_links():
    hub = routed(plan(fleet()), PROFILE, fleet(), [(1, 2)]).estimate
    direct = plan(fleet()).estimate
    assert hub.latency_s - direct.latency_s == pytest.approx(2 * (1 + 50 / 10))


def test_links_of_a_caller_without_a_device_cost_nothing():
    hub = routed(plan(fleet(source=None)), PROFILE, fleet(source=None), ALL).estimate
    assert (hub.bottleneck_s, hub.network_bytes) == (3.0, 0)


def test_the_memory_of_stages_does_not_depend_on_the_route():
    direct = plan(fleet())
    assert routed(direct, PROFILE, fleet(), ALL).estimate.memory == direct.estimate.memory
