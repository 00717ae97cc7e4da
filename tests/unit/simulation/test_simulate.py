import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from time import perf_counter, process_time

import psutil
import pytest

from multiedge.errors import ConfigError, PlanError
from multiedge.fleet import Device, Encoding, Fleet, Link, Power
from multiedge.measurements import Measurements
from multiedge.metrics import compute
from multiedge.metrics.validity import moved_stages
from multiedge.pipeline_cost import PipelineCost
from multiedge.plan import CALLER, Stage
from multiedge.replanning.replan import replan
from multiedge.simulation import record
from multiedge.simulation.simulate import Load, simulate
from multiedge.trace import DeviceEvent, LinkEvent, Trace, train, tunnel
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


def test_the_executors_own_cost_slows_stages_and_the_caller() -> None:
    own = PipelineCost(caller_s=1.0, caller_byte_s=0.0, worker_s=2.0, worker_byte_s=0.0, hop_s=0.0)
    profile = profile_of(chain_graph(2), {"a": 1.0, "b": 1.0}, pipeline=own)
    plan = relay_plan(profile, fleet_of("a", "b"), Stage.span("a", 0, 1), Stage.span("b", 1, 2))
    assert rate(simulate(plan, profile, fleet_of("a", "b"), load=Load(items=300))) == pytest.approx(1 / 3.0, rel=0.01)
    busy = replace(profile, pipeline=replace(own, caller_s=5.0))
    assert rate(simulate(plan, busy, fleet_of("a", "b"), load=Load(items=300))) == pytest.approx(1 / 5.0, rel=0.01)


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


def test_a_float16_link_is_busy_for_half_the_time() -> None:
    tensors = {name: replace(tensor, dtype="float32") for name, tensor in PROFILE.graph.tensors.items()}
    profile = replace(PROFILE, graph=replace(PROFILE.graph, tensors=tensors))
    rates = []
    for encoding in Encoding:
        slow = replace(FLEET, links={("a", "b"): Link(5.0, encoding=encoding)})
        plan = relay_plan(profile, slow, *PLAN.stages)
        rates.append(rate(simulate(plan, profile, slow, load=Load(items=300, warmup=200))))
        assert rates[-1] == pytest.approx(plan.estimate.fps_bound, rel=1e-6)
    assert rates == pytest.approx([rates[0], 2 * rates[0], rates[0]])


def test_branches_and_replicas_reach_their_bound() -> None:
    profile = profile_of(fork_graph(nbytes=9), {"a": 1.0, "b": 3.0, "c": 3.0}, overhead_s={"a": 0.5})
    fleet = fleet_of("a", "b", "c")
    plan = direct_plan(profile, fleet, Stage("a", (0,)), Stage("b", (1,), ("c",)), Stage("a", (2, 3)))
    found = simulate(plan, profile, fleet, load=Load(items=400, warmup=100))
    assert rate(found) == pytest.approx(plan.estimate.fps_bound, rel=1e-6)
    assert {event.device for event in found.events if event.kind == "compute" and event.stage == 1} == {"b", "c"}


def test_single_stream_has_one_item_under_way() -> None:
    found = simulate(PLAN, PROFILE, FLEET, load=Load(items=5, in_flight=1))
    assert rate(found) == pytest.approx(1 / PLAN.estimate.latency_s)
    assert found.settings["scenario"] == "SingleStream"


def test_items_on_a_schedule_wait_when_they_come_too_fast() -> None:
    found = simulate(PLAN, PROFILE, FLEET, load=Load(items=20, interval_s=PLAN.estimate.bottleneck_s / 2))
    latencies = [item.latency_s for item in found.items]
    assert latencies == sorted(latencies)
    assert latencies[-1] > 2 * latencies[0]


def test_no_device_does_two_things_at_the_same_time() -> None:
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


@pytest.mark.slow
def test_ten_minutes_of_traffic_on_a_thousand_stages_take_little_time_and_memory() -> None:
    names = [f"d{i}" for i in range(1000)]
    profile = profile_of(
        chain_graph(1000, sizes=100), {name: 0.5 + 0.4 * (7 * i % 1000) / 1000 for i, name in enumerate(names)}
    )
    fleet = fleet_of(*names, bandwidth_bytes_per_s=1e6)
    plan = relay_plan(profile, fleet, *(Stage.span(name, i, i + 1) for i, name in enumerate(names)))
    before_bytes, start_s = psutil.Process().memory_info().rss, process_time()
    found = simulate(plan, profile, fleet, load=Load(items=600, interval_s=1.0))
    assert process_time() - start_s < 6
    assert psutil.Process().memory_info().rss - before_bytes < 100e6
    assert len(found.events) + found.left_out_events == 600 * 1999
    assert compute(found, ("completed",))["completed"].value == 600


# A pipeline on paper: n0 on p (2 s), 10 bytes over a link of 10 bytes/s and 0.5 s, n1 on q (1 s); no source.

PQ = fleet_of("p", "q", links=Link(10.0, 0.5))
PAPER = profile_of(chain_graph(2, sizes=10), {"p": [2.0, 2.0], "q": [1.0, 1.0]})
PIPELINE = relay_plan(PAPER, PQ, Stage("p", (0,)), Stage("q", (1,)))


def spans(found: Measurements, kind: str) -> list[tuple[int, str, float, float]]:
    return [(event.item, event.device, event.start_s, event.stop_s) for event in found.events if event.kind == kind]


def test_every_event_of_two_items_on_paper() -> None:
    found = simulate(PIPELINE, PAPER, PQ, load=Load(items=2))
    assert spans(found, "compute") == [(0, "p", 0, 2), (1, "p", 2, 4), (0, "q", 3.5, 4.5), (1, "q", 5.5, 6.5)]
    assert spans(found, "transfer") == [(0, "p", 2, 3), (1, "p", 4, 5)]
    assert [(item.due_s, item.issued_s, item.done_s) for item in found.items] == [(0, 0, 4.5), (0, 0, 6.5)]
    assert (found.start_s, found.stop_s) == (0.0, 6.5)


@pytest.mark.parametrize(
    ("in_flight", "done", "scenario"),
    [
        pytest.param(1, [4.5, 9.0, 13.5], "SingleStream", id="one after another"),
        pytest.param(2, [4.5, 6.5, 9.0], "Offline", id="two under way: the third is issued when the first is done"),
        pytest.param(3, [4.5, 6.5, 8.5], "Offline", id="three keep p busy"),
        pytest.param(None, [4.5, 6.5, 8.5], "Offline", id="as many as fill it"),
    ],
)
def test_items_are_issued_while_there_is_room(in_flight: int | None, done: list[float], scenario: str) -> None:
    found = simulate(PIPELINE, PAPER, PQ, load=Load(items=3, in_flight=in_flight))
    assert [item.done_s for item in found.items] == done
    assert found.settings["scenario"] == scenario


@pytest.mark.parametrize(
    ("interval_s", "latencies"),
    [
        pytest.param(10.0, [4.5, 4.5, 4.5], id="each finds the pipeline idle"),
        pytest.param(2.0, [4.5, 4.5, 4.5], id="just as fast as p works"),
        pytest.param(1.0, [4.5, 5.5, 6.5], id="twice as fast: each waits a second more"),
    ],
)
def test_latency_counts_from_when_an_item_is_due(interval_s: float, latencies: list[float]) -> None:
    found = simulate(PIPELINE, PAPER, PQ, load=Load(items=3, interval_s=interval_s))
    assert [item.due_s for item in found.items] == [0.0, interval_s, 2 * interval_s]
    assert [item.latency_s for item in found.items] == latencies
    assert found.settings["scenario"] == "Server"


def test_an_item_that_is_due_waits_for_room_and_its_wait_counts() -> None:
    found = simulate(PIPELINE, PAPER, PQ, load=Load(items=2, interval_s=1.0, in_flight=1))
    assert [(item.due_s, item.issued_s, item.latency_s) for item in found.items] == [(0.0, 0.0, 4.5), (1.0, 4.5, 8.0)]


def test_warm_up_items_come_first_and_are_in_no_list() -> None:
    found = simulate(PIPELINE, PAPER, PQ, load=Load(items=2, warmup=3))
    assert [item.item for item in found.items] == [0, 1]
    assert min(event.item for event in found.events) == 0
    assert found.start_s == 4.5 + 2 * 2
    assert found.stop_s - found.start_s == 2 * 2.0
    assert found.warmup_items == 3


def test_replicas_take_items_in_turn() -> None:
    """n1 takes 6 s on each of three devices: together they keep up with p."""
    fleet = fleet_of("p", "q", "r", "s")
    profile = profile_of(chain_graph(2, sizes=0), {"p": 2.0, **dict.fromkeys("qrs", 6.0)})
    plan = relay_plan(profile, fleet, Stage("p", (0,)), Stage("q", (1,), ("r", "s")))
    found = simulate(plan, profile, fleet, load=Load(items=6))
    computed = [event for event in found.events if event.kind == "compute" and event.stage == 1]
    assert [(event.item, event.device) for event in computed] == list(enumerate("qrsqrs"))
    assert [item.done_s for item in found.items] == [8.0, 10.0, 12.0, 14.0, 16.0, 18.0]


def test_messages_of_several_items_queue_on_one_link_but_their_delays_overlap() -> None:
    """p is quick, the link carries 1 item per 10 s and each is 100 s under way."""
    slow = fleet_of("p", "q", links=Link(1.0, latency_s=100.0))
    profile = profile_of(chain_graph(2, sizes=10), {"p": 0.0, "q": 0.0})
    plan = relay_plan(profile, slow, Stage("p", (0,)), Stage("q", (1,)))
    found = simulate(plan, profile, slow, load=Load(items=3, in_flight=3))
    assert [item.done_s for item in found.items] == [110.0, 120.0, 130.0]


def test_nothing_takes_time_where_nothing_costs_any() -> None:
    profile, fleet = profile_of(chain_graph(2, sizes=0), dict.fromkeys("pq", 0.0)), fleet_of("p", "q")
    plan = relay_plan(profile, fleet, Stage("p", (0,)), Stage("q", (1,)))
    found = simulate(plan, profile, fleet, load=Load(items=5))
    assert [item.done_s for item in found.items] == [0.0] * 5
    assert all(each.joules is None for each in found.energy)


def test_input_and_results_use_the_links_of_the_source() -> None:
    home = fleet_of("p", "q", links={("q", "p"): Link(10.0, 0.5), ("p", "q"): Link(5.0)}, source="q")
    plan = relay_plan(PAPER, home, Stage("p", (0, 1)))
    found = simulate(plan, PAPER, home, load=Load(items=1))
    sent = [event for event in found.events if event.kind == "transfer"]
    assert [(event.stage, event.device, event.peer, event.start_s, event.stop_s) for event in sent] == [
        (0, "q", "p", 0.0, 1.0),
        (CALLER, "p", "q", 5.5, 7.5),
    ]
    assert found.items[0].done_s == plan.estimate.latency_s == 7.5


@pytest.mark.parametrize(
    ("events", "done"),
    [
        pytest.param([DeviceEvent(1.0, "p", "speed", 0.5)], 4.5 + 1, id="the second half of n0 at half speed"),
        pytest.param([DeviceEvent(9.0, "p", "speed", 0.5)], 4.5, id="too late to matter"),
        pytest.param([DeviceEvent(0.0, "q", "leave")], None, id="q is never there"),
        pytest.param([DeviceEvent(0.0, "q", "leave"), DeviceEvent(3.0, "q", "return")], 5.5, id="the message waits for q"),
        pytest.param([DeviceEvent(4.0, "q", "leave"), DeviceEvent(9.0, "q", "return")], 10.0, id="q begins again"),
        pytest.param([LinkEvent(2.5, ("p", "q"), 0.0), LinkEvent(7.5, ("p", "q"), 10.0)], 9.5, id="a link down for 5 s"),
        pytest.param([LinkEvent(2.5, ("p", "q"), 5.0)], 5.0, id="half the bytes at half the rate"),
        pytest.param([LinkEvent(2.5, ("p", "q"), latency_s=2.0)], 6.0, id="a longer delay"),
        pytest.param([DeviceEvent(1.0, "p", "battery", 0.0), DeviceEvent(2.0, "p", "return")], 6.5, id="an empty battery"),
        pytest.param([DeviceEvent(1.0, "p", "battery", 3.0)], 4.5, id="a low battery changes nothing yet"),
    ],
)
def test_what_a_trace_does_to_one_item(events: list[DeviceEvent | LinkEvent], done: float | None) -> None:
    found = simulate(PIPELINE, PAPER, PQ, Trace(tuple(events)), Load(items=1))
    if done is None:
        assert found.items[0].error == "never completed: 'q' left and did not return"
    else:
        assert (found.items[0].done_s, found.items[0].error) == (pytest.approx(done), "")


def test_a_link_that_stays_down_is_the_obstacle() -> None:
    found = simulate(PIPELINE, PAPER, PQ, Trace((LinkEvent(0.0, ("p", "q"), 0.0),)), Load(items=1))
    assert found.items[0].error == "never completed: a link stays down"


def test_a_fault_says_when_it_was_noticed_and_when_it_was_over() -> None:
    trace = Trace((DeviceEvent(1.0, "q", "leave"), DeviceEvent(8.0, "q", "return"), DeviceEvent(20.0, "p", "leave")))
    found = simulate(PIPELINE, PAPER, PQ, trace, Load(items=20), detect_s=0.25)
    assert [(fault.device, fault.detected_s, fault.recovered_s, fault.detail) for fault in found.faults] == [
        ("q", 1.25, 8.0, "returned"),
        ("p", 20.25, None, ""),
    ]


def test_without_any_plan_the_fleet_waits_and_says_so() -> None:
    """A node takes 140 B, both take 240 B: p cannot go on without q, which returns after 30 s."""
    small = fleet_of("p", "q", links=Link(10.0, 0.5), memory_bytes=150)
    profile = profile_of(chain_graph(2, sizes=10, weight_bytes=100), {"p": 2.0, "q": 1.0})
    plan = relay_plan(profile, small, Stage("p", (0,)), Stage("q", (1,)))
    trace = Trace((DeviceEvent(1.0, "q", "leave"), DeviceEvent(30.0, "q", "return")))
    found = simulate(plan, profile, small, trace, Load(items=3), replanner=replan)
    assert [item.error for item in found.items] == [""] * 3
    assert found.items[0].done_s == 30.0 + 1 + 0.5 + 1
    fault = next(fault for fault in found.faults if fault.kind == "no plan")
    assert (fault.detected_s, fault.recovered_s) == (1.0, None)
    assert "fits the memory" in fault.detail


@pytest.mark.parametrize(
    "values", [{"items": 0}, {"warmup": -1}, {"interval_s": -0.1}, {"in_flight": 0}], ids=lambda values: next(iter(values))
)
def test_a_load_that_makes_no_sense_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="load: expected items from 1, warmup from 0, interval_s from 0 and in_flight from 1"):
        Load(**values)


# n0 and n1 take 4 s on p, which leaves after 2 s for 100 s: it computes 2 s and then 4 s.
ALONE = Fleet((Device("p", power=Power(1.0, 11.0)),))
WHOLE = relay_plan(PAPER, ALONE, Stage("p", (0, 1)))
AWAY = Trace((DeviceEvent(2.0, "p", "leave"), DeviceEvent(102.0, "p", "return")))


def test_a_device_that_is_away_computes_and_draws_nothing() -> None:
    found = simulate(WHOLE, PAPER, ALONE, AWAY, Load(items=1))
    assert found.stop_s == 106.0
    assert spans(found, "compute") == [(0, "p", 0.0, 2.0), (0, "p", 102.0, 106.0)]
    assert found.busy_s("p") == 6.0
    assert found.energy[0].joules == 11.0 * 6
    assert found.energy[0].mean_w == 11.0 * 6 / 106


def test_a_device_that_is_away_at_the_end_draws_nothing_until_then() -> None:
    trace = Trace((*AWAY.events, DeviceEvent(104.0, "p", "leave"), LinkEvent(200.0, ("p", "q"), 1.0)))
    fleet = replace(ALONE, devices=(*ALONE.devices, Device("q")))
    found = simulate(WHOLE, PAPER, fleet, trace, Load(items=1))
    assert found.items[0].error == "never completed: 'p' left and did not return"
    assert found.stop_s == 200.0
    assert found.energy[0].joules == 11.0 * (2 + 2)


def test_energy_is_that_of_the_timed_window() -> None:
    """p computes all the time, in the window 2 items of 4 s."""
    found = simulate(WHOLE, PAPER, ALONE, load=Load(items=2, warmup=3))
    assert found.stop_s - found.start_s == 8.0
    assert found.energy[0].joules == 11.0 * 8
    assert found.energy[0].mean_w == 11.0


def test_an_item_that_went_on_elsewhere_is_not_computed_by_the_device_that_returns() -> None:
    trace = Trace((DeviceEvent(1.0, "p", "leave"), DeviceEvent(30.0, "p", "return"), DeviceEvent(31.0, "q", "speed", 1.0)))
    found = simulate(PIPELINE, PAPER, PQ, trace, Load(items=20, in_flight=1), replanner=replan)
    assert not any(item.error for item in found.items)
    computed = {
        (event.item, event.stage, event.device) for event in found.events if event.kind == "compute" and event.start_s > 1
    }
    assert (0, 0, "p") not in computed


def test_of_a_long_run_the_first_events_are_kept_and_totals_have_all(monkeypatch: pytest.MonkeyPatch) -> None:
    full = simulate(PLAN, PROFILE, FLEET, load=Load(items=200, warmup=7))
    assert full.left_out_events == 0
    monkeypatch.setattr(record, "MOST_EVENTS", 30)
    found = simulate(PLAN, PROFILE, FLEET, load=Load(items=200, warmup=7))
    assert found.events == full.events[: len(found.events)]
    assert len(found.events) == 30
    assert found.left_out_events == len(full.events) - 30
    assert (found.items, found.totals, found.energy) == (full.items, full.totals, full.energy)
    whole = replace(full, totals=())
    figures = ("fps", "fps_bound", "utilisation", "network_bytes", "energy_per_item_j")
    assert compute(found, figures) == compute(whole, figures)
    assert [found.busy_s(device) for device in found.devices] == [whole.busy_s(device) for device in whole.devices]


def test_a_new_plan_and_where_it_computes_are_kept_however_long_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MOST_EVENTS", 10)
    trace = Trace((DeviceEvent(200.0, "b", "leave"),))
    found = simulate(PLAN, PROFILE, FLEET, trace, Load(items=200), replanner=replan)
    assert sum(event.kind == "replan" for event in found.events) == 1
    assert [moved.stage for moved in moved_stages(found, PLAN)]
    assert len(found.events) < 30


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: Load(interval_s=float("nan")), "load: expected", id="an interval that is no number"),
        pytest.param(lambda: Load(interval_s=float("inf")), "load: expected", id="an interval without an end"),
        pytest.param(lambda: Load(seed=3), "load: a seed is that of random moments", id="a seed without an interval"),
        *(
            pytest.param(lambda event=event: simulate(PIPELINE, PAPER, PQ, Trace((event,)), Load(items=1)), message, id=message)
            for event, message in [
                (DeviceEvent(0.0, "q", "leave", 3.0), "value: expected none with 'leave', got 3.0; leave it out"),
                (DeviceEvent(0.0, "q", "return", 0.0), "value: expected none with 'return', got 0.0; leave it out"),
                (DeviceEvent(float("nan"), "q", "leave"), "at_s: expected seconds from 0, got nan"),
                (DeviceEvent(0.0, "q", "speed", float("nan")), "value: expected a speed factor above 0, got nan"),
                (DeviceEvent(0.0, "q", "battery", float("nan")), "value: expected joules left, 0 or more, got nan"),
                (LinkEvent(0.0, ("p", "q"), float("nan")), "bandwidth: expected 0 or more, got nan"),
                (LinkEvent(0.0, ("p", "q"), latency_s=float("nan")), "latency: expected seconds from 0, got nan"),
                (LinkEvent(0.0, ("p", "q"), latency_s=float("inf")), "latency: expected seconds from 0, got inf"),
            ]
        ),
        *(
            pytest.param(
                lambda make=make: simulate(PIPELINE, PAPER, PQ, make()), "at_s: expected seconds from 0, got nan", id=name
            )
            for name, make in [
                ("a tunnel entered at no time", lambda: tunnel(PQ, "p", enter_s=float("nan"), leave_s=2.0)),
                ("a train without a period", lambda: train(fleet_of("p", "q", "r"), period_s=float("nan"), stay_s=1.0)),
            ]
        ),
        *(
            pytest.param(
                lambda detect_s=detect_s: simulate(PIPELINE, PAPER, PQ, detect_s=detect_s),
                "detect_s: expected seconds from 0",
                id=f"detection after {detect_s} s",
            )
            for detect_s in (-1.0, float("nan"), float("inf"))
        ),
    ],
)
def test_values_that_make_no_sense_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        make()
