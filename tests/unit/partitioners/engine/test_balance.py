"""Even splits: the smallest largest part, devices in the order declared."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from multiedge.errors import InfeasibleError
from multiedge.fleet import Device, Fleet
from multiedge.profile import Profile
from partitioners.engine.balance import find_even_split, smallest_fit, split_by_nodes
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.profiles import profile_of


def chain(count: int, *, sizes: int = 0, weight_bytes: int | None = None, **values: object) -> Profile:
    return profile_of(chain_graph(count, sizes=sizes, weight_bytes=weight_bytes), {"a": 1.0}, **values)


def parts(profile: Profile, fleet: Fleet, weights: list[float]) -> list[tuple[str, int]]:
    """(device, number of nodes) of each stage."""
    stages = split_by_nodes(profile, fleet, np.array(weights, dtype=float), "work")
    return [(stage.device, len(stage.nodes)) for stage in stages]


@pytest.mark.parametrize(
    ("weights", "devices", "expected"),
    [
        pytest.param([1, 2, 3, 4], "ab", [("a", 3), ("b", 1)], id="6 against 4"),
        pytest.param([4, 3, 2, 1], "ab", [("a", 1), ("b", 3)], id="4 against 6"),
        pytest.param([1, 1, 1, 1, 1, 1], "abc", [("a", 2), ("b", 2), ("c", 2)], id="equal thirds"),
        pytest.param([9, 1, 1, 1], "abc", [("a", 1), ("b", 3)], id="no third part makes the largest smaller"),
        pytest.param([5], "ab", [("a", 1)], id="one node: the first device"),
        pytest.param([1, 2, 3], "a", [("a", 3)], id="one device"),
        pytest.param([0, 0, 0], "ab", [("a", 3)], id="no work at all"),
        pytest.param([3, 0, 0, 3], "ab", [("a", 3), ("b", 1)], id="nodes of no work go with either end"),
    ],
)
def test_the_largest_part_is_as_small_as_cuts_allow(weights: list[float], devices: str, expected: list) -> None:
    found = parts(chain(len(weights)), fleet_of(*devices), weights)
    largest = max(sum(weights[start:stop]) for start, stop in pairwise(ends(found)))
    assert largest == max(sum(weights[start:stop]) for start, stop in pairwise(ends(expected)))
    assert len(found) == len(expected)
    if weights != [3, 0, 0, 3]:
        assert found == expected


def ends(parts: list[tuple[str, int]]) -> list[int]:
    return np.cumsum([0, *(count for _, count in parts)]).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_no_cut_of_random_weights_has_a_smaller_largest_part(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, devices = rng.integers(0, 10, rng.integers(1, 9)).tolist(), int(rng.integers(1, 5))
    count = len(weights)
    found = parts(chain(count), fleet_of(*"abcd"[:devices]), weights)
    largest = max(sum(weights[start:stop]) for start, stop in pairwise(ends(found)))
    cuts = [inner for many in range(min(devices, count)) for inner in combinations(range(1, count), many)]
    assert largest == min(max(sum(weights[a:b]) for a, b in pairwise((0, *inner, count))) for inner in cuts)


def test_a_fused_tensor_is_not_cut() -> None:
    """1 + 1 | 1 + 1 would cut t2, so the largest part is 3."""
    profile = chain(4, fused={"t2"})
    assert [count for _, count in parts(profile, fleet_of("a", "b"), [1, 1, 1, 1])] in ([1, 3], [3, 1])


@pytest.mark.parametrize(
    ("memory_bytes", "expected"),
    [
        pytest.param({"a": 100, "b": 300}, [("a", 1), ("b", 3)], id="the first holds one weight of 100 bytes"),
        pytest.param({"a": 99, "b": 400}, [("b", 4)], id="the first holds none and stays idle"),
        pytest.param({"a": 400, "b": 400}, [("a", 2), ("b", 2)], id="room for any cut"),
        pytest.param({"a": 300, "b": None}, [("a", 2), ("b", 2)], id="no limit on the second"),
    ],
)
def test_memory_is_hard_to_the_byte(memory_bytes: dict[str, int | None], expected: list) -> None:
    fleet = Fleet(tuple(Device(name, memory_bytes=nbytes) for name, nbytes in memory_bytes.items()))
    assert parts(chain(4, weight_bytes=100), fleet, [1, 1, 1, 1]) == expected


def test_no_order_but_the_declared_one_is_tried() -> None:
    """Weights of 100 and 300 bytes, in this order: b, a holds them, a, b does not."""
    graph = graph_of("t1: t0 w0", "t2: t1 w1", inputs=("t0",), tensors=0, parameters={"w0": 100, "w1": 300})
    small, large = Device("b", memory_bytes=100), Device("a", memory_bytes=300)
    assert parts(profile_of(graph, {}), Fleet((small, large)), [1, 1]) == [("b", 1), ("a", 1)]
    with pytest.raises(InfeasibleError, match="memory of 'a', 'b', in this order, is too small for graph split by work"):
        parts(profile_of(graph, {}), Fleet((large, small)), [1, 1])


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        pytest.param((Device("a", memory_bytes=50), Device("b", memory_bytes=50)), 2.0, id="one weight of 100 on each 50"),
        pytest.param((Device("a", memory_bytes=160), Device("b", memory_bytes=50)), 1.25, id="both on the larger: 200 / 160"),
        pytest.param((Device("a", memory_bytes=400),), 0.5, id="memory to spare"),
        pytest.param((Device("a", memory_bytes=220, runtime_bytes=20),), 1.0, id="the runtime counts"),
        pytest.param((Device("a", memory_bytes=0),), 200.0, id="no memory at all counts as one byte"),
    ],
)
def test_smallest_fit_is_the_factor_on_every_memory(devices: tuple[Device, ...], expected: float) -> None:
    assert smallest_fit(chain(2, weight_bytes=100), devices) == pytest.approx(expected)


def test_the_load_is_asked_with_the_start_the_device_and_the_memory_of_each_stage() -> None:
    asked: list[tuple[int, str, list[int]]] = []

    def load(start: int, device: Device, memory: np.ndarray) -> np.ndarray:
        asked.append((start, device.name, memory.tolist()))
        return memory.astype(float)

    assert find_even_split(chain(2, weight_bytes=100), fleet_of("a", "b").devices, load) is not None
    assert asked == [(0, "a", [100, 200]), (0, "b", [100, 200]), (1, "a", [100]), (1, "b", [100])]


def test_none_where_no_cut_fits() -> None:
    devices = fleet_of("a", "b", memory_bytes=99).devices
    assert find_even_split(chain(2, weight_bytes=100), devices, lambda _start, _device, memory: memory.astype(float)) is None
