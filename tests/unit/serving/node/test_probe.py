"""How fast a connection is: a rate from times and bytes, and both sides over loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from random import Random

import pytest

from multiedge.errors import ConfigError, NetworkError
from multiedge.network.records import LinkState
from multiedge.serving.node.neighbours import REFRESH_S, Known, Neighbours, after, next_due, updated
from multiedge.serving.node.probe import Probe, measure_link, rate_of
from multiedge.serving.node.server import Accepted, Door, NodeServer

CHUNK = 32768


def arrivals(bytes_per_s: float, count: int = 60, pause_at: int | None = None, burst: int = 0) -> list[tuple[float, int]]:
    generator, samples, at_s = Random(0), [], 0.0
    for number in range(count):
        if number >= burst:
            at_s += CHUNK / bytes_per_s
        if number == pause_at:
            at_s += 20 * CHUNK / bytes_per_s
        samples.append((at_s + generator.uniform(0, 0.2) * CHUNK / bytes_per_s, (number + 1) * CHUNK))
    return samples


@pytest.mark.parametrize("options", [{}, {"pause_at": 30}, {"pause_at": 50}, {"burst": 10}])
def test_the_rate_is_that_of_the_link_whatever_paused_or_burst(options: dict[str, int]) -> None:
    assert rate_of(arrivals(1e6, **options)) == pytest.approx(1e6, rel=0.05)


def test_too_few_samples_give_no_rate() -> None:
    assert rate_of(arrivals(1e6, 5)) is None
    assert rate_of([(1.0, 10)] * 20) is None


def test_a_new_neighbour_is_measured_soon_and_a_known_one_after_a_while() -> None:
    known = updated({}, {"a": "h:1", "b": "h:2"}, 10.0)
    assert next_due(known, 10.0) == "a"
    known["a"] = after(known["a"], LinkState("a", 1e6, 0.001), 10.0, 0.5)
    assert next_due(known, 10.0) == "b"
    known["b"] = after(known["b"], None, 10.0, 0.5)
    assert next_due(known, 10.5) is None
    assert next_due(known, 11.5) == "b"
    assert next_due(updated(known, {"a": "h:1"}, 12.0), 12.0) is None
    assert next_due(updated(known, {"a": "h:9"}, 12.0), 12.0) == "a"  # began anew elsewhere
    assert next_due(updated(known, {"a": "h:1"}, 12.0), 11 + 2 * REFRESH_S) == "a"


def test_the_second_measurement_comes_soon_and_later_ones_rarely() -> None:
    known, waits = Known("h:1", 0.0), []
    for _ in range(8):
        known = after(known, LinkState("a", 1e6, 0.001), 0.0, 0.0)
        waits.append(known.due_s)
    assert waits == [30, 60, 120, 240, 480, 600, 600, 600]


def test_what_fails_is_tried_more_and_more_rarely_and_keeps_what_was_known() -> None:
    known = Known("h:1", 0.0, LinkState("a", 1e6, 0.001), 1)
    waits = []
    for _ in range(15):
        later = after(known, None, 0.0, 0.5)
        waits.append(later.due_s)
        known = later
    assert waits == sorted(waits)
    assert waits[-1] == REFRESH_S
    assert known.link == LinkState("a", 1e6, 0.001)


class Node:
    def __init__(self) -> None:
        self.is_idle = True
        self.neighbours = Neighbours(lambda name, address: measure_link(name, address, None, 1 << 20), lambda: self.is_idle, 0)
        self.server = NodeServer("127.0.0.1", 0, None, {Probe.__name__: Door(self._answer)})
        self.received = 0
        self.server.start()

    def _answer(self, accepted: Accepted) -> None:
        self.neighbours.answer(accepted)


@pytest.fixture
def pair() -> Iterator[tuple[Node, Node]]:
    nodes = Node(), Node()
    yield nodes
    for node in nodes:
        node.server.close()


def test_two_nodes_measure_their_connection(pair: tuple[Node, Node]) -> None:
    a, b = pair
    a.neighbours.set_peers({"b": b.server.address})
    assert a.neighbours.step()
    (link,) = a.neighbours.links
    assert link.peer == "b"
    assert link.bytes_per_s is not None
    assert link.bytes_per_s > 10e6
    assert link.rtt_s is not None
    assert 0 < link.rtt_s < 0.1
    assert not a.neighbours.step()  # it is not due


def test_a_node_takes_part_in_one_measurement_at_a_time(pair: tuple[Node, Node]) -> None:
    _, b = pair
    begun, may_end = threading.Event(), threading.Event()

    def slow(name: str, address: str) -> LinkState:
        begun.set()
        may_end.wait(5)
        return LinkState(name, 1.0, 1.0)

    busy = Neighbours(slow, lambda: True, 0)
    busy.set_peers({"c": "h:1"})
    thread = threading.Thread(target=busy.step)
    thread.start()
    begun.wait(5)
    b.neighbours.answer = busy.answer  # type: ignore[method-assign]
    assert measure_link("b", b.server.address, None) is None
    may_end.set()
    thread.join()
    assert measure_link("b", b.server.address, None, 1 << 18) is not None


def test_a_node_that_has_work_to_do_neither_measures_nor_is_measured(pair: tuple[Node, Node]) -> None:
    a, b = pair
    b.is_idle = False
    assert measure_link("b", b.server.address, None) is None
    b.neighbours.set_peers({"a": a.server.address})
    assert not b.neighbours.step()


def test_a_node_that_is_not_there_is_logged_once(pair: tuple[Node, Node], caplog: pytest.LogCaptureFixture) -> None:
    a, b = pair
    b.server.close()
    a.neighbours.set_peers({"b": b.server.address})
    assert a.neighbours.step()
    assert a.neighbours.links == ()
    assert len(caplog.messages) == 1
    with pytest.raises(NetworkError, match="cannot be reached"):
        measure_link("b", b.server.address, None)


def test_beyond_loopback_it_needs_an_identity() -> None:
    with pytest.raises(ConfigError, match="TLS is needed"):
        measure_link("b", "10.9.9.9:1", None)
