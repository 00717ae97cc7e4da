"""The strategies that do not optimise time: what they look at, and that memory is hard for all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.errors import InfeasibleError, PlanError
from multiedge.fleet import Fleet, PartitionPoint
from multiedge.planning.checks import violations
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile
from partitioners import PARTITIONERS
from partitioners.equal_flops import EqualFlops
from partitioners.equal_parameters import EqualParameters
from partitioners.manual import Manual
from partitioners.memory_matching import MemoryMatching
from partitioners.single import Single
from tests.builders.fleets import with_device, with_devices

BASELINES = ["single", "memory_matching", "equal_parameters", "equal_flops", "random"]


@pytest.fixture
def fleet() -> Fleet:
    return synthetic_fleet((1, 1, 1), seed=3)


@pytest.fixture
def profile(fleet):
    return synthetic_profile(synthetic_graph(40, seed=1), fleet, seed=2)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_covers_each_node_once(name, profile, fleet):
    plan = PARTITIONERS.load(name)().plan(profile, fleet)
    assert violations(profile, fleet, plan.stages, plan.transfers) == []
    assert sorted(node for stage in plan.stages for node in stage.nodes) == list(range(40))
    assert set(plan.left_out) == set(fleet.names) - {stage.device for stage in plan.stages}


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_respects_memory_to_the_byte(name, profile, fleet):
    free = PARTITIONERS.load(name)().plan(profile, fleet)
    stage, expected = free.stages[0], free.estimate.stages[0]
    tight = with_device(fleet, stage.device, memory_bytes=expected.memory_bytes - 1)
    plan = PARTITIONERS.load(name)().plan(profile, tight)
    assert plan.stages != free.stages


def test_memory_matching_gives_the_larger_memory_the_larger_part(profile, fleet):
    sizes = {"a0": 16 << 20, "b0": 4 << 20, "c0": 3 << 20}
    uneven = replace(fleet, devices=tuple(replace(device, memory_bytes=sizes[device.name]) for device in fleet.devices))
    plan = MemoryMatching().plan(profile, uneven)
    shares = [stage.memory_bytes / stage.memory_limit_bytes for stage in plan.estimate.stages]
    assert [stage.device for stage in plan.stages] == ["a0", "b0", "c0"]
    assert len(plan.stages[0].nodes) > len(plan.stages[1].nodes) > 0
    assert max(shares) - min(shares) < 0.25


def test_memory_matching_says_by_how_much_memory_falls_short(profile, fleet):
    small = with_devices(fleet, memory_bytes=1 << 20)
    with pytest.raises(InfeasibleError, match="times the memory on each would do") as caught:
        MemoryMatching().plan(profile, small)
    factor = float(str(caught.value).split("; ")[1].split()[0])
    assert MemoryMatching().plan(profile, with_devices(small, memory_bytes=int((1 << 20) * factor * 1.001))).stages
    with pytest.raises(InfeasibleError):
        MemoryMatching().plan(profile, with_devices(small, memory_bytes=int((1 << 20) * factor * 0.99)))


def test_equal_splits_equalise_what_they_are_named_after(profile, fleet):
    for strategy, weights in ((EqualFlops(), profile.flops), (EqualParameters(), profile.parameter_bytes)):
        parts = [weights[list(stage.nodes)].sum() for stage in strategy.plan(profile, fleet).stages]
        assert len(parts) == 3
        assert max(parts) <= weights.sum() / 3 + weights.max()


def test_single_takes_the_best_device_that_can_hold_the_model(profile, fleet):
    best = Single().plan(profile, fleet)
    assert best.value == min(profile.seconds_on(name).sum() for name in fleet.names)
    device = fleet.device(best.stages[0].device)
    second = Single().plan(profile, with_device(fleet, device.name, memory_bytes=1024))
    assert second.stages[0].device != device.name
    assert "MiB more" in second.left_out[device.name]


def points(*parts):
    return tuple(PartitionPoint(*part) for part in parts)


def test_manual_runs_the_parts_as_written(profile, fleet):
    cut = profile.graph.cuts[10].tensors
    parts = points((("t0",), cut, "b0"), (cut, ("t40",), "a0"))
    plan = Manual().plan(profile, replace(fleet, partition_points=parts))
    assert [(stage.device, stage.ranges) for stage in plan.stages] == [("b0", ((0, 10),)), ("a0", ((10, 40),))]
    assert plan.left_out == {"c0": "no partition point names it"}


def test_manual_names_what_is_missing_from_a_part(profile, fleet):
    two = next(cut for cut in profile.graph.cuts if len(cut.tensors) == 2 and "t0" not in cut.tensors)
    parts = points((("t0",), two.tensors, "b0"), (two.tensors[1:], ("t40",), "a0"))
    with pytest.raises(
        PlanError, match=rf"partition_points\[1\] \('a0'\) also needs '{two.tensors[0]}'.*add it to input_names"
    ):
        Manual().plan(profile, replace(fleet, partition_points=parts))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([(("t0",), ("t4O",), "a0")], r"partition_points\[0\].output_names: the model has no tensor 't4O'; did you mean 't4"),
        ([(("x",), ("t40",), "a0")], r"partition_points\[0\].input_names: the model has no tensor 'x'"),
        ([(("t0",), ("t9",), "a0")], r"31 of 40 nodes are in no part, the first are 'n9', 'n10', 'n11'"),
        ([(("t0",), ("t40",), "a0"), (("t40",), ("t40",), "b0")], r"partition_points\[1\] \('b0'\) holds no node"),
        ([(("t0",), ("t40",), "phone")], "device 'phone' is not in"),
    ],
)
def test_manual_refuses_points_that_do_not_fit(profile, fleet, parts, message):
    with pytest.raises(PlanError, match=message):
        Manual().plan(profile, replace(fleet, partition_points=points(*parts)))
