"""Each strategy against every plan there is, tried and priced by an oracle that shares no code with the planner.

Cases are numbered by seed and the same everywhere.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from math import inf

import numpy as np
import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet, Link, Power
from multiedge.profile import Profile
from partitioners.branches import Branches
from partitioners.brute_force import BruteForce
from partitioners.energy import Energy
from partitioners.engine import chain as chain_module
from partitioners.engine.contract import Partitioner
from partitioners.engine.load_bound import load_bound
from partitioners.exact import Exact
from partitioners.latency import Latency
from partitioners.memory_matching import MemoryMatching
from partitioners.mincut import MinCut
from partitioners.random import Random
from partitioners.single import Single
from partitioners.throughput import Throughput
from tests.builders.cases import Options, random_case
from tests.builders.fleets import fleet_of, with_device
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.optima import ENERGY, EXACT, ROUNDING, planned, require_honest, require_optimum
from tests.builders.oracle import Cost, Oracle, best
from tests.builders.profiles import profile_of

POWERED = Options(powered=True)
LATE = Options(early_outputs=False, scales_s=(1.0, 1e-4, 1e5))


def blocks(count: int, size: int = 20) -> pytest.MarkDecorator:
    """Seeds 0 ... count - 1, `size` in a test."""
    return pytest.mark.parametrize("seeds", [range(at, min(at + size, count)) for at in range(0, count, size)], ids=str)


# Throughput.


@blocks(120)
def test_throughput_is_the_smallest_bottleneck_of_all_contiguous_plans(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed))
        require_optimum(planned(Throughput(), oracle), best(oracle.contiguous_costs(), "throughput"), seed)


@blocks(80)
def test_with_replicas_throughput_is_the_best_over_all_teams_of_equal_devices(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, Options(nodes=(1, 4))))
        optimum = best(oracle.contiguous_costs(replicas=True), "throughput")
        require_optimum(planned(Throughput(replicate=True), oracle), optimum, seed)


@pytest.mark.parametrize("seed", range(8))
def test_four_equal_devices_replicate_stages_as_the_oracle_does(seed: int) -> None:
    rng = random.Random(seed)
    times = [rng.choice([1.0, 2.0, 8.0]) for _ in range(3)]
    fleet = fleet_of(*"abcd", links=Link(rng.choice([1.0, 5.0, inf])))
    profile = profile_of(chain_graph(3, sizes=[rng.randint(0, 9) for _ in range(4)]), dict.fromkeys("abcd", times))
    oracle = Oracle(profile, fleet)
    optimum = best(oracle.contiguous_costs(replicas=True), "throughput")
    require_optimum(planned(Throughput(replicate=True), oracle), optimum, seed)


@blocks(60)
def test_throughput_out_of_time_has_a_plan_and_a_bound_that_holds(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed))
        require_honest(planned(Throughput(time_limit_s=0.0), oracle), best(oracle.contiguous_costs(), "throughput"), seed)


@blocks(200)
def test_throughput_within_a_latency_that_some_plan_just_reaches(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, Options(nodes=(1, 5), scales_s=(1.0, 1e-6, 1e5))))
        costs = oracle.contiguous_costs()
        latencies = sorted({cost.latency_s for cost in costs if cost.latency_s > 0})
        if not latencies:
            continue
        latency_s = random.Random(seed).choice(latencies)
        plan = planned(Throughput(max_latency_s=latency_s), oracle)
        require_optimum(plan, best(costs, "throughput", max_latency_s=latency_s * ROUNDING), seed)
        assert plan is not None
        assert plan.estimate.latency_s <= latency_s * (1 + EXACT), seed
        if not any(cost.latency_s == 0 for cost in costs):
            assert planned(Throughput(max_latency_s=latencies[0] * 0.99), oracle) is None, seed


@blocks(40)
def test_with_replicas_throughput_within_a_latency_is_the_best_over_all_teams(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, Options(nodes=(1, 4))))
        costs = oracle.contiguous_costs(replicas=True)
        if not any(cost.latency_s > 0 for cost in costs):
            continue
        latency_s = 1.01 * random.Random(seed).choice([cost.latency_s for cost in costs if cost.latency_s > 0])
        plan = planned(Throughput(replicate=True, max_latency_s=latency_s), oracle)
        require_optimum(plan, best(costs, "throughput", max_latency_s=latency_s), seed)


@blocks(40)
def test_throughput_within_a_latency_out_of_time_has_a_bound_that_holds(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, LATE))
        costs = oracle.contiguous_costs()
        latency_s = max((cost.latency_s for cost in costs), default=0.0) / 2
        if latency_s > 0:
            plan = planned(Throughput(max_latency_s=latency_s, time_limit_s=0.0), oracle)
            require_honest(plan, best(costs, "throughput", max_latency_s=latency_s), seed)


# Latency. Outputs that a model makes early are left to the bound: the strategy does not search their way back.


@blocks(120)
def test_latency_is_the_least_of_all_contiguous_plans(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, LATE))
        require_optimum(planned(Latency(), oracle), best(oracle.contiguous_costs(), "latency"), seed)


@blocks(80)
def test_latency_with_early_outputs_is_the_least_of_all_contiguous_plans(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, Options(scales_s=LATE.scales_s)))
        require_optimum(planned(Latency(), oracle), best(oracle.contiguous_costs(), "latency"), seed)


@blocks(100)
def test_least_latency_at_a_rate_that_some_plan_just_reaches(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, LATE))
        costs = oracle.contiguous_costs()
        rates = sorted({1 / cost.bottleneck_s for cost in costs if cost.bottleneck_s > 0})
        if not rates:
            continue
        min_fps = random.Random(seed).choice(rates)
        optimum = best(costs, "latency", most_s=ROUNDING / min_fps)
        require_optimum(planned(Latency(min_fps=min_fps), oracle), optimum, seed)
        assert planned(Latency(min_fps=rates[-1] * 1.01), oracle) is None or 0.0 in {cost.bottleneck_s for cost in costs}


# Energy.


@blocks(100)
def test_energy_is_the_least_of_all_contiguous_plans(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, POWERED))
        require_optimum(planned(Energy(), oracle), best(oracle.contiguous_costs(), "energy"), seed, rel=ENERGY)


@blocks(80)
def test_devices_that_declare_no_power_are_left_out(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed))
        if not any(device.power for device in oracle.fleet.devices):
            with pytest.raises(ConfigError, match="no device declares any"):
                Energy().plan(oracle.profile, oracle.fleet)
            continue
        require_optimum(planned(Energy(), oracle), best(oracle.contiguous_costs(), "energy"), seed, rel=ENERGY)


@blocks(80)
def test_least_energy_at_a_rate_between_those_of_plans(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, POWERED))
        costs = [cost for cost in oracle.contiguous_costs() if cost.bottleneck_s > 0]
        if costs:
            most_s = random.Random(seed).choice(costs).bottleneck_s * 1.03
            optimum = best(oracle.contiguous_costs(), "energy", most_s=most_s)
            require_optimum(planned(Energy(min_fps=1 / most_s), oracle), optimum, seed, rel=ENERGY)


@blocks(60)
def test_least_energy_under_bounds_on_rate_and_latency(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed, Options(powered=True, nodes=(1, 4))))
        costs, rng = oracle.contiguous_costs(), random.Random(seed)
        if not costs:
            continue
        most_s, latency_s = (inf, 1.5)[seed % 2] * rng.choice(costs).bottleneck_s, 1.03 * rng.choice(costs).latency_s
        bounds = {"most_s": most_s, "max_latency_s": latency_s}
        if not most_s > 0 or not latency_s > 0:
            continue
        plan = planned(Energy(1 / most_s if most_s < inf else None, latency_s), oracle)
        require_optimum(plan, best(costs, "energy", **bounds), seed, rel=ENERGY)
        if plan is not None:
            assert plan.estimate.bottleneck_s <= most_s * (1 + EXACT), seed
            assert plan.estimate.latency_s <= latency_s * (1 + EXACT), seed


# Plans over graphs.


@blocks(80)
def test_exact_is_the_best_with_one_stage_per_device_or_of_the_chains(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed))
        costs = [*(cost for _, cost in oracle.one_stage_each()), *oracle.contiguous_costs()]
        require_optimum(planned(Exact(gap=0.0, orders=3), oracle), best(costs, "throughput"), seed, rel=1e-6)


@blocks(40)
def test_exact_with_a_gap_ends_within_it(seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed))
        costs = [*(cost for _, cost in oracle.one_stage_each()), *oracle.contiguous_costs()]
        optimum, plan = best(costs, "throughput"), planned(Exact(gap=0.2, orders=3), oracle)
        require_honest(plan, optimum, seed, rel=1e-6)
        assert plan is None or plan.value <= optimum / 0.8 * (1 + 1e-6), seed


@blocks(60)
@pytest.mark.parametrize("strategy", [Branches(moves=20), MinCut()], ids=["branches", "mincut"])
def test_bounds_on_the_latency_of_any_plan_hold(strategy: Partitioner, seeds: Iterable[int]) -> None:
    for seed in seeds:
        oracle = Oracle(*random_case(seed))
        costs = [*(cost for _, cost in oracle.one_stage_each()), *oracle.contiguous_costs()]
        plan = planned(strategy, oracle)
        if plan is not None and costs:
            assert plan.lower_bound <= best(costs, "latency") * (1 + EXACT), seed


@pytest.mark.parametrize("objective", ["throughput", "latency"])
@pytest.mark.parametrize("interleave", [False, True], ids=["contiguous", "interleaved"])
def test_brute_force_tries_every_plan(objective: str, interleave: bool) -> None:
    for seed in range(60):
        oracle = Oracle(*random_case(seed))
        costs = [cost for _, cost in oracle.one_stage_each()] if interleave else oracle.contiguous_costs()
        require_optimum(planned(BruteForce(objective, interleave), oracle), best(costs, objective), seed)


# Baselines.


@pytest.mark.parametrize("objective", ["throughput", "latency"])
def test_single_is_the_best_of_one_device(objective: str) -> None:
    for seed in range(80):
        oracle = Oracle(*random_case(seed))
        costs = [cost for stages, cost in oracle.contiguous() if len(stages) == 1]
        require_optimum(planned(Single(objective), oracle), best(costs, objective), seed)


def test_memory_matching_leaves_the_fullest_device_as_empty_as_cuts_allow() -> None:
    for seed in range(80):
        oracle = Oracle(*random_case(seed))
        plan = planned(MemoryMatching(), oracle)
        shares = [fullest(oracle, cost) for stages, cost in oracle.contiguous() if is_in_order(oracle.fleet, stages)]
        assert (plan is None) == (not shares), seed
        if plan is not None:
            assert fullest(oracle, oracle.cost_of(plan)) == pytest.approx(min(shares)), seed


def fullest(oracle: Oracle, cost: Cost) -> float:
    return max(nbytes / (oracle.fleet.device(name).memory_bytes or inf) for name, nbytes in cost.memory.items())


def is_in_order(fleet: Fleet, stages: list) -> bool:
    places = [fleet.names.index(stage.device) for stage in stages]
    return places == sorted(places)


@pytest.mark.parametrize("name", ["equal_flops", "equal_parameters"])
def test_equal_splits_have_the_smallest_largest_part(name: str) -> None:
    from partitioners import PARTITIONERS

    for seed in range(80):
        profile, fleet = random_case(seed)
        work = [random.Random(seed).randint(0, 9) for _ in profile.graph.nodes]
        oracle = Oracle(profile_of(profile.graph, profile.seconds, macs=work, fused=profile.fused), fleet)
        weights = 2 * np.array(work)
        if name == "equal_parameters":
            weights = np.array([sum(profile.graph.parameters[each].nbytes or 0 for each in own) for own in oracle.parameters])
        parts = [
            max(weights[list(stage.nodes)].sum() for stage in stages)
            for stages, _ in oracle.contiguous()
            if is_in_order(fleet, stages)
        ]
        plan = planned(PARTITIONERS.load(name)(), oracle)
        assert (plan is None) == (not parts), seed
        if plan is not None:
            assert max(weights[list(stage.nodes)].sum() for stage in plan.stages) == min(parts), seed


def test_random_plans_are_sound() -> None:
    counts = set()
    for seed in range(60):
        oracle = Oracle(*random_case(seed, Options(limited=False)))
        plan = planned(Random(seed=seed), oracle)
        assert plan is not None
        counts.add(len(plan.stages))
    assert counts == {1, 2, 3}


@pytest.mark.parametrize("strategy", [BruteForce("energy"), Single("energy")], ids=["brute_force", "single"])
def test_energy_that_is_not_known_is_not_proven(strategy: Partitioner) -> None:
    plan = strategy.plan(profile_of(chain_graph(2), {"a": 1.0}), fleet_of("a"))
    assert plan.gap != 0


# Examples that once were wrong.


def watts(name: str, idle_w: float, busy_w: float, **values: object) -> Device:
    return Device(name, power=Power(idle_w, busy_w), **values)


def test_energy_takes_the_plan_at_exactly_the_rate_asked_for() -> None:
    """y alone: 9 W busy for 4 s = 36 J, and 0.25 items/s."""
    fleet = Fleet((watts("x", 10, 10), watts("y", 1, 9), watts("z", 100, 100)))
    profile = profile_of(chain_graph(2, sizes=0), {"x": 2.0, "y": 2.0, "z": 0.5})
    assert Energy().plan(profile, fleet).value == pytest.approx(36.0)
    assert Energy(min_fps=0.25).plan(profile, fleet).value == pytest.approx(36.0)


@pytest.mark.parametrize("seed", [584])
def test_least_energy_at_a_rate_that_some_plan_just_reaches(seed: int) -> None:
    oracle = Oracle(*random_case(seed, POWERED))
    costs = oracle.contiguous_costs()
    for most_s in sorted({cost.bottleneck_s for cost in costs} - {0.0}):
        plan = planned(Energy(min_fps=1 / most_s), oracle)
        require_honest(plan, best(costs, "energy", most_s=most_s * ROUNDING), seed, rel=ENERGY)


@pytest.mark.parametrize("seed", [54])
def test_least_energy_within_a_latency_where_a_device_declares_no_power(seed: int) -> None:
    oracle = Oracle(*random_case(seed))
    costs = oracle.contiguous_costs()
    latencies = sorted({cost.latency_s for cost in costs if cost.energy_j is not None})
    for latency_s in latencies:
        plan = planned(Energy(max_latency_s=latency_s * 1.03, time_limit_s=0.3), oracle)
        require_honest(plan, best(costs, "energy", max_latency_s=latency_s * 1.03), seed, rel=ENERGY)


def test_two_nodes_within_a_latency_are_proven_in_a_second() -> None:
    """x alone: 2 s and 20 J; y alone: 4 s and 4 J; one node each: 3 s and 12 J."""
    fleet = Fleet((watts("x", 0, 10), watts("y", 0, 1)))
    profile = profile_of(chain_graph(2, sizes=0), {"x": 1.0, "y": 2.0})
    plan = Energy(max_latency_s=3.5, time_limit_s=1.0).plan(profile, fleet)
    assert plan.value == pytest.approx(12.0)
    assert plan.gap == pytest.approx(0.0, abs=1e-6)


def test_a_tolerance_is_not_reported_as_a_proof() -> None:
    for seed in (33, 65, 141):
        oracle = Oracle(*random_case(seed, POWERED))
        plan = planned(Energy(tolerance=0.5), oracle)
        require_honest(plan, best(oracle.contiguous_costs(), "energy"), seed, rel=ENERGY)


def test_latency_is_honest_at_nanoseconds() -> None:
    oracle = Oracle(*random_case(491))
    require_honest(planned(Latency(), oracle), best(oracle.contiguous_costs(), "latency"), 491)


def test_the_load_bound_does_not_depend_on_the_unit_of_time() -> None:
    seconds = np.array([[1.0, 4.0], [2.0, 3.0], [6.0, 1.0]])
    assert load_bound(seconds * 1e-10) == pytest.approx(load_bound(seconds) * 1e-10, rel=1e-6, abs=0)


EQUALS = [f"d{number}" for number in range(4)]


@pytest.mark.parametrize("source", ["d0", "d3"])
def test_equal_devices_are_equal_whichever_of_them_is_the_source(source: str) -> None:
    """One node of 9 s on the three devices that are not the source: 3 s per item."""
    oracle = Oracle(profile_of(chain_graph(1, sizes=0), dict.fromkeys(EQUALS, 9.0)), fleet_of(*EQUALS, source=source))
    optimum = best(oracle.contiguous_costs(replicas=True), "throughput")
    assert optimum == pytest.approx(3.0)
    require_optimum(planned(Throughput(replicate=True), oracle), optimum, 0)


def test_no_plan_fits_is_reported_with_a_proof_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes of 1, 2, 3, 4 MiB on devices whose memories hold just them, all different."""
    monkeypatch.setattr(chain_module, "MOST_CELLS", 40)
    nodes = [f"t{index + 1}: t{index} w{index}" for index in range(4)]
    graph = graph_of(*nodes, inputs=("t0",), tensors=0, parameters={f"w{index}": (index + 1) << 20 for index in range(4)})
    fleet = Fleet(tuple(Device(f"d{index}", memory_bytes=(index + 1) << 20) for index in range(4)))
    oracle = Oracle(profile_of(graph, {f"d{index}": 1.0 + index for index in range(4)}), fleet)
    assert planned(MemoryMatching(), oracle) is not None
    assert planned(Throughput(), oracle) is not None


def refusal(strategy: Partitioner, profile: Profile, fleet: Fleet) -> str | None:
    try:
        strategy.plan(profile, fleet)
    except InfeasibleError as error:
        return str(error)
    return None


def with_more_memory(fleet: Fleet, error: str) -> Fleet:
    """The fleet after the advice '1.5 MiB more on 'd0' would do' is followed to the letter."""
    advice = re.search(r"; (\S+) MiB more on '(\w+)'", error)
    assert advice is not None, error
    name, extra = advice[2], float(advice[1]) * 2**20
    return with_device(fleet, name, memory_bytes=int(fleet.device(name).memory_bytes + extra))


def faster(fleet: Fleet, error: str) -> Partitioner:
    advice = re.search(r"ask for (\S+) items/s", error)
    assert advice is not None, error
    return Latency(min_fps=float(advice[1]))


def later(fleet: Fleet, error: str) -> Partitioner:
    advice = re.search(r"allow (\S+) ms", error)
    assert advice is not None, error
    return Energy(max_latency_s=float(advice[1]) / 1e3, time_limit_s=0.3)


def sooner(fleet: Fleet, error: str) -> Partitioner:
    advice = re.search(r"allow (\S+) ms", error)
    assert advice is not None, error
    return Throughput(max_latency_s=float(advice[1]) / 1e3)


@pytest.mark.parametrize("strategy", [Single(), Throughput()], ids=["single", "throughput"])
def test_the_memory_that_is_advised_suffices(strategy: Partitioner) -> None:
    for seed in range(500):
        profile, fleet = random_case(seed)
        error = refusal(strategy, profile, fleet)
        assert error is None or strategy.plan(profile, with_more_memory(fleet, error)).stages, seed


@pytest.mark.parametrize(
    ("refused", "advised", "objective"),
    [
        pytest.param(lambda least: Latency(min_fps=2 / least), faster, "throughput", id="items per second"),
        pytest.param(lambda least: Energy(max_latency_s=least / 2), later, "latency", id="latency"),
        pytest.param(lambda least: Throughput(max_latency_s=least / 2), sooner, "latency", id="latency for throughput"),
    ],
)
def test_the_bound_that_is_advised_can_be_kept(
    refused: Callable[[float], Partitioner], advised: Callable[[Fleet, str], Partitioner], objective: str
) -> None:
    for seed in range(40):
        profile, fleet = random_case(seed, Options(powered=True, early_outputs=False))
        least = best(Oracle(profile, fleet).contiguous_costs(), objective)
        if least:
            with pytest.raises(InfeasibleError) as error:
                refused(least).plan(profile, fleet)
            assert advised(fleet, str(error.value)).plan(profile, fleet).stages, seed
