"""Devices and links as servers that a trace slows down, stops and brings back."""

from __future__ import annotations

from math import inf

import pytest

from multiedge.errors import ConfigError
from multiedge.fleet import Fleet, Link
from multiedge.simulation.event_loop import EventLoop
from multiedge.simulation.fleet import SimulatedFleet
from multiedge.trace import DeviceEvent, LinkEvent, TraceEvent
from tests.builders.fleets import fleet_of
from tests.builders.tasks import Request, Task

LINKED = fleet_of("a", "b", "c", links={("a", "b"): Link(10.0, 0.5)}, speed=2.0)


def worked(server, work: float, loop: EventLoop) -> list[float]:
    """When a job pushed now stops; empty while its server rests."""
    stops: list[float] = []
    server.push(Task(work, lambda _start, stop: stops.append(stop)), Request())
    loop.run()
    return stops


@pytest.fixture
def loop() -> EventLoop:
    return EventLoop()


@pytest.fixture
def servers(loop: EventLoop) -> SimulatedFleet:
    return SimulatedFleet(LINKED, loop)


def test_a_device_works_seconds_in_seconds_whatever_its_declared_speed(servers: SimulatedFleet, loop: EventLoop) -> None:
    """The profile's times are the device's own."""
    assert worked(servers.device("a"), 3.0, loop) == [3.0]
    assert servers.device("a") is servers.device("a")


def test_a_link_carries_bytes_at_its_rate_and_delays_them_afterwards(servers: SimulatedFleet, loop: EventLoop) -> None:
    assert worked(servers.link("a", "b"), 20.0, loop) == [2.0]
    assert servers.link("a", "b").delay_s == 0.5
    assert servers.link("a", "b") is not servers.link("b", "a")


def test_lost_messages_are_sent_again(loop: EventLoop) -> None:
    lossy = SimulatedFleet(fleet_of("a", "b", links=Link(10.0, loss=0.5)), loop)
    assert worked(lossy.link("a", "b"), 20.0, loop) == [4.0]


@pytest.mark.parametrize(
    ("events", "left", "returned"),
    [
        pytest.param([DeviceEvent(0, "b", "leave")], {"b"}, set(), id="it leaves"),
        pytest.param([DeviceEvent(0, "b", "leave"), DeviceEvent(1, "b", "leave")], set(), set(), id="it has left already"),
        pytest.param([DeviceEvent(0, "b", "leave"), DeviceEvent(1, "b", "return")], set(), {"b"}, id="it returns"),
        pytest.param([DeviceEvent(0, "b", "return")], set(), set(), id="it was there"),
        pytest.param([DeviceEvent(0, "b", "battery", 0.0)], {"b"}, set(), id="an empty battery"),
        pytest.param([DeviceEvent(0, "b", "battery", 5.0)], set(), set(), id="a low battery"),
        pytest.param([DeviceEvent(0, "b", "speed", 0.1)], set(), set(), id="it slows down"),
        pytest.param([LinkEvent(0, ("a", "b"), 0.0)], set(), set(), id="a link goes down"),
    ],
)
def test_who_left_and_who_returned(
    servers: SimulatedFleet, events: list[TraceEvent], left: set[str], returned: set[str]
) -> None:
    for event in events[:-1]:
        servers.happen(event)
    assert servers.happen(events[-1]) == (left, returned)


@pytest.mark.parametrize(
    ("event", "device_s", "link_s"),
    [
        pytest.param(DeviceEvent(0, "a", "speed", 0.5), 4.0, 1.0, id="a at half speed"),
        pytest.param(DeviceEvent(0, "b", "speed", 0.5), 2.0, 1.0, id="b at half speed"),
        pytest.param(LinkEvent(0, ("a", "b"), bandwidth_bytes_per_s=2.0), 2.0, 5.0, id="a slower link"),
        pytest.param(LinkEvent(0, ("b", "a"), bandwidth_bytes_per_s=2.0), 2.0, 5.0, id="named the other way round"),
        pytest.param(LinkEvent(0, ("a", "c"), bandwidth_bytes_per_s=2.0), 2.0, 1.0, id="another link"),
        pytest.param(LinkEvent(0, ("a", "b"), bandwidth_bytes_per_s=inf), 2.0, 0.0, id="a link without a limit"),
    ],
)
@pytest.mark.parametrize("known", [True, False], ids=["servers in use", "servers made later"])
def test_events_change_speeds(
    servers: SimulatedFleet, loop: EventLoop, event: TraceEvent, device_s: float, link_s: float, known: bool
) -> None:
    """2 s of work on a, 10 bytes from a to b."""
    if known:
        servers.device("a"), servers.link("a", "b")
    servers.happen(event)
    assert worked(servers.device("a"), 2.0, loop) == [device_s]
    assert worked(servers.link("a", "b"), 10.0, loop) == [pytest.approx(device_s + link_s)]


@pytest.mark.parametrize(
    "event", [DeviceEvent(0, "b", "leave"), LinkEvent(0, ("a", "b"), bandwidth_bytes_per_s=0.0)], ids=["device", "link"]
)
def test_a_link_rests_while_it_or_its_end_is_away_and_keeps_what_it_carries(
    servers: SimulatedFleet, loop: EventLoop, event: TraceEvent
) -> None:
    stops: list[float] = []
    servers.link("a", "b").push(Task(20.0, lambda _start, stop: stops.append(stop)), Request())
    back = DeviceEvent(9, "b", "return") if isinstance(event, DeviceEvent) else LinkEvent(9, ("a", "b"), 10.0)
    loop.at(1.0, servers.happen, event)
    loop.at(9.0, servers.happen, back)
    loop.run()
    assert stops == [pytest.approx(10.0)]


def test_a_device_that_leaves_loses_the_job_in_hand(servers: SimulatedFleet, loop: EventLoop) -> None:
    stops: list[float] = []
    servers.device("a").push(Task(3.0, lambda _start, stop: stops.append(stop)), Request())
    loop.at(2.0, servers.happen, DeviceEvent(2, "a", "leave"))
    loop.at(5.0, servers.happen, DeviceEvent(5, "a", "return"))
    loop.run()
    assert stops == [8.0]


def test_a_change_of_latency_leaves_the_rate(servers: SimulatedFleet, loop: EventLoop) -> None:
    servers.happen(LinkEvent(0, ("a", "b"), latency_s=7.0))
    assert servers.link("a", "b").delay_s == servers.link("b", "a").delay_s == 7.0
    assert worked(servers.link("a", "b"), 10.0, loop) == [1.0]


def test_the_fleet_as_it_is_now(servers: SimulatedFleet) -> None:
    assert servers.now() == LINKED
    servers.happen(DeviceEvent(0, "c", "leave"))
    servers.happen(DeviceEvent(0, "a", "speed", 0.25))
    now: Fleet = servers.now()
    assert now.names == ("a", "b")
    assert now.device("a").speed == 0.5
    for name in ("a", "b"):
        servers.happen(DeviceEvent(0, name, "leave"))
    with pytest.raises(ConfigError, match="every device has left"):
        servers.now()
