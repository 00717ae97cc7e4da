"""Made-up models and fleets: sound, the same for the same seed, and as asked for."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.graph import Graph
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile


def edges(graph: Graph) -> list[tuple[int, int]]:
    return [
        (graph.producer[name], index)
        for index in range(len(graph.nodes))
        for name in graph.activations_read(index)
        if name != "t0"
    ]


@pytest.mark.parametrize("nodes", [1, 2, 3, 50])
@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_graphs_are_connected_and_in_order(nodes: int, outputs: int) -> None:
    graph = synthetic_graph(nodes, seed=nodes, outputs=outputs)
    assert len(graph.nodes) == nodes
    assert all(before < after for before, after in edges(graph))
    assert {(index, index + 1) for index in range(nodes - 1)} <= set(edges(graph))
    assert len(graph.outputs) == min(outputs, nodes)
    assert graph.outputs[-1] == f"t{nodes}"
    assert all(tensor.nbytes and tensor.shape for tensor in [*graph.tensors.values(), *graph.parameters.values()])


def test_a_seed_decides_all() -> None:
    assert synthetic_graph(20, seed=3) == synthetic_graph(20, seed=3)
    assert synthetic_graph(20, seed=3).tensors != synthetic_graph(20, seed=4).tensors
    assert synthetic_fleet((2, 1), seed=3) == synthetic_fleet((2, 1), seed=3)
    assert synthetic_fleet((2, 1), seed=3) != synthetic_fleet((2, 1), seed=4)
    fleet, graph = synthetic_fleet((2,), seed=1), synthetic_graph(9)
    first, second = (synthetic_profile(graph, fleet, seed) for seed in (1, 1))
    np.testing.assert_array_equal(first.seconds["a0"], second.seconds["a0"])


def test_without_skips_and_sharing_a_graph_is_a_chain() -> None:
    graph = synthetic_graph(30, seed=1, skips=0.0, shared=0.0)
    assert edges(graph) == [(index, index + 1) for index in range(29)]
    assert all(len(graph.consumers[name]) == 1 for name in graph.parameters if name in graph.consumers)


def test_with_every_skip_and_sharing_many_tensors_are_read_again() -> None:
    graph = synthetic_graph(60, seed=1, skips=1.0, shared=1.0)
    assert len(edges(graph)) > 75
    assert any(len(graph.consumers[name]) > 1 for name in graph.parameters)
    assert all(after - before <= 9 for before, after in edges(graph))


def test_devices_of_a_type_are_equal_and_types_are_not() -> None:
    fleet = synthetic_fleet((2, 1), seed=5)
    assert fleet.names == ("a0", "a1", "b0")
    first, second, other = fleet.devices
    assert (first.speed, first.power, first.bandwidth_bytes_per_s) == (second.speed, second.power, second.bandwidth_bytes_per_s)
    assert first.speed != other.speed
    assert fleet.link("a0", "b0") == fleet.link("a1", "b0")
    assert set(fleet.links) == {(a, b) for a in fleet.names for b in fleet.names if a != b}


def test_options_of_fleets() -> None:
    fleet = synthetic_fleet((1, 2), memory_bytes=[7, 9], links=False, source=True)
    assert [device.memory_bytes for device in fleet.devices] == [7, 9, 9]
    assert (dict(fleet.links), fleet.source) == ({}, "a0")
    assert len(set(synthetic_fleet((1,) * 30).names)) == 30


def test_times_are_alike_for_one_type_and_within_what_is_asked_for_others() -> None:
    fleet, graph = synthetic_fleet((2, 1), seed=5), synthetic_graph(40)
    profile = synthetic_profile(graph, fleet, seed=1, unrelated=0.2, overhead_s=0.125)
    np.testing.assert_array_equal(profile.seconds["a0"], profile.seconds["a1"])
    assert set(profile.overhead_s.values()) == {0.125}
    for device in fleet.devices:
        ratio = profile.seconds[device.name] * 2e10 * device.speed / profile.flops
        assert ((ratio >= 0.8) & (ratio <= 1.2)).all()
    related = synthetic_profile(graph, fleet, seed=1, unrelated=0.0)
    speed = fleet.device("b0").speed / fleet.device("a0").speed
    np.testing.assert_allclose(related.seconds["a0"], related.seconds["b0"] * speed)
