import pytest

from multiedge.errors import ConfigError
from multiedge.fleet import Device, Fleet, Link
from multiedge.trace import DOWN_BYTES_PER_S, DeviceEvent, FleetState, LinkEvent, Trace, train, tunnel

FLEET = Fleet((Device("car", speed=1.0, bandwidth_bytes_per_s=10.0), Device("roadside", speed=4.0), Device("cloud")))


def test_events_are_sorted_by_time() -> None:
    trace = Trace((DeviceEvent(5, "car", "leave"), DeviceEvent(1, "cloud", "leave")))
    assert [event.at_s for event in trace.events] == [1, 5]
    assert trace.duration_s == 5


def test_a_device_leaves_and_returns() -> None:
    trace = Trace((DeviceEvent(1, "cloud", "leave"), DeviceEvent(3, "cloud", "return")))
    assert trace.state_at(0.5, FLEET).fleet(FLEET).names == ("car", "roadside", "cloud")
    assert trace.state_at(1, FLEET).fleet(FLEET).names == ("car", "roadside")
    assert trace.state_at(3, FLEET).fleet(FLEET).names == ("car", "roadside", "cloud")


def test_a_link_changes_both_ways_and_keeps_what_is_not_named() -> None:
    fleet = FLEET.with_link("car", "cloud", Link(100.0, 0.2))
    now = FleetState().after(LinkEvent(0, ("cloud", "car"), bandwidth_bytes_per_s=50.0), fleet).fleet(fleet)
    assert now.link("car", "cloud") == now.link("cloud", "car") == Link(50.0, 0.2)


def test_bandwidth_zero_is_down_and_costs_stay_finite() -> None:
    state = FleetState().after(LinkEvent(0, ("car", "cloud"), bandwidth_bytes_per_s=0.0), FLEET)
    assert state.is_down("cloud", "car")
    assert not state.is_down("car", "roadside")
    assert state.fleet(FLEET).link("car", "cloud").occupancy_s(1) == pytest.approx(1 / DOWN_BYTES_PER_S)


def test_speed_and_battery_reach_the_device() -> None:
    state = FleetState()
    for event in (DeviceEvent(0, "roadside", "speed", 0.5), DeviceEvent(0, "car", "battery", 20.0)):
        state = state.after(event, FLEET)
    fleet = state.fleet(FLEET)
    assert fleet.device("roadside").speed == 2.0
    assert fleet.device("car").battery_j == 20.0


def test_an_empty_battery_is_a_device_that_has_left() -> None:
    state = FleetState().after(DeviceEvent(0, "car", "battery", 0.0), FLEET)
    assert state.fleet(FLEET).names == ("roadside", "cloud")


def test_no_device_left_is_an_error() -> None:
    state = FleetState(absent=frozenset(FLEET.names))
    with pytest.raises(ConfigError, match="every device has left"):
        state.fleet(FLEET)


@pytest.mark.parametrize(
    ("event", "finding"),
    [
        (DeviceEvent(0, "bike", "leave"), "device 'bike' is not in fleet"),
        (DeviceEvent(0, "car", "explode"), "expected one of leave, return, speed, battery, got 'explode'"),
        (DeviceEvent(0, "car", "speed"), "expected a speed factor above 0, got None"),
        (DeviceEvent(0, "car", "battery", -1.0), "expected joules left"),
        (DeviceEvent(-1, "car", "leave"), "expected seconds from 0, got -1"),
        (LinkEvent(0, ("car", "car")), "a link needs two devices"),
        (LinkEvent(0, ("car", "cloud"), bandwidth_bytes_per_s=-2.0), "bandwidth: expected 0 or more"),
    ],
)
def test_violations_name_what_is_wrong(event: DeviceEvent | LinkEvent, finding: str) -> None:
    (wrong,) = Trace((event,)).violations(FLEET)
    assert finding in wrong


def test_tunnel_takes_every_link_of_the_device_down_and_back() -> None:
    trace = tunnel(FLEET, "car", enter_s=10, leave_s=20)
    assert trace.violations(FLEET) == []
    inside, after = trace.state_at(15, FLEET), trace.state_at(20, FLEET)
    assert inside.is_down("car", "cloud")
    assert inside.is_down("roadside", "car")
    assert not inside.is_down("roadside", "cloud")
    assert after.fleet(FLEET).link("car", "cloud") == FLEET.link("car", "cloud")


def test_train_reaches_one_trackside_device_at_a_time() -> None:
    trace = train(FLEET, period_s=10, stay_s=8, laps=2)
    assert trace.violations(FLEET) == []
    reach = [trace.state_at(at_s, FLEET).fleet(FLEET).names for at_s in (1, 9, 11, 21, 31)]
    assert reach == [("car", "roadside"), ("car",), ("car", "cloud"), ("car", "roadside"), ("car", "cloud")]


def test_the_story_of_a_run_tells_what_it_reached_and_what_not():
    events = (DeviceEvent(1.0, "a", "leave"), LinkEvent(2.0, ("a", "b"), 0.0), DeviceEvent(9.0, "a", "return"))
    assert Trace(events, "day").story(3.0) == [
        "   1.000 s  day: a: leave",
        "   2.000 s  day: link a - b, down",
        "   3.000 s  the end, before 1 of 3 events of 'day'; run more items",
    ]
    assert len(Trace(events, "day").story(9.0)) == 3


@pytest.mark.parametrize(
    ("events", "absent", "battery_j", "speed_factor"),
    [
        pytest.param([], set(), {}, {}, id="nothing"),
        pytest.param([("leave", None), ("return", None)], set(), {}, {}, id="away and back"),
        pytest.param([("return", None)], set(), {}, {}, id="back without having left"),
        pytest.param([("speed", 0.5), ("speed", 2.0)], set(), {}, {"car": 2.0}, id="the last speed counts"),
        pytest.param([("speed", 0.5), ("speed", 1.0)], set(), {}, {"car": 1.0}, id="back to normal"),
        pytest.param([("battery", 5.0), ("battery", 2.0)], set(), {"car": 2.0}, {}, id="a battery that runs down"),
        pytest.param([("battery", 0.0), ("return", None)], set(), {"car": 0.0}, {}, id="empty, then back"),
        pytest.param([("leave", None), ("battery", 3.0)], {"car"}, {"car": 3.0}, {}, id="a battery does not bring it back"),
    ],
)
def test_states_follow_one_another(
    events: list[tuple[str, float | None]], absent: set[str], battery_j: dict[str, float], speed_factor: dict[str, float]
) -> None:
    state = FleetState()
    for name, value in events:
        state = state.after(DeviceEvent(0, "car", name, value), FLEET)
    assert (state.absent, state.battery_j, state.speed_factor) == (absent, battery_j, speed_factor)


def test_events_at_the_same_time_keep_their_order() -> None:
    trace = Trace((DeviceEvent(1, "car", "leave"), DeviceEvent(1, "car", "return"), DeviceEvent(0, "cloud", "leave")))
    assert trace.state_at(1, FLEET).absent == {"cloud"}
    assert trace.state_at(0.999, FLEET).absent == {"cloud"}
    assert trace.devices == {"car", "cloud"}


def test_an_empty_trace_lasts_no_time() -> None:
    assert Trace().duration_s == 0
    assert Trace().story(5.0) == []
    assert Trace().state_at(5.0, FLEET) == FleetState()


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(LinkEvent(0, ("car", "cloud"), 5.0), Link(5.0, 0.25), id="bandwidth"),
        pytest.param(LinkEvent(0, ("car", "cloud"), latency_s=9.0), Link(100.0, 9.0), id="latency"),
        pytest.param(LinkEvent(0, ("car", "cloud"), 5.0, 9.0), Link(5.0, 9.0), id="both"),
        pytest.param(LinkEvent(0, ("car", "cloud")), Link(100.0, 0.25), id="neither"),
        pytest.param(LinkEvent(0, ("car", "cloud"), 0.0), Link(DOWN_BYTES_PER_S, 0.25), id="down"),
    ],
)
def test_a_link_event_changes_what_it_names(event: LinkEvent, expected: Link) -> None:
    fleet = FLEET.with_link("car", "cloud", Link(100.0, 0.25))
    assert FleetState().after(event, fleet).fleet(fleet).link("cloud", "car") == expected


def test_the_two_directions_of_a_link_keep_their_own_other_values() -> None:
    uneven = Fleet(FLEET.devices, {("car", "cloud"): Link(100.0, 1.0), ("cloud", "car"): Link(50.0, 2.0)})
    now = FleetState().after(LinkEvent(0, ("car", "cloud"), bandwidth_bytes_per_s=7.0), uneven).fleet(uneven)
    assert (now.link("car", "cloud"), now.link("cloud", "car")) == (Link(7.0, 1.0), Link(7.0, 2.0))


@pytest.mark.parametrize("is_declared_both_ways", [True, False])
def test_a_link_that_changes_one_way_keeps_the_other_way(is_declared_both_ways: bool) -> None:
    back = {("cloud", "car"): Link(100.0, 1.0)} if is_declared_both_ways else {}
    fleet = Fleet(FLEET.devices, {("car", "cloud"): Link(100.0, 1.0), **back})
    event = LinkEvent(0, ("car", "cloud"), latency_s=2.0, one_way=True)
    now = FleetState().after(event, fleet).fleet(fleet)
    assert (now.link("car", "cloud"), now.link("cloud", "car")) == (Link(100.0, 2.0), Link(100.0, 1.0))


def test_a_source_that_has_left_is_no_source() -> None:
    fed = Fleet(FLEET.devices, source="car")
    assert FleetState(absent=frozenset({"car"})).fleet(fed).source is None
    assert FleetState(absent=frozenset({"cloud"})).fleet(fed).source == "car"


def test_figures_that_a_device_does_not_state_stay_unstated() -> None:
    state = FleetState(speed_factor={"cloud": 0.5})
    assert state.fleet(FLEET).device("cloud").speed is None
    stated = Fleet((Device("cloud", flops_per_s=10.0, memory_bytes_per_s=6.0),))
    slow = state.fleet(stated).device("cloud")
    assert (slow.flops_per_s, slow.memory_bytes_per_s) == (5.0, 3.0)


@pytest.mark.parametrize("at_s", [float("nan"), float("inf"), -0.1])
def test_a_time_that_is_none_is_a_violation(at_s: float) -> None:
    (wrong,) = Trace((DeviceEvent(at_s, "car", "leave"),)).violations(FLEET)
    assert f"events[0]: at_s: expected seconds from 0, got {at_s}" in wrong


def test_a_tunnel_with_a_share_leaves_that_much() -> None:
    inside = tunnel(FLEET, "car", enter_s=0, leave_s=9, share=0.25).state_at(1, FLEET)
    assert inside.fleet(FLEET).link("car", "cloud").bandwidth_bytes_per_s == 2.5
    assert not inside.is_down("car", "cloud")


def test_a_train_starts_with_the_source_aboard() -> None:
    fed = Fleet(FLEET.devices, source="roadside")
    assert train(fed, period_s=10, stay_s=8).state_at(1, fed).fleet(fed).names == ("car", "roadside")
    assert train(fed, period_s=10, stay_s=8, first="cloud").devices == {"car", "roadside"}
