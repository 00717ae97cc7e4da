"""A model and a fleet small enough for pencil and paper."""

from __future__ import annotations

import pytest

from multiedge.fleet import Device, Fleet, Link, Power
from multiedge.graph import Node
from multiedge.profile import Profile
from tests.builders.graphs import graph_of
from tests.builders.profiles import profile_of


@pytest.fixture
def profile() -> Profile:
    """x(10) -> A -> a(100) -> B -> b(50) -> C -> c(5), C reads a again; A and C share parameter w(1000), B has v(300)."""
    graph = graph_of(
        Node("A", "Op", ("x", "w"), ("a",)),
        Node("B", "Op", ("a", "v"), ("b",)),
        Node("C", "Op", ("b", "a", "w"), ("c",)),
        tensors={"x": 10, "a": 100, "b": 50, "c": 5},
        parameters={"w": 1000, "v": 300},
    )
    seconds = {"fast": [1.0, 2.0, 3.0], "slow": [2.0, 4.0, 6.0], "twin": [2.0, 4.0, 6.0]}
    return profile_of(graph, seconds, overhead_s={"slow": 0.5})


@pytest.fixture
def fleet() -> Fleet:
    devices = (
        Device("fast", memory_bytes=5000, power=Power(1.0, 11.0), joules_per_byte=0.01),
        Device("slow", memory_bytes=5000, power=Power(2.0, 5.0)),
        Device("twin", memory_bytes=5000, power=Power(2.0, 5.0)),
    )
    return Fleet(devices, {("fast", "slow"): Link(10.0, 1.0), ("fast", "twin"): Link(10.0, 1.0)})
