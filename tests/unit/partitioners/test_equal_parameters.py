"""Parts of equal parameters in bytes, blind to speeds and to work."""

from __future__ import annotations

import pytest

from partitioners.equal_parameters import EqualParameters
from tests.builders.fleets import fleet_of
from tests.builders.graphs import graph_of
from tests.builders.profiles import profile_of


@pytest.mark.parametrize(
    ("nbytes", "expected"),
    [
        pytest.param([4, 4, 4, 4], [2, 2], id="halves"),
        pytest.param([9, 1, 1, 7], [1, 3], id="9 and 9"),
        pytest.param([0, 0, 0, 8], [4], id="no part is smaller than the one of all"),
    ],
)
def test_each_device_gets_an_equal_share_of_the_bytes(nbytes: list[int], expected: list[int]) -> None:
    lines = [f"t{index + 1}: t{index} w{index}" for index in range(len(nbytes))]
    weights = {f"w{index}": size for index, size in enumerate(nbytes)}
    profile = profile_of(graph_of(*lines, inputs=("t0",), parameters=weights), {"a": 1.0, "b": 9.0}, macs=[1, 2, 3, 4])
    plan = EqualParameters().plan(profile, fleet_of("a", "b"))
    assert [len(stage.nodes) for stage in plan.stages] == expected
    assert plan.strategy == "equal_parameters"


def test_a_model_without_parameters_stays_whole() -> None:
    profile = profile_of(graph_of("a: x", "b: a"), {"a": 1.0, "b": 1.0})
    plan = EqualParameters().plan(profile, fleet_of("a", "b"))
    assert [len(stage.nodes) for stage in plan.stages] == [2]
