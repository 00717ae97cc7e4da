import math
from itertools import islice, pairwise, permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multiedge.fleet import Fleet, Link
from multiedge.plan import Plan, Stage, direct_transfers
from multiedge.planning import cost
from multiedge.profile import Profile
from multiedge.replanning.replan import replan
from multiedge.simulation.simulate import Load, simulate
from multiedge.trace import DeviceEvent, LinkEvent, Trace
from partitioners.engine.dag import build_dag
from partitioners.engine.staging import widest_stages
from tests.builders.dags import contiguous, instances, one_stage_per_device
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.plans import paths_plan
from tests.builders.profiles import profile_of

CAREFUL = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def some_plan(profile: Profile, fleet: Fleet, number: int) -> Plan:
    """A chain, a graph cut into a stage per device, or interleaved stages."""
    if number % 3 == 2:
        dag = build_dag(profile, fleet)
        stages = widest_stages(dag, fleet, tuple((number // (3 + group)) % len(fleet.names) for group in range(len(dag))))
        placed = (stages, direct_transfers(profile.graph, stages))
    else:
        plans = (contiguous, one_stage_per_device)[number % 3](profile, fleet)
        placed = list(islice(plans, number % 40 + 1))[-1]
    return cost.make_plan("random", "throughput", profile, fleet, *placed)


@settings(CAREFUL, max_examples=40)
@given(instances(limited=False), st.integers(0, 1000))
def test_the_steady_rate_is_the_bound_and_one_item_takes_the_latency(instance: tuple[Profile, Fleet], number: int) -> None:
    profile, fleet = instance
    plan = some_plan(profile, fleet, number)
    if number % 3 == 0 and fleet.source is None:
        # One message per link: where several share one, the estimate lets them overlap and the simulator does not.
        alone = simulate(plan, profile, fleet, load=Load(items=3, in_flight=1))
        assert alone.items[2].latency_s == pytest.approx(plan.estimate.latency_s)
    if plan.estimate.bottleneck_s == 0:
        return
    # Away from both ends, where the first and the last items have links for themselves. Where messages share a link they
    # take turns in a pattern of several items, and a window that begins and ends within it is off by one item at most.
    found = simulate(plan, profile, fleet, load=Load(items=1240))
    window_s = found.items[1000].done_s - found.items[160].done_s
    tolerance = 1e-6 if has_one_message_per_link(plan, fleet) else 1 / 840
    assert 840 / window_s == pytest.approx(plan.estimate.fps_bound, rel=tolerance)


def has_one_message_per_link(plan: Plan, fleet: Fleet) -> bool:
    ends = [cost.link_between(fleet, plan.stages, move)[:2] for move in plan.transfers]
    return len(ends) == len(set(ends))


@st.composite
def two_paths(draw: st.DrawFn) -> tuple[Profile, Fleet, Plan]:
    """A chain on four unlike devices, of which two paths share some or none; each device has nodes of its own in each path."""
    names, count = ("a", "b", "c", "d"), draw(st.integers(2, 6))
    seconds = st.floats(0.1, 5.0)
    times = {name: draw(st.lists(seconds, min_size=count, max_size=count)) for name in names}
    profile = profile_of(chain_graph(count, sizes=draw(st.sampled_from([0, 10, 100]))), times)
    links = {pair: Link(draw(st.floats(20.0, 1000.0)), draw(st.floats(0.0, 2.0))) for pair in permutations(names, 2)}
    fleet = fleet_of(*names, links=links, source=draw(st.sampled_from([None, *names])))

    def path() -> tuple[float, list[Stage]]:
        devices = draw(st.permutations(names))[: draw(st.integers(1, min(3, count)))]
        cuts = draw(st.lists(st.integers(1, count - 1), min_size=len(devices) - 1, max_size=len(devices) - 1, unique=True))
        ends = pairwise([0, *sorted(cuts), count])
        return draw(st.floats(0.2, 5.0)), [Stage.span(name, *span) for name, span in zip(devices, ends, strict=True)]

    return profile, fleet, paths_plan(profile, fleet, path(), path())


@settings(CAREFUL, max_examples=15)
@given(two_paths())
def test_the_steady_rate_of_two_paths_through_unlike_devices_is_the_bound(drawn: tuple[Profile, Fleet, Plan]) -> None:
    profile, fleet, plan = drawn
    found = simulate(plan, profile, fleet, load=Load(items=2400))
    done_s = sorted(item.done_s for item in found.items)
    # Until the items that wait are those of the slowest path, items of the others are complete sooner than their share says.
    assert 840 / (done_s[2240] - done_s[1400]) == pytest.approx(plan.estimate.fps_bound, rel=0.015)
    assert not any(item.error for item in found.items)


events = st.one_of(
    st.builds(lambda at_s, event: (at_s, event, None), st.integers(0, 60), st.sampled_from(["leave", "return"])),
    st.builds(lambda at_s, value: (at_s, "speed", value), st.integers(0, 60), st.sampled_from([0.25, 1.0, 3.0])),
    st.builds(lambda at_s, value: (at_s, "link", value), st.integers(0, 60), st.sampled_from([0.0, 0.5, 4.0])),
)


@CAREFUL
@given(instances(limited=False, least_devices=2), st.integers(0, 1000), st.lists(events, max_size=6), st.booleans())
def test_under_any_trace_every_item_is_answered_once_or_says_why(
    instance: tuple[Profile, Fleet], number: int, drawn: list[tuple[int, str, float | None]], adaptive: bool
) -> None:
    profile, fleet = instance
    plan = some_plan(profile, fleet, number)
    first, second = fleet.names[0], fleet.names[1]
    trace = Trace(
        tuple(
            LinkEvent(at_s, (first, second), bandwidth_bytes_per_s=value)
            if kind == "link"
            else DeviceEvent(at_s, first, kind, value)
            for at_s, kind, value in drawn
        )
    )
    found = simulate(plan, profile, fleet, trace, Load(items=12), replanner=replan if adaptive else None, detect_s=0.5)
    assert [item.item for item in found.items] == list(range(12))
    assert all(item.error or (math.isfinite(item.done_s) and item.done_s >= item.issued_s) for item in found.items)
    if trace.state_at(math.inf, fleet).absent == frozenset() and not any(kind == "link" for _, kind, _ in drawn):
        assert not any(item.error for item in found.items)
