"""Which devices may be exchanged: the rule, what breaks it and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from multiedge.fleet import Fleet, Link, Power
from multiedge.planning.devices import exchangeable
from multiedge.profile import Profile
from tests.builders.fleets import fleet_of, with_device
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of

FLEET = fleet_of("a", "b", "hub", memory_bytes=100, bandwidth_bytes_per_s=10.0, latency_s=0.1, power=Power(1.0, 2.0))
PROFILE = profile_of(chain_graph(2), {"a": 1.0, "b": 1.0, "hub": 5.0}, overhead_s=0.5)
TOGETHER, APART = (("a", "b"), ("hub",)), (("a",), ("b",), ("hub",))


def test_devices_of_equal_costs_and_links_are_exchangeable() -> None:
    assert exchangeable(PROFILE, FLEET) == TOGETHER


@pytest.mark.parametrize(
    "values",
    [
        {"memory_bytes": 200},
        {"memory_bytes": None},
        {"runtime_bytes": 10},
        {"memory_bytes": 110, "runtime_bytes": 10},  # as much for stages, but another total in the estimate
        {"power": None},
        {"power": Power(1.0, 3.0)},
        {"joules_per_byte": 1e-6},
        {"bandwidth_bytes_per_s": 5.0},
        {"latency_s": 0.2},
    ],
)
def test_a_difference_that_a_plan_s_cost_shows_keeps_devices_apart(values: dict[str, Any]) -> None:
    assert exchangeable(PROFILE, with_device(FLEET, "b", **values)) == APART


@pytest.mark.parametrize(
    "values",
    [
        {"type": "gpu"},
        {"speed": 3.0},
        {"threads": 8},
        {"flops_per_s": 1e9},
        {"battery_j": 5.0},
        {"power": Power(1.0, 2.0, "data sheet")},
    ],
)
def test_what_has_no_effect_beyond_the_times_of_the_profile_does_not_matter(values: dict[str, Any]) -> None:
    assert exchangeable(PROFILE, with_device(FLEET, "b", **values)) == TOGETHER


@pytest.mark.parametrize(
    "profile",
    [PROFILE.with_seconds("b", np.array([1.0, 1.1]), "by hand"), replace(PROFILE, overhead_s={"a": 0.5, "b": 0.6, "hub": 0.5})],
)
def test_other_times_or_overheads_keep_devices_apart(profile: Profile) -> None:
    assert exchangeable(profile, FLEET) == APART


@pytest.mark.parametrize(
    ("links", "groups"),
    [
        ({("a", "hub"): Link(20.0)}, APART),
        ({("a", "hub"): Link(20.0), ("b", "hub"): Link(20.0)}, TOGETHER),
        ({("a", "hub"): Link(20.0), ("b", "hub"): Link(40.0, loss=0.5)}, TOGETHER),  # the same seconds per byte
        ({("a", "hub"): Link(20.0), ("b", "hub"): Link(20.0), ("hub", "b"): Link(30.0)}, APART),
        ({("a", "hub"): Link(10.0, 0.2)}, TOGETHER),  # as between the interfaces
        ({("a", "b"): Link(50.0)}, TOGETHER),
        ({("a", "b"): Link(50.0), ("b", "a"): Link(60.0)}, APART),
    ],
)
def test_declared_links_count_by_what_a_message_takes(links: dict[tuple[str, str], Link], groups: object) -> None:
    assert exchangeable(PROFILE, replace(FLEET, links=links)) == groups


def test_unequal_interfaces_do_not_matter_where_the_other_end_is_the_slower_one() -> None:
    fleet = with_device(FLEET, "b", bandwidth_bytes_per_s=20.0)
    slow_hub = with_device(fleet, "hub", bandwidth_bytes_per_s=1.0)
    assert exchangeable(PROFILE, slow_hub) == TOGETHER


def test_the_place_where_items_arise_stands_alone_and_the_others_stay_together() -> None:
    profile = profile_of(chain_graph(2), {"a": 1.0, "b": 1.0, "c": 1.0})
    fleet = fleet_of("a", "b", "c", source="a")
    assert exchangeable(profile, fleet) == (("a",), ("b", "c"))


def test_groups_keep_the_order_of_the_fleet() -> None:
    profile = profile_of(chain_graph(1), {"x1": 1.0, "y1": 2.0, "x2": 1.0, "y2": 2.0})
    assert exchangeable(profile, Fleet(fleet_of("x1", "y1", "x2", "y2").devices)) == (("x1", "x2"), ("y1", "y2"))
