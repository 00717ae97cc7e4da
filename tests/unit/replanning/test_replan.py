from dataclasses import replace
from time import perf_counter

import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet, Link
from multiedge.plan import Plan, Stage, direct_transfers
from multiedge.planning import cost
from multiedge.planning.checks import violations
from multiedge.planning.loading import bytes_to_load
from multiedge.profile import Profile
from multiedge.replanning.replan import Change, Step, replan
from partitioners.throughput import Throughput
from tests.builders.fleets import fleet_of, with_device, with_devices
from tests.builders.graphs import chain_graph, fork_graph
from tests.builders.plans import direct_plan, relay_plan
from tests.builders.profiles import profile_of

MIB = 1 << 20


def profile_on(fleet: Fleet, count: int = 12) -> Profile:
    graph = chain_graph(count, sizes=1000, weight_bytes=MIB)
    return profile_of(graph, {device.name: 0.01 / (device.speed or 1.0) for device in fleet.devices})


FLEET = fleet_of(*"abcd", speed=1.0, bandwidth_bytes_per_s=1e6)
PROFILE = profile_on(FLEET)
RUNNING: Plan = Throughput().plan(PROFILE, FLEET.without("d"))


def test_nothing_changed_keeps_the_plan() -> None:
    again = replan(RUNNING, PROFILE, FLEET.without("d"))
    assert again.plan.stages == RUNNING.stages
    assert (again.moved_bytes, again.changed) == (0, False)


def test_a_lost_device_is_replaced_by_an_idle_one_and_only_its_stage_moves() -> None:
    lost = RUNNING.stages[1]
    again = replan(RUNNING, PROFILE, FLEET.without(lost.device))
    assert again.plan.value == pytest.approx(RUNNING.value)
    assert again.moved_bytes == len(lost.nodes) * MIB
    assert (again.step.change, again.step.devices) == (Change.MOVED, ("d",))
    assert again.reason.startswith(f"moved the lost stage to 'd' after '{lost.device}' left")
    kept = [stage for stage in RUNNING.stages if stage != lost]
    assert set(kept) < set(again.plan.stages)


def test_repairs_keep_fused_nodes_whole() -> None:
    fused = replace(PROFILE, fused=frozenset({"t2", "t4", "t6", "t8", "t10"}))
    running: Plan = Throughput().plan(fused, FLEET.without("d"))
    left = FLEET.without(running.stages[1].device, "d")
    for profile, fleet in ((fused, left), (fused.with_speed({"a": 0.5}), FLEET.without("d"))):
        again = replan(running, profile, fleet)
        ends = [stage.nodes[-1] + 1 for stage in again.plan.stages]
        assert all(profile.open_boundaries[end] for end in ends)


def test_without_a_spare_the_neighbours_share_and_keep_what_they_hold() -> None:
    lost = RUNNING.stages[1]
    again = replan(RUNNING, PROFILE, FLEET.without(lost.device, "d"))
    assert again.moved_bytes == len(lost.nodes) * MIB
    assert again.plan.value == pytest.approx(0.06)
    assert again.step.change is Change.DIVIDED
    assert violations(PROFILE, FLEET, again.plan.stages, again.plan.transfers) == []


def test_a_small_loss_is_tolerated_and_a_large_one_is_not() -> None:
    slower = PROFILE.with_speed({RUNNING.stages[0].device: 0.97})
    assert not replan(RUNNING, slower, FLEET.without("d")).changed
    straggler = PROFILE.with_speed({RUNNING.stages[0].device: 0.4})
    again = replan(RUNNING, straggler, FLEET.without("d"))
    assert again.changed
    assert again.plan.value < cost.estimate(straggler, FLEET, RUNNING.stages, RUNNING.transfers).bottleneck_s


def test_least_bytes_are_moved_among_plans_as_good() -> None:
    straggler = PROFILE.with_speed({RUNNING.stages[0].device: 0.5})
    careful = replan(RUNNING, straggler, FLEET.without("d"), tolerance=0.5)
    strict = replan(RUNNING, straggler, FLEET.without("d"), tolerance=0.0)
    assert careful.moved_bytes <= strict.moved_bytes
    assert strict.plan.value <= careful.plan.value <= strict.plan.value * 1.5 + 1e-9


def test_a_slower_link_moves_the_cut() -> None:
    a, b = RUNNING.stages[0].device, RUNNING.stages[1].device
    slow = FLEET.without("d").with_link(a, b, Link(1000.0))
    again = replan(RUNNING, PROFILE, slow)
    assert again.plan.value < cost.estimate(PROFILE, slow, RUNNING.stages, RUNNING.transfers).bottleneck_s


def test_a_device_with_a_low_battery_takes_no_part() -> None:
    name = RUNNING.stages[0].device
    again = replan(RUNNING, PROFILE, with_device(FLEET, name, battery_j=5.0), low_battery_j=10.0)
    assert name not in {stage.device for stage in again.plan.stages}
    with pytest.raises(ConfigError, match="every device's battery"):
        replan(RUNNING, PROFILE, with_devices(FLEET, battery_j=0.0))


def test_nothing_fits_is_an_error() -> None:
    small = replace(FLEET, devices=(Device("a", memory_bytes=2 * MIB),))
    with pytest.raises(InfeasibleError):
        replan(RUNNING, PROFILE, small)


def test_moved_bytes_count_parameters_that_are_new_to_a_device() -> None:
    shifted = tuple(reversed([replace(s, device=t.device) for s, t in zip(RUNNING.stages, RUNNING.stages[::-1], strict=True)]))
    assert bytes_to_load(PROFILE.graph, RUNNING.stages, RUNNING.stages) == {}
    assert sum(bytes_to_load(PROFILE.graph, RUNNING.stages, shifted).values()) == 8 * MIB


def test_five_hundred_nodes_on_eight_devices_take_less_than_a_second() -> None:
    fleet = Fleet(tuple(Device(f"d{i}", speed=1.0 + 0.3 * i, bandwidth_bytes_per_s=1e7) for i in range(8)))
    profile = profile_on(fleet, 500)
    running = Throughput().plan(profile, fleet)
    start = perf_counter()
    again = replan(running, profile, fleet.without(running.stages[3].device))
    seconds = perf_counter() - start
    assert again.changed
    # The goal is one second; a shared machine gets some room.
    assert seconds < 3.0


def test_a_replica_that_has_left_is_dropped_and_nothing_moves() -> None:
    profile = profile_on(FLEET, 2)
    running = relay_plan(profile, FLEET, Stage("a", (0,)), Stage("b", (1,), ("c", "d")))
    again = replan(running, profile, FLEET.without("c"), tolerance=9.0)
    assert again.moved_bytes == 0
    assert [stage.devices for stage in again.plan.stages] == [("a",), ("b", "d")]
    headless = replan(running, profile, FLEET.without("b"), tolerance=9.0)
    assert [stage.devices for stage in headless.plan.stages] == [("a",), ("c", "d")]


def test_plans_that_send_directly_stay_direct() -> None:
    profile = profile_of(fork_graph(2, 1, nbytes=10), dict.fromkeys("abcd", 1.0))
    running = direct_plan(profile, FLEET, Stage("a", (0,)), Stage("b", (1,)), Stage("a", (2, 3)))
    again = replan(running, profile, FLEET.without("b"), tolerance=9.0)
    assert again.plan.transfers == direct_transfers(profile.graph, again.plan.stages)


def test_a_source_whose_battery_is_low_feeds_no_longer() -> None:
    fed = replace(with_device(FLEET, "d", battery_j=1.0), source="d")
    again = replan(RUNNING, PROFILE, fed, low_battery_j=2.0)
    assert "d" not in {stage.device for stage in again.plan.stages}


def test_a_strategy_of_ones_own_is_asked_for_the_best() -> None:
    asked: list[tuple[str, ...]] = []

    class Mine:
        def plan(self, profile: Profile, fleet: Fleet) -> Plan:
            asked.append(fleet.names)
            return Throughput().plan(profile, fleet)

    replan(RUNNING, PROFILE, FLEET.without("c"), strategy=Mine())
    assert asked == [("a", "b", "d")]


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Step(Change.KEPT), "kept the running plan"),
        (Step(Change.SHIFTED, ("a", "b"), 4), "moved 4 nodes between 'a' and 'b'"),
        (Step(Change.MOVED, ("d",)), "moved the lost stage to 'd'"),
        (Step(Change.DIVIDED, ("a", "c")), "divided the lost stage between 'a' and 'c'"),
    ],
)
def test_a_step_is_put_into_words_where_it_is_shown(step: Step, text: str) -> None:
    assert str(step) == text
