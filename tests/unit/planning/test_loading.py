"""What devices load to go from one plan to another, and at which rate."""

from __future__ import annotations

from math import inf

import pytest

from multiedge.fleet import Device, Fleet, Link
from multiedge.plan import Stage
from multiedge.planning.loading import bytes_held, bytes_to_load, loading_bytes_per_s
from tests.builders.fleets import fleet_of
from tests.builders.graphs import graph_of

GRAPH = graph_of("a: x v", "b: a w", "c: b v", "d: c", parameters={"v": 100, "w": 10})
"""Nodes 0 and 2 share v; node 3 has no parameter."""


def stages(**nodes: str) -> list[Stage]:
    return [Stage(device, tuple(int(node) for node in each)) for device, each in nodes.items()]


@pytest.mark.parametrize(
    ("running", "wanted", "expected"),
    [
        pytest.param({"p": "0123"}, {"p": "0123"}, {}, id="nothing changes"),
        pytest.param({}, {"p": "0123"}, {"p": 110}, id="from nothing: a shared parameter once"),
        pytest.param({"p": "01", "q": "23"}, {"p": "0", "q": "123"}, {"q": 10}, id="a node moves with its parameter"),
        pytest.param({"p": "0", "q": "123"}, {"p": "01", "q": "23"}, {"p": 10}, id="and back"),
        pytest.param({"p": "01", "q": "23"}, {"p": "012", "q": "3"}, {}, id="what it already holds for another node is there"),
        pytest.param({"p": "012", "q": "3"}, {"p": "01", "q": "23"}, {"q": 100}, id="what another device holds is not"),
        pytest.param({"p": "012", "q": "3"}, {"p": "0", "r": "123"}, {"r": 110}, id="a device that is new"),
        pytest.param({"p": "012", "q": "3"}, {"p": "012", "r": "3"}, {}, id="a node without parameters loads nothing"),
    ],
)
def test_only_what_is_not_held_is_loaded(running: dict[str, str], wanted: dict[str, str], expected: dict[str, int]) -> None:
    assert bytes_to_load(GRAPH, stages(**running), stages(**wanted)) == expected


def test_every_replica_loads() -> None:
    wanted = [Stage("p", (0, 1), ("q", "r")), Stage("q", (2, 3))]
    assert bytes_to_load(GRAPH, [Stage("r", (1,))], wanted) == {"p": 110, "q": 110, "r": 100}


@pytest.mark.parametrize(
    ("device", "other", "expected"),
    [("p", "p", 110), ("p", "q", 100), ("q", "p", 100), ("q", "q", 100), ("r", "p", 0), ("p", "r", 0)],
)
def test_bytes_that_one_device_holds_and_another_will_need(device: str, other: str, expected: int) -> None:
    running = stages(p="01", q="23")
    assert bytes_held(GRAPH, running, device, running, other) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(None, {"a": 10.0, "b": 20.0}, id="over its own interface"),
        pytest.param("a", {"a": 10.0, "b": 5.0}, id="over the link from the source"),
        pytest.param("b", {"a": 7.0, "b": 20.0}, id="links by direction"),
    ],
)
def test_weights_come_from_the_source_if_there_is_one(source: str | None, expected: dict[str, float]) -> None:
    devices = (Device("a", bandwidth_bytes_per_s=10.0), Device("b", bandwidth_bytes_per_s=20.0))
    fleet = Fleet(devices, {("a", "b"): Link(5.0), ("b", "a"): Link(7.0)}, source=source)
    assert {name: loading_bytes_per_s(fleet, name) for name in fleet.names} == expected


def test_an_interface_that_is_not_stated_has_no_limit() -> None:
    assert loading_bytes_per_s(fleet_of("a"), "a") == inf
