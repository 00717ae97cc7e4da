"""The best single device by the cost model, on a chain small enough for pencil and paper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.fleet import Device, Fleet
from multiedge.plan import Baseline, Stage
from multiedge.planning.baseline import best_single
from multiedge.run import plan_by_hand
from tests.builders.graphs import chain_graph
from tests.builders.profiles import profile_of

PROFILE = profile_of(chain_graph(2), {"fast": [1.0, 2.0], "slow": [2.0, 4.0]})
FLEET = Fleet((Device("slow"), Device("fast")))


@pytest.mark.parametrize("objective", ["throughput", "latency"])
def test_the_fastest_device_alone_is_the_baseline(objective):
    assert best_single(PROFILE, FLEET, objective) == Baseline("fast", 3.0)


def test_a_device_without_the_memory_is_no_baseline():
    tiny = Fleet((Device("slow"), Device("fast", memory_bytes=1)))
    assert best_single(PROFILE, tiny, "throughput") == Baseline("slow", 6.0)
    none = Fleet((Device("slow", memory_bytes=1), Device("fast", memory_bytes=1)))
    assert best_single(PROFILE, none, "throughput") == Baseline("", None)


def test_a_plan_gains_what_it_is_faster_by():
    plan = plan_by_hand(PROFILE, FLEET, [Stage("slow", (0,)), Stage("fast", (1,))])
    assert plan.baseline == Baseline("fast", 3.0)
    assert plan.gain == pytest.approx(1.5)
    assert replace(plan, baseline=None).gain is None
    assert replace(plan, baseline=Baseline()).gain is None
