"""What stages and devices need, on a model small enough for pencil and paper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.fleet import Fleet
from multiedge.graph import Node
from multiedge.plan import CALLER, DeviceMemory, Stage, Transfer, direct_transfers
from multiedge.planning import cost, memory
from multiedge.profile import MemoryUse, Profile
from tests.builders.fleets import fleet_of, with_device
from tests.builders.graphs import graph_of
from tests.builders.plans import relay
from tests.builders.profiles import profile_of


def test_memory_is_shared_parameters_once_plus_peak_plus_buffers(profile, fleet):
    stages, moves = relay(profile, Stage.span("fast", 0, 3))
    assert memory.memory_by_device(profile, fleet, stages, moves) == {"fast": 1300 + 155 + (10 + 5)}
    stages, moves = relay(profile, Stage.span("fast", 0, 1), Stage.span("slow", 1, 3))
    assert memory.memory_by_device(profile, fleet, stages, moves) == {
        "fast": 1000 + 110 + (10 + 100),
        "slow": 1300 + 155 + (100 + 5),
    }


def test_memory_adds_the_runtime_once_per_device(profile, fleet):
    roomy = with_device(fleet, "fast", runtime_bytes=777)
    stages = (Stage.span("fast", 0, 1), Stage.span("slow", 1, 2), Stage.span("fast", 2, 3))
    moves = direct_transfers(profile.graph, stages)
    separate = [
        memory.stage_memory_bytes(profile, stages[i], [m for m in moves if m.target == i], [m for m in moves if m.source == i])
        for i in (0, 2)
    ]
    assert memory.memory_by_device(profile, roomy, stages, moves)["fast"] == 777 + sum(separate)


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        pytest.param(MemoryUse(), 1300 + 155 + 15, id="the least that any worker takes"),
        pytest.param(MemoryUse(working_copies=2), 1300 + 2 * 155 + 15, id="an arena of two copies"),
        pytest.param(MemoryUse(weight_copies=2), 2 * 1300 + 155 + 15, id="a mapped and a packed copy of weights"),
        pytest.param(MemoryUse(buffered_items=5), 1300 + 155 + 5 * 15, id="five slots of each transfer"),
        pytest.param(MemoryUse(packing_copies={"Op": 3}), 1300 + 3 * 1000, id="the peak is while the largest is packed"),
        pytest.param(MemoryUse(folded={"Op": "Op"}), 1300 + 300, id="B, which only C reads, has two versions while loading"),
        pytest.param(MemoryUse(folded={"Op": "Other"}), 1300 + 155 + 15, id="what is not folded is there once"),
        pytest.param(MemoryUse(packing_copies={"Other": 3}), 1300 + 155 + 15, id="operators whose weights stay as they are"),
    ],
)
def test_memory_is_the_larger_peak_of_loading_and_running(profile, fleet, use: MemoryUse, expected: int) -> None:
    stages, moves = relay(profile, Stage.span("fast", 0, 3))
    assert memory.memory_by_device(replace(profile, memory_use=use), fleet, stages, moves) == {"fast": expected}


@pytest.mark.parametrize(
    ("copies", "more"),
    [
        pytest.param({}, 0, id="none"),
        pytest.param({"MatMul": 1}, 700, id="all weights of the larger body, shared ones once"),
        pytest.param({"MatMul": 1, "Conv": 2}, 1600, id="by operator"),
    ],
)
def test_the_weights_of_a_body_have_copies_until_all_of_it_is_packed(copies: dict[str, int], more: int) -> None:
    bodies = ({"MatMul": ("x", "v", "w"), "Gemm": ("u",)}, {"MatMul": ("v",), "Conv": ("u", "w")})
    node = Node("branch", "If", ("x",), ("y",), captures=("v", "w", "u"), bodies=bodies)
    parameters = {"v": 300, "w": 400, "u": 250}
    profile = profile_of(graph_of(node, tensors={"x": 10, "y": 10}, parameters=parameters), {"a": 1.0})
    stages, moves = relay(replace(profile, memory_use=MemoryUse(body_copies=copies)), Stage.span("a", 0, 1))
    needed = memory.memory_by_device(replace(profile, memory_use=MemoryUse(body_copies=copies)), fleet_of("a"), stages, moves)
    assert needed == {"a": 950 + max(20 + 20, more)}


def test_a_device_holds_its_runtime_once_whatever_the_number_of_its_stages(profile: Profile, fleet: Fleet) -> None:
    large = with_device(fleet, "fast", runtime_bytes=700, memory_margin=0.1)
    stages = (Stage("fast", (0,)), Stage("slow", (1,), ("twin",)), Stage("fast", (2,)))
    expected = cost.estimate(profile, large, *relay(profile, *stages))
    first, other, last = (stage.memory_bytes for stage in expected.stages)
    assert expected.planned_bytes == {"fast": first + last - 700, "slow": other, "twin": other}
    assert expected.planned_bytes == memory.memory_by_device(profile, large, *relay(profile, *stages))
    assert expected.memory[0] == DeviceMemory("fast", first + last - 700, 5000, 0.1)


def test_the_bytes_of_a_stage_are_kept_for_the_last_stages_only(profile: Profile) -> None:
    enters, leaves = [Transfer(CALLER, 0, ("x",), 10)], [Transfer(0, 1, ("a",), 100)]
    first = Stage("fast", (0,))
    assert memory.stage_memory_bytes(profile, first, enters, leaves) == memory.stage_memory_bytes(
        profile, replace(first, device="slow"), enters, leaves
    )
    assert len(profile.recent_stages) == 1
    for number in range(2 * memory.RECENT_STAGES):
        memory.stage_memory_bytes(profile, first, [Transfer(CALLER, 0, (f"unused{number}",), 0)], leaves)
    assert len(profile.recent_stages) == memory.RECENT_STAGES


def test_what_only_passes_through_a_stage_counts_in_its_bytes(profile: Profile) -> None:
    """x(10) stays beside a(100) and b(50) where a later stage reads it, and goes after A where none does."""
    enters, both = [Transfer(CALLER, 0, ("x",), 10)], Stage("fast", (0, 1))
    without = memory.stage_memory_bytes(profile, both, enters, [Transfer(0, 1, ("b",), 60)])
    assert memory.stage_memory_bytes(profile, both, enters, [Transfer(0, 1, ("x", "b"), 60)]) == without + 10
