"""Refining with a machine that is made up: segments cost what the test says they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from multiedge.errors import ProfileError
from multiedge.fleet import Device, Fleet
from multiedge.graph import Graph, Tensor
from multiedge.plan import Plan, Stage
from multiedge.profile import Profile
from partitioners.engine.contract import contiguous_plan
from profilers.engine.host import Host
from profilers.measured import host_name
from profilers.segments import refine, rescale, segment_key
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of

COUNT = 8
FLEET = Fleet((Device("a", speed=1.0), Device("b", speed=0.5)))


GRAPH = chain_graph(COUNT, sizes=(4,), op_type="Relu", model_hash="h")


@pytest.fixture
def profile() -> Profile:
    return profile_of(GRAPH, {host_name(1): 1.0, "a": 1.0, "b": 2.0}, overhead_s={host_name(1): 0.0})


class BestCut:
    """Two stages, cut where the slower of them is fastest."""

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        a, b = profile.seconds_on("a"), profile.seconds_on("b")
        at = min(range(1, COUNT), key=lambda cut: (max(a[:cut].sum(), b[cut:].sum()), cut))
        stages = [Stage.span("a", 0, at), Stage.span("b", at, COUNT)]
        return contiguous_plan("best cut", "throughput", profile, fleet, stages)


class Machine:
    """Node i takes `cost[i]` seconds, and each segment `extra` more."""

    def __init__(self, cost: Sequence[float], extra: float = 0.0) -> None:
        self.cost = np.array(cost)
        self.extra = extra
        self.asked = 0

    def times(self, graph: Graph, plan: Plan, hosts: Sequence[Host]) -> list[float]:
        self.asked += 1
        return [float(self.cost[list(stage.nodes)].sum()) + self.extra for stage in plan.stages]


def test_a_profile_that_was_right_needs_one_round(profile: Profile) -> None:
    refined, plan, history = refine(profile, FLEET, BestCut(), Machine([1.0] * COUNT))
    assert len(history) == 1
    assert history[0].error == 0.0
    assert [len(stage.nodes) for stage in plan.stages] == [5, 3]
    np.testing.assert_allclose(refined.seconds_on("a"), 1.0)


def test_a_profile_that_was_wrong_is_put_right(profile: Profile) -> None:
    machine = Machine([3.0, 3.0, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0])
    refined, plan, history = refine(profile, FLEET, BestCut(), machine)
    assert history[0].error > 0.5
    assert plan.value <= min(turn.value for turn in history) + 1e-12
    assert plan.value < history[0].value
    assert history[-1].error < history[0].error
    assert refined.settings["segment_rounds"][0]["measured_s"] == history[0].measured_s
    assert "segments timed" in refined.sources.get("a", "segments timed")


def test_the_value_of_the_plan_is_what_was_measured(profile: Profile) -> None:
    machine = Machine([2.0, 1.0, 1.0, 2.0, 1.0, 3.0, 1.0, 1.0], extra=0.5)
    _, plan, _ = refine(profile, FLEET, BestCut(), machine, rounds=5)
    on_a, on_b = machine.times(profile.graph, plan, [Host(), Host()])
    assert plan.value == pytest.approx(max(on_a, 2 * on_b))


def test_rounds_are_bounded(profile: Profile) -> None:
    machine = Machine([5.0, 1.0] * 4)
    _, _, history = refine(profile, FLEET, BestCut(), machine, rounds=2, tolerance=0.0)
    assert len(history) == machine.asked <= 2


def test_every_device_of_the_same_threads_is_rescaled(profile: Profile) -> None:
    fleet = Fleet((Device("a", speed=1.0), Device("b", speed=0.5)))
    found = rescale(profile, fleet, [Stage.span("a", 0, 2)], [Host()], [6.0])
    np.testing.assert_allclose(found.seconds_on("a")[:3], [3.0, 3.0, 1.0])
    np.testing.assert_allclose(found.seconds_on("b")[:3], [6.0, 6.0, 2.0])
    np.testing.assert_allclose(profile.seconds_on("a"), 1.0)


def test_a_static_profile_is_refused(profile: Profile) -> None:
    static = replace(profile, seconds={name: profile.seconds[name] for name in ("a", "b")})
    with pytest.raises(ProfileError, match="profile with --profiler measured"):
        refine(static, FLEET, BestCut(), Machine([1.0] * COUNT))


def test_the_key_holds_all_that_matters() -> None:
    graph, stage = GRAPH, Stage.span("a", 0, 3)
    key = segment_key(graph, stage, Host())
    assert key == segment_key(graph, replace(stage, device="b"), Host())
    wider = {**graph.tensors, "t0": Tensor("t0", "float32", (8,), 32)}
    others = [
        segment_key(graph, stage, Host(2)),
        segment_key(graph, Stage.span("a", 0, 4), Host()),
        segment_key(replace(graph, model_hash="other"), stage, Host()),
        segment_key(replace(graph, tensors=wider), stage, Host()),
    ]
    assert len({key, *others}) == 5
