"""What to advise when no plan fits: the least that helps."""

from __future__ import annotations

import pytest

from multiedge.errors import InfeasibleError
from multiedge.fleet import Device, Fleet
from multiedge.profile import Profile
from partitioners.engine import chain as chain_module
from partitioners.engine.remedy import STEP_BYTES, infeasible, largest_node, least_extra_bytes, least_memory_bytes
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.profiles import profile_of

KIB, MIB = 1 << 10, 1 << 20


def weights(*nbytes: int) -> Profile:
    """A chain of nodes with weights of these bytes, and nothing else to hold."""
    lines = [f"t{index + 1}: t{index} w{index}" for index in range(len(nbytes))]
    parameters = {f"w{index}": size for index, size in enumerate(nbytes)}
    graph = graph_of(*lines, inputs=("t0",), tensors=0, parameters=parameters, name="weighty")
    return profile_of(graph, dict.fromkeys("abc", 1.0))


def fleet(**memory_kib: int) -> Fleet:
    return Fleet(tuple(Device(name, memory_bytes=kib * KIB) for name, kib in memory_kib.items()), name="shelf")


def test_the_largest_node_counts_all_that_it_holds() -> None:
    graph = chain_graph(3, sizes=[0, 500, 0, 0], weight_bytes=100)
    # n0 makes t1 and buffers it: 100 + 500 + 500; n1 reads it the same way. The first of equals is named.
    assert largest_node(profile_of(graph, {})) == (0, 1100)


@pytest.mark.parametrize(
    ("memory_kib", "device", "expected_kib"),
    [
        pytest.param({"a": 4, "b": 4}, "a", 4, id="8 KiB on a hold the first and the second: 4 more"),
        pytest.param({"a": 4, "b": 8}, "a", 0, id="it fits already"),
        pytest.param({"a": 8, "b": 3}, "b", 1, id="b holds one node if it has 4"),
        pytest.param({"a": 0, "b": 0}, "a", 12, id="a alone holds all"),
    ],
)
def test_the_least_that_one_device_lacks(memory_kib: dict[str, int], device: str, expected_kib: int) -> None:
    """Three nodes of 4 KiB."""
    profile = weights(4 * KIB, 4 * KIB, 4 * KIB)
    assert least_extra_bytes(profile, fleet(**memory_kib), device) == expected_kib * KIB


def test_advice_is_rounded_up_to_whole_steps_and_suffices() -> None:
    profile, short = weights(3 * STEP_BYTES + 1), fleet(a=1)
    assert least_extra_bytes(profile, short, "a") == 3 * STEP_BYTES


def test_a_device_without_a_limit_lacks_nothing() -> None:
    assert least_extra_bytes(weights(9 * MIB), Fleet((Device("a"),)), "a") == 0


@pytest.mark.parametrize(("below_kib", "expected_kib"), [(5, 4), (4, None), (1, None), (0, None)])
def test_only_less_than_a_known_remedy_is_of_interest(below_kib: int, expected_kib: int | None) -> None:
    profile = weights(4 * KIB, 4 * KIB, 4 * KIB)
    found = least_extra_bytes(profile, fleet(a=4, b=4), "a", below=below_kib * KIB)
    assert found == (None if expected_kib is None else expected_kib * KIB)


def test_the_runtime_is_not_room_for_the_model() -> None:
    devices = (Device("a", memory_bytes=10 * KIB, runtime_bytes=8 * KIB),)
    assert least_extra_bytes(weights(4 * KIB), Fleet(devices), "a") == 2 * KIB


def test_the_error_names_the_device_that_lacks_least() -> None:
    """Nodes of 2, 2 and 6 MiB: b holds the last, a the first but not the second. 1 MiB on a helps; b would need 2."""
    profile = weights(2 * MIB, 2 * MIB, 6 * MIB)
    error = infeasible(profile, fleet(a=3 * KIB, b=6 * KIB))
    assert str(error) == "no contiguous plan of weighty fits the memory of shelf; 1.000 MiB more on 'a' would do"
    assert isinstance(error, InfeasibleError)


def test_a_node_that_no_device_holds_is_named() -> None:
    profile = weights(1 * MIB, 8 * MIB)
    assert str(infeasible(profile, fleet(a=1 * KIB, b=2 * KIB))) == (
        "no contiguous plan of weighty fits the memory of shelf: node 1 'n1' alone needs 8.0 MiB, the largest device, 'b',"
        " has 2.0 MiB; 6.000 MiB more on 'b' would do"
    )


def test_of_equal_devices_one_is_named() -> None:
    assert "more on 'a' would do" in str(infeasible(weights(2 * MIB), fleet(a=1, b=1, c=1)))


def test_too_many_kinds_leave_the_advice_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "MOST_CELLS", 1)
    text = str(infeasible(weights(2 * MIB), fleet(a=1, b=2)))
    assert text.endswith("how much more memory would do is not known: the devices are of too many kinds to search")


@pytest.mark.parametrize(
    ("names", "expected_kib"),
    [
        pytest.param("a", 12, id="one device holds all"),
        pytest.param("ab", 8, id="two hold two nodes and one"),
        pytest.param("abc", 4, id="three hold a node each"),
    ],
)
def test_the_least_cap_on_all_memories(names: str, expected_kib: int) -> None:
    profile = weights(4 * KIB, 4 * KIB, 4 * KIB)
    for memory_bytes in (None, 100 * KIB, 12 * KIB):
        assert least_memory_bytes(profile, fleet_of(*names, memory_bytes=memory_bytes)) == expected_kib * KIB


def test_a_cap_counts_the_runtime_and_keeps_smaller_limits() -> None:
    profile = weights(4 * KIB, 4 * KIB)
    devices = (Device("a", memory_bytes=6 * KIB, runtime_bytes=2 * KIB), Device("b", runtime_bytes=1 * KIB))
    assert least_memory_bytes(profile, Fleet(devices)) == 6 * KIB


def test_there_is_no_cap_where_nothing_fits() -> None:
    with pytest.raises(InfeasibleError, match=r"1\.000 MiB more on 'a' would do"):
        least_memory_bytes(weights(2 * MIB), fleet(a=1 * KIB))
