"""The cost model against the equations, worked out once more by an oracle that shares no code with it."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from multiedge.fleet import Fleet
from multiedge.plan import Stage, Transfer, direct_transfers, relay_transfers
from multiedge.planning import cost, memory
from multiedge.planning.checks import violations
from multiedge.profile import Profile
from tests.builders.cases import random_case
from tests.builders.oracle import Cost, Oracle


def require_equal(
    profile: Profile, fleet: Fleet, stages: list[Stage], transfers: tuple[Transfer, ...], expected: Cost, seed: int
) -> None:
    found = cost.estimate(profile, fleet, stages, transfers)
    assert found.bottleneck_s == pytest.approx(expected.bottleneck_s, rel=1e-9, abs=0), seed
    assert found.latency_s == pytest.approx(expected.latency_s, rel=1e-9, abs=0), seed
    assert (found.energy_j is None) == (expected.energy_j is None), seed
    assert expected.energy_j is None or found.energy_j == pytest.approx(expected.energy_j, rel=1e-9, abs=0), seed
    assert found.network_bytes == pytest.approx(expected.network_bytes, rel=1e-12, abs=0.5), seed
    assert memory.memory_by_device(profile, fleet, stages, transfers) == expected.memory, seed


@pytest.mark.parametrize("first", range(0, 120, 40))
def test_contiguous_plans_cost_what_the_equations_say(first: int) -> None:
    for seed in range(first, first + 40):
        profile, fleet = random_case(seed)
        oracle = Oracle(profile, fleet)
        for stages, expected in islice(oracle.contiguous(replicas=True), 0, None, 5):
            transfers = relay_transfers(profile.graph, stages, profile.cut_bytes.tolist())
            require_equal(profile, fleet, stages, transfers, expected, seed)


@pytest.mark.parametrize("first", range(0, 300, 100))
def test_interleaved_and_replicated_stages_cost_what_the_equations_say(first: int) -> None:
    for seed in range(first, first + 100):
        profile, fleet = random_case(seed)
        oracle, rng = Oracle(profile, fleet), random.Random(seed)
        for _ in range(4):
            stages = oracle.random_stages(rng)
            expected = oracle.cost(stages, oracle.direct_messages(stages))
            require_equal(profile, fleet, stages, direct_transfers(profile.graph, stages), expected, seed)


def test_a_placement_is_refused_exactly_where_the_oracle_refuses_it() -> None:
    refused = 0
    for seed in range(200):
        profile, fleet = random_case(seed)
        oracle = Oracle(profile, fleet)
        stages = oracle.random_stages(random.Random(seed))
        transfers = direct_transfers(profile.graph, stages)
        fits = oracle.fits(oracle.cost(stages, oracle.direct_messages(stages)))
        assert (violations(profile, fleet, stages, transfers) == []) == fits, seed
        refused += not fits
    assert 10 < refused < 190
