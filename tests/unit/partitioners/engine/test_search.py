"""Which boundaries can be reached by which devices within a bottleneck."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from multiedge.fleet import Device, Fleet, Link
from partitioners.engine.chain import Chain
from partitioners.engine.search import Limit, States, _any_start, reachable
from partitioners.engine.windows import Windows
from tests.builders.cases import Options, random_case
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.oracle import Oracle
from tests.builders.profiles import profile_of


def chain_of(seconds: dict[str, list[float]], fleet: Fleet, *, sizes: list[int] | int = 0, replicate: bool = False) -> Chain:
    count = len(next(iter(seconds.values())))
    return Chain.of(profile_of(chain_graph(count, sizes=sizes), seconds), fleet, replicate=replicate)


def found(chain: Chain, seconds: float) -> list[tuple[str, int, int]] | None:
    path = reachable(chain, States(chain), seconds)
    return path and [(stage.devices[0], stage.nodes[0], stage.nodes[-1] + 1) for stage in chain.stages(path)]


TWO_KINDS = chain_of({"a": [1, 2], "b": [1, 2], "c": [5, 5]}, fleet_of("a", "b", "c"))


def test_states_count_devices_of_each_kind() -> None:
    states = States(TWO_KINDS)
    assert states.sizes.tolist() == [2, 1]
    assert states.counts.tolist() == [[a, c] for c, a in product(range(2), range(3))]
    assert [level.tolist() for level in states.levels] == [[0], [1, 3], [2, 4], [5]]


def test_one_more_stage_leads_to_the_state_with_its_devices_counted() -> None:
    states = States(TWO_KINDS)
    for way, kind in enumerate(TWO_KINDS.ways):
        before = np.nonzero(states.room[way])[0]
        after = states.after(before, way)
        expected = states.counts[before].copy()
        expected[:, kind.group] += kind.replicas
        assert states.counts[after].tolist() == expected.tolist()


def test_there_is_room_while_devices_of_the_kind_are_free() -> None:
    assert States(TWO_KINDS).room.tolist() == [[True, True, False, True, True, False], [True, True, True, False, False, False]]
    chain = chain_of({"a": [1, 2], "b": [1, 2]}, fleet_of("a", "b"), replicate=True)
    assert States(chain).room.tolist() == [[True, True, False], [True, False, False]]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(float("inf"), [("a", 0, 4)], id="no limit: one device"),
        pytest.param(10.0, [("a", 0, 4)], id="just one device"),
        pytest.param(9.99, [("a", 0, 3), ("b", 3, 4)], id="two devices"),
        pytest.param(4.0, [("a", 0, 2), ("b", 2, 3), ("c", 3, 4)], id="three devices, the heaviest node sets it"),
        pytest.param(3.99, None, id="below the heaviest node"),
        pytest.param(0.0, None, id="no time"),
    ],
)
def test_as_few_devices_as_the_bottleneck_asks_for(seconds: float, expected: list | None) -> None:
    """Nodes of 1, 2, 3 and 4 s on three equal devices."""
    chain = chain_of({name: [1, 2, 3, 4] for name in "abc"}, fleet_of("a", "b", "c"))
    path = found(chain, seconds)
    if expected is None or path is None:
        assert path is expected
        return
    assert len(path) == len(expected)
    assert chain.bottleneck_s(reachable(chain, States(chain), seconds)) <= seconds


def test_a_limit_that_is_met_exactly_is_kept_despite_rounding() -> None:
    chain = chain_of({"a": [0.1, 0.2]}, fleet_of("a"))
    assert found(chain, 0.3) == [("a", 0, 2)]


def test_a_nearer_boundary_is_kept_where_fewer_bytes_cross_it() -> None:
    """Within 3 s a could do two nodes, but t2 is too large for the link: only one node may come before the cut."""
    chain = chain_of({"a": [1, 1, 9], "b": [9, 1, 1]}, fleet_of("a", "b", links=Link(1.0)), sizes=[0, 1, 50, 0])
    assert found(chain, 3.0) == [("a", 0, 1), ("b", 1, 3)]


def test_links_from_and_to_the_source_bind() -> None:
    fleet = fleet_of("a", "b", links={("a", "b"): Link(1.0), ("b", "a"): Link(4.0)}, source="a")
    chain = chain_of({"a": [50], "b": [1]}, fleet, sizes=[8, 12])
    assert found(chain, 8.0) == [("b", 0, 1)]
    assert found(chain, 7.9) is None
    assert found(chain, 50.0) in ([("a", 0, 1)], [("b", 0, 1)])
    back = chain_of({"a": [50], "b": [1]}, fleet, sizes=[0, 12])
    assert found(back, 3.0) == [("b", 0, 1)]
    assert found(back, 2.9) is None


def test_early_results_and_the_hand_over_share_the_link_to_the_source() -> None:
    """4 bytes of result and 4 of hand-over from b to the source a: 8 s at 1 byte/s."""
    graph = graph_of("t1: t0", "t2: t1", inputs=("t0",), outputs=("t1", "t2"), tensors={"t0": 0, "t1": 4, "t2": 0})
    fleet = fleet_of("a", "b", links=Link(1.0), source="a")
    chain = Chain.of(profile_of(graph, {"a": [90, 1], "b": [1, 90]}), fleet)
    assert found(chain, 8.0) == [("b", 0, 1), ("a", 1, 2)]
    assert found(chain, 7.9) is None


def test_memory_binds_without_any_limit_of_time() -> None:
    profile = profile_of(chain_graph(3, sizes=0, weight_bytes=10), dict.fromkeys("ab", 1.0))
    chain = Chain.of(profile, Fleet((Device("a", memory_bytes=10), Device("b", memory_bytes=20))))
    assert found(chain, float("inf")) in ([("a", 0, 1), ("b", 1, 3)], [("b", 0, 2), ("a", 2, 3)])
    small = Chain.of(profile, Fleet((Device("a", memory_bytes=10), Device("b", memory_bytes=19))))
    assert found(small, float("inf")) is None


@pytest.mark.parametrize(("seconds", "devices"), [(9.0, 1), (4.5, 2), (3.0, 3), (2.99, None)])
def test_replicas_divide_the_time_of_a_stage(seconds: float, devices: int | None) -> None:
    """Nodes of 1 and 8 s: both on r devices take 9 / r."""
    chain = chain_of({name: [1, 8] for name in "abc"}, fleet_of("a", "b", "c"), replicate=True)
    path = reachable(chain, States(chain), seconds)
    assert (path and sum(len(stage.devices) for stage in chain.stages(path))) == devices


def test_the_limit_tells_what_enters_and_what_is_handed_over_in_time() -> None:
    fleet = fleet_of("a", "b", links={("a", "b"): Link(1.0), ("b", "a"): Link(2.0)}, source="a")
    limit = Limit(chain_of({"a": [1, 1], "b": [2, 2]}, fleet, sizes=[6, 3, 1]), 2.0)
    assert limit.enters.tolist() == [True, False]
    # Boundaries 0, 1, 2 carry 6, 3 and 0 bytes: from a at 1 byte/s, from b at 2 bytes/s.
    assert limit.hands_over[0, 1].tolist() == [False, False, True]
    assert limit.hands_over[1, 0].tolist() == [False, True, True]
    assert not limit.hands_over[0, 0].any()


@pytest.mark.parametrize("seed", range(40))
def test_reachable_is_what_the_oracle_finds_for_every_bottleneck(seed: int) -> None:
    profile, fleet = random_case(seed, Options(nodes=(1, 5)))
    chain = Chain.of(profile, fleet)
    plans = list(Oracle(profile, fleet).contiguous())
    for limit_s in sorted({cost.bottleneck_s for _, cost in plans}):
        fewest = min(len(stages) for stages, cost in plans if cost.bottleneck_s <= limit_s * (1 + 1e-12))
        path = reachable(chain, States(chain), limit_s)
        assert path is not None
        assert len(path) == fewest
    least = min((cost.bottleneck_s for _, cost in plans), default=None)
    if least is None:
        assert reachable(chain, States(chain), float("inf")) is None
    elif least > 0:
        assert reachable(chain, States(chain), least * 0.999) is None


@pytest.mark.parametrize("seed", range(8))
def test_ends_are_the_same_whether_starts_are_intervals_or_have_an_earliest_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 40
    earliest = np.minimum(np.maximum.accumulate(rng.integers(0, count, count + 1)), np.arange(count + 1))
    begins = rng.random((3, count + 1)) < 0.2
    windows = Windows(earliest[None, :], np.arange(count + 1)[None, :])
    assert windows.earliest is not None
    by_hand = [[bool(row[earliest[end] : end].any()) for end in range(count + 1)] for row in begins]
    assert _any_start(begins, windows).tolist() == by_hand
    padded = Windows(np.vstack([earliest, earliest]), np.vstack([np.arange(count + 1), earliest]))  # an empty second interval
    assert padded.earliest is None
    assert _any_start(begins, padded).tolist() == by_hand
