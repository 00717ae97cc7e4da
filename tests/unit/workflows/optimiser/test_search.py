import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import pytest

from multiedge.errors import InfeasibleError
from multiedge.fleet import Device, Fleet, Link
from multiedge.workflows.optimiser.configuration import Choice, Configuration, least_latency_s, value, wait_s
from multiedge.workflows.optimiser.heuristics import inferline, ipa
from multiedge.workflows.optimiser.placing import placed
from multiedge.workflows.optimiser.problem import Demand, Edge, Kind, Problem, Step, Variant
from multiedge.workflows.optimiser.search import Budget, judge, meets, optimise
from multiedge.workflows.optimiser.simulated import Simulated

FAST, SLOW = Kind("fast", ("fast1", "fast2"), 3.0), Kind("slow", ("slow1",), 1.0)


def variant(name: str, seconds: float, accuracy: float, memory_bytes: int = 0) -> Variant:
    """Four times as slow on the slow kind; four items take twice as long as one."""
    times = {("fast", 1): seconds, ("fast", 4): 2 * seconds, ("slow", 1): 4 * seconds, ("slow", 4): 8 * seconds}
    return Variant(name, times, accuracy, memory_bytes)


DETECT = Step("detect", (variant("tiny", 0.005, 0.8), variant("large", 0.02, 0.95)))
CLASSIFY = Step("classify", (variant("tiny", 0.01, 0.9), variant("large", 0.03, 1.0)), rate=0.3)


def problem(rate_per_s: float, p99_s: float, least_accuracy: float = 0.0, **values) -> Problem:
    edges = (Edge(-1, 0, 1000), Edge(0, 1, 1000), Edge(1, -1, 10))
    demand = Demand(rate_per_s, p99_s, least_accuracy)
    return Problem(
        **{"steps": (DETECT, CLASSIFY), "kinds": (FAST, SLOW), "demand": demand, "edges": edges, "paths": ((0, 1),)}
        | {"batches": (1, 4)}
        | values
    )


def simulated(task: Problem) -> Simulated:
    return Simulated(task, items=400, warmup=20)


@dataclass
class Always:
    """The same p99 latency for every configuration."""

    seconds: float

    def p99_s(self, configuration: Configuration) -> float:
        return self.seconds

    def least_p99_s(self, configuration: Configuration, steps: Collection[int]) -> float:
        return self.seconds


def optimum(task: Problem):
    return optimise(task, simulated(task))


@pytest.mark.parametrize(("rate", "seconds"), [(0.5, 3 * 2 / 5), (1.0, 3 * 2 / 10), (4.0, 3 * 2 / 10)])
def test_an_item_waits_until_as_many_have_come_whatever_their_work(rate, seconds) -> None:
    step = replace(DETECT, rate=rate)
    assert wait_s(problem(10.0, 1.0), step, Choice("tiny", 4, "fast", 2)) == pytest.approx(seconds)


def test_the_cheapest_device_is_enough_for_few_items() -> None:
    outcome = optimum(problem(2.0, 0.5))
    assert outcome.best.configuration.devices == (0, 1)
    assert (outcome.best.value, outcome.gap) == (1.0, 0.0)
    assert outcome.best.p99_s <= 0.5


def test_more_items_and_less_time_cost_more() -> None:
    values = [optimum(problem(rate, p99)).best.value for rate, p99 in [(2.0, 0.5), (40.0, 0.5), (40.0, 0.06), (120.0, 0.04)]]
    assert values == sorted(values)
    assert values[0] < values[-1]


def test_accuracy_is_bought_with_slower_variants() -> None:
    free, demanded = optimum(problem(10.0, 0.3)), optimum(problem(10.0, 0.3, 0.94))
    assert demanded.best.accuracy == pytest.approx(0.95)
    assert [choice.variant for choice in demanded.best.configuration.choices] == ["large", "large"]
    assert free.best.value <= demanded.best.value


def test_the_measured_accuracy_of_a_combination_counts_in_place_of_the_product() -> None:
    lifted = optimum(problem(10.0, 0.3, 0.94, measured_accuracy={("tiny", "large"): 0.96}))  # the product is 0.8
    assert ([choice.variant for choice in lifted.best.configuration.choices], lifted.best.accuracy) == (["tiny", "large"], 0.96)
    with pytest.raises(InfeasibleError, match=r"an accuracy of 0\.94"):
        optimum(problem(10.0, 0.3, 0.94, measured_accuracy={("large", "large"): 0.9}))  # the product is 0.95


def test_links_count_in_the_bound_of_the_program() -> None:
    devices = tuple(Device(name) for name in ("fast1", "fast2", "slow1"))
    links = {(name, "slow1"): Link(1e4, 0.0) for name in ("fast1", "fast2")}  # 1000 bytes take 0.1 s
    task = problem(1.0, 0.5, fleet=Fleet(devices, links))
    apart = Configuration((Choice("tiny", 1, "slow", 1), Choice("tiny", 1, "fast", 1)), (1, 1))
    assert least_latency_s(task, apart) == pytest.approx(0.02 + 0.1 + 0.01)


def test_what_cannot_be_met_says_so_and_what_to_do() -> None:
    with pytest.raises(InfeasibleError, match=r"no configuration keeps a p99 latency of 5 ms at 10 items/s"):
        optimum(problem(10.0, 0.005))
    with pytest.raises(InfeasibleError, match=r"step 'detect': no variant fits any kind of device at 1e\+06 items/s"):
        optimum(problem(1e6, 1.0))
    with pytest.raises(InfeasibleError, match=r"and an accuracy of 0.99 \(0 were simulated\)"):
        optimum(problem(10.0, 1.0, 0.99))


def test_a_spent_budget_leaves_a_gap_to_what_is_known() -> None:
    task = problem(60.0, 0.04)
    known = judge(task, Configuration((Choice("tiny", 1, "fast", 2), Choice("tiny", 1, "fast", 2)), (2, 0)), Always(0.01))
    outcome = optimise(task, Always(math.inf), known=[known], budget=Budget(simulations=1))
    assert outcome.best is known
    assert 0 < outcome.gap < 1
    with pytest.raises(InfeasibleError, match=r"was found by \d simulations; permit more of them"):
        optimise(task, Always(math.inf), budget=Budget(simulations=1))


def test_replicas_are_on_different_devices_and_the_heaviest_are_placed_first() -> None:
    task = problem(40.0, 1.0)
    chosen = Configuration((Choice("tiny", 1, "fast", 1), Choice("large", 1, "fast", 2)), (2, 0))
    assert placed(task, chosen, range(2)) == (("fast1",), ("fast1", "fast2"))
    alone = Configuration((Choice("large", 1, "fast", 1), Choice("tiny", 1, "fast", 1)), (2, 0))
    assert placed(task, alone, range(2)) == (("fast1",), ("fast2",))


def test_what_does_not_fit_into_memory_is_not_placed() -> None:
    steps = tuple(Step(name, (variant("v", 0.01, 1.0, memory_bytes=60),)) for name in "ab")
    small = Kind("fast", ("fast1",), memory_bytes=100.0)
    task = problem(1.0, 1.0, steps=steps, kinds=(small,))
    both = Configuration((Choice("v", 1, "fast", 1),) * 2, (1,))
    assert placed(task, both, range(2)) is None
    assert placed(task, both, [0]) == (("fast1",), ("fast1",))
    with pytest.raises(InfeasibleError, match="no configuration keeps"):
        optimum(task)


def test_a_step_that_few_items_reach_costs_their_share() -> None:
    task = problem(10.0, 1.0)
    assert value(task, Configuration((Choice("tiny", 1, "slow", 1),) * 2, (0, 1))) == 1.0
    always = problem(45.0, 1.0, steps=(DETECT, Step("classify", CLASSIFY.variants)))
    assert optimum(always).best.value > optimum(problem(45.0, 1.0)).best.value


@pytest.mark.parametrize("planner", [inferline, ipa])
def test_the_heuristics_find_no_better_configuration(planner) -> None:
    for rate_per_s, p99_s, least in [(2.0, 0.5, 0.0), (20.0, 0.2, 0.8), (40.0, 0.1, 0.0)]:
        task = problem(rate_per_s, p99_s, least)
        heuristic = planner(task, simulated(task))
        if heuristic is not None and meets(task, heuristic):
            assert heuristic.value >= optimum(task).best.value


def test_inferline_gives_up_where_even_the_fastest_hardware_is_too_slow() -> None:
    task = problem(2.0, 0.001)
    assert inferline(task, simulated(task)) is None
