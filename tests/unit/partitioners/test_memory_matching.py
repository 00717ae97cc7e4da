"""Parts as large as their devices' memories."""

from __future__ import annotations

import pytest

from multiedge.errors import InfeasibleError
from multiedge.fleet import Device, Fleet
from multiedge.profile import Profile
from partitioners.memory_matching import MemoryMatching
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of


def weights(count: int) -> Profile:
    """A chain of nodes with 100 bytes each."""
    return profile_of(chain_graph(count, sizes=0, weight_bytes=100), dict.fromkeys("abc", 1.0))


def counts(profile: Profile, fleet: Fleet) -> dict[str, int]:
    return {stage.device: len(stage.nodes) for stage in MemoryMatching().plan(profile, fleet).stages}


@pytest.mark.parametrize(
    ("memory_bytes", "expected"),
    [
        pytest.param((1000, 1000), {"a": 3, "b": 3}, id="equal"),
        pytest.param((2000, 1000), {"a": 4, "b": 2}, id="2 to 1"),
        pytest.param((1000, 2000), {"a": 2, "b": 4}, id="1 to 2"),
        pytest.param((10_000, 100), {"a": 6}, id="one node on b would fill it"),
        pytest.param((None, None), {"a": 3, "b": 3}, id="without limits all count as equal"),
        pytest.param((None, 1000), {"a": 6}, id="no limit is more than any"),
    ],
)
def test_every_device_is_filled_to_the_same_share(memory_bytes: tuple[int | None, ...], expected: dict[str, int]) -> None:
    devices = tuple(Device(name, memory_bytes=limit) for name, limit in zip("ab", memory_bytes, strict=True))
    assert counts(weights(6), Fleet(devices)) == expected


def test_the_runtime_is_part_of_the_share() -> None:
    """b's runtime takes 600 of 1,000: a holds 5 and b none before b holds more than a tenth."""
    devices = (Device("a", memory_bytes=1000), Device("b", memory_bytes=1000, runtime_bytes=600))
    assert counts(weights(6), Fleet(devices)) == {"a": 6}
    assert counts(weights(9), Fleet(devices)) == {"a": 7, "b": 2}


def test_speeds_play_no_part() -> None:
    slow = profile_of(weights(6).graph, {"a": 1.0, "b": 99.0})
    assert counts(slow, fleet_of("a", "b", memory_bytes=1000)) == {"a": 3, "b": 3}


def test_idle_devices_have_their_reason() -> None:
    plan = MemoryMatching().plan(weights(1), fleet_of("a", "b", memory_bytes=1000))
    assert plan.left_out == {"b": "a part on it would fill some device more"}
    assert (plan.strategy, plan.lower_bound) == ("memory_matching", None)


@pytest.mark.parametrize(
    ("memory_bytes", "factor"),
    [
        pytest.param((200, 200), "1.5", id="three nodes on each: 300 / 200"),
        pytest.param((400, 100), "1.25", id="five on a: 500 / 400"),
        pytest.param((599,), "1.002", id="all on a: 600 / 599"),
    ],
)
def test_the_error_says_by_which_factor_memory_falls_short(memory_bytes: tuple[int, ...], factor: str) -> None:
    devices = tuple(Device(name, memory_bytes=limit) for name, limit in zip("ab", memory_bytes, strict=False))
    with pytest.raises(InfeasibleError, match=rf"split by memory; {factor} times the memory on each would do"):
        MemoryMatching().plan(weights(6), Fleet(devices))
