from dataclasses import replace
from itertools import pairwise
from time import perf_counter

import pytest

from multiedge.errors import ConfigError, PlanError
from multiedge.fleet import Device, Fleet, Link, Power
from multiedge.measurements import Measurements
from multiedge.plan import Stage
from multiedge.replanning.replan import replan
from multiedge.simulation.simulate import Load, simulate
from multiedge.trace import DeviceEvent, LinkEvent, Trace, tunnel
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, fork_graph
from tests.builders.plans import direct_plan, relay_plan
from tests.builders.profiles import profile_of

PROFILE = profile_of(chain_graph(4, sizes=100, weight_bytes=1000), {"a": 1.0, "b": 2.0, "c": 1.0}, overhead_s={"a": 0.5})
FLEET = Fleet(
    (Device("a", power=Power(1.0, 5.0)), Device("b"), Device("c")), {("a", "b"): Link(50.0, latency_s=3.0)}, source="a"
)


PLAN = relay_plan(PROFILE, FLEET, Stage.span("a", 0, 2), Stage.span("b", 2, 4))


def rate(found: Measurements) -> float:
    return len(found.items) / (found.stop_s - found.start_s)


def test_one_item_alone_takes_the_latency_of_the_estimate() -> None:
    found = simulate(PLAN, PROFILE, FLEET, load=Load(items=1))
    assert found.items[0].latency_s == pytest.approx(PLAN.estimate.latency_s)


def test_the_steady_rate_is_the_bound_of_the_estimate() -> None:
    found = simulate(PLAN, PROFILE, FLEET, load=Load(items=500, warmup=50))
    assert rate(found) == pytest.approx(PLAN.estimate.fps_bound, rel=1e-6)
    assert found.warmup_items == 50
    assert min(item.item for item in found.items) == 0


def test_a_link_can_be_the_bottleneck_and_latency_is_not() -> None:
    slow = replace(FLEET, links={("a", "b"): Link(5.0, latency_s=1000.0)})
    plan = relay_plan(PROFILE, slow, *PLAN.stages)
    assert plan.estimate.bottleneck == "link 'a' -> 'b'"
    found = simulate(plan, PROFILE, slow, load=Load(items=300, warmup=200))
    assert rate(found) == pytest.approx(plan.estimate.fps_bound, rel=1e-6)


def test_branches_and_replicas_reach_their_bound() -> None:
    profile = profile_of(fork_graph(nbytes=9), {"a": 1.0, "b": 3.0, "c": 3.0}, overhead_s={"a": 0.5})
    fleet = fleet_of("a", "b", "c")
    plan = direct_plan(profile, fleet, Stage("a", (0,)), Stage("b", (1,), ("c",)), Stage("a", (2, 3)))
    found = simulate(plan, profile, fleet, load=Load(items=400, warmup=100))
    assert rate(found) == pytest.approx(plan.estimate.fps_bound, rel=1e-6)
    assert {event.device for event in found.events if event.stage == 1} == {"b", "c"}


def test_single_stream_has_one_item_under_way() -> None:
    found = simulate(PLAN, PROFILE, FLEET, load=Load(items=5, in_flight=1))
    assert rate(found) == pytest.approx(1 / PLAN.estimate.latency_s)
    assert found.settings["scenario"] == "SingleStream"


def test_items_on_a_schedule_wait_when_they_come_too_fast() -> None:
    found = simulate(PLAN, PROFILE, FLEET, load=Load(items=20, interval_s=PLAN.estimate.bottleneck_s / 2))
    latencies = [item.latency_s for item in found.items]
    assert latencies == sorted(latencies)
    assert latencies[-1] > 2 * latencies[0]


def test_no_device_does_two_things_at_once() -> None:
    found = simulate(PLAN, PROFILE, FLEET, load=Load(items=20))
    for device in ("a", "b"):
        spans = sorted((e.start_s, e.stop_s) for e in found.events if e.kind == "compute" and e.device == device)
        assert all(before[1] <= after[0] + 1e-9 for before, after in pairwise(spans))


def test_a_straggler_slows_what_it_has_in_hand() -> None:
    trace = Trace((DeviceEvent(1.0, "a", "speed", 0.5),))
    found = simulate(PLAN, PROFILE, FLEET, trace, Load(items=1))
    first = next(event for event in found.events if event.kind == "compute")
    assert first.stop_s == pytest.approx(1.0 + 1.5 / 0.5)


def test_a_device_that_leaves_loses_its_item_and_resumes_on_return() -> None:
    trace = Trace((DeviceEvent(1.0, "a", "leave"), DeviceEvent(11.0, "a", "return")))
    found = simulate(PLAN, PROFILE, FLEET, trace, Load(items=1))
    assert found.items[0].done_s == pytest.approx(11.0 + PLAN.estimate.latency_s)
    (fault,) = found.faults
    assert (fault.device, fault.detected_s, fault.recovered_s) == ("a", 1.0, 11.0)


def test_items_that_never_complete_say_why() -> None:
    found = simulate(PLAN, PROFILE, FLEET, Trace((DeviceEvent(30.0, "b", "leave"),)), Load(items=50))
    lost = [item for item in found.items if item.error]
    assert 0 < len(lost) < 50
    assert lost[0].error == "never completed: 'b' left and did not return"


def test_a_tunnel_holds_messages_and_costs_its_length_at_most() -> None:
    trace = tunnel(FLEET, "a", enter_s=4.0, leave_s=24.0)
    calm, held = simulate(PLAN, PROFILE, FLEET, load=Load(items=10)), simulate(PLAN, PROFILE, FLEET, trace, Load(items=10))
    assert not any(item.error for item in held.items)
    assert calm.stop_s < held.stop_s <= calm.stop_s + 20.0 + 1e-9


def test_a_slower_link_takes_the_rest_of_the_message_at_its_new_rate() -> None:
    fleet = replace(FLEET, links={("a", "b"): Link(50.0)})
    plan = relay_plan(PROFILE, fleet, *PLAN.stages)
    found = simulate(plan, PROFILE, fleet, Trace((LinkEvent(3.5, ("a", "b"), bandwidth_bytes_per_s=10.0),)), Load(items=1))
    sent = next(event for event in found.events if event.kind == "transfer" and event.peer == "b")
    assert (sent.start_s, sent.stop_s) == pytest.approx((2.5, 3.5 + 50 / 10))


def test_the_adaptive_fleet_goes_on_where_the_static_one_stops() -> None:
    trace = Trace((DeviceEvent(20.0, "b", "leave"),))
    static = simulate(PLAN, PROFILE, FLEET, trace, Load(items=30))
    adaptive = simulate(PLAN, PROFILE, FLEET, trace, Load(items=30), replanner=replan, detect_s=0.5)
    assert any(item.error for item in static.items)
    assert not any(item.error for item in adaptive.items)
    assert {event.kind for event in adaptive.events} >= {"compute", "replan"}
    (fault,) = adaptive.faults
    assert fault.detected_s == 20.5
    assert fault.recovered_s is not None
    assert not any(event.device == "b" and event.start_s > 20 for event in adaptive.events)


def test_loading_the_new_plan_takes_time() -> None:
    fleet = replace(FLEET, links={("a", "b"): Link(50.0), ("a", "c"): Link(100.0), ("b", "c"): Link(100.0)})
    trace = Trace((DeviceEvent(20.0, "b", "leave"),))
    found = simulate(relay_plan(PROFILE, fleet, *PLAN.stages), PROFILE, fleet, trace, Load(items=30), replanner=replan)
    loads = [event for event in found.events if event.kind == "load"]
    assert loads
    for event in loads:
        assert event.seconds == pytest.approx(0.0 if event.device == "a" else event.nbytes / 100.0)


def test_energy_and_memory_are_those_of_the_model() -> None:
    found = simulate(PLAN, PROFILE, FLEET, load=Load(items=4))
    energy = {each.device: each for each in found.energy}
    assert energy["a"].joules == pytest.approx(1.0 * found.stop_s + 4.0 * 4 * 2.5)
    assert energy["b"].joules is None
    assert {each.device for each in found.memory} == {"a", "b"}
    assert all(each.peak_bytes is None and each.planned_bytes for each in found.memory)


def test_what_cannot_be_simulated_is_an_error() -> None:
    with pytest.raises(PlanError, match="in no stage"):
        simulate(replace(PLAN, stages=PLAN.stages[:1]), PROFILE, FLEET)
    with pytest.raises(ConfigError, match="device 'z' is not in"):
        simulate(PLAN, PROFILE, FLEET, Trace((DeviceEvent(0, "z", "leave"),)))
    with pytest.raises(ConfigError, match="items from 1"):
        Load(items=0)


def test_a_thousand_devices_and_ten_thousand_nodes_take_seconds() -> None:
    names = [f"d{i}" for i in range(1000)]
    profile = profile_of(chain_graph(10_000, sizes=100, weight_bytes=1000), dict.fromkeys(names, 0.01))
    fleet = fleet_of(*names, bandwidth_bytes_per_s=1e6)
    plan = relay_plan(profile, fleet, *(Stage.span(name, 10 * i, 10 * i + 10) for i, name in enumerate(names)))
    trace = Trace(tuple(DeviceEvent(i * 0.5, names[i], "speed", 0.5) for i in range(100)))
    start = perf_counter()
    found = simulate(plan, profile, fleet, trace, Load(items=50))
    assert perf_counter() - start < 20
    assert len(found.items) == 50
    assert not any(item.error for item in found.items)
