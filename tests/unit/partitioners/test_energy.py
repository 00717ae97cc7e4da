"""The fewest joules per item: sums on paper, bounds, and the prices of a plan at a given rate."""

from __future__ import annotations

import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet, Link, Power
from multiedge.profile import Profile
from partitioners.energy import Energy, energy_prices, total_price
from partitioners.engine.chain import Chain, Placed
from tests.builders.fleets import fleet_of, with_device
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.profiles import profile_of


def device(name: str, idle_w: float, busy_w: float, **values: float) -> Device:
    return Device(name, power=Power(idle_w, busy_w), **values)


def chain_profile(seconds: dict[str, list[float]], sizes: list[int] | int = 0, **values: object) -> Profile:
    return profile_of(chain_graph(len(next(iter(seconds.values()))), sizes=sizes), seconds, **values)


HOT, COOL = device("hot", 0, 10), device("cool", 0, 1)


@pytest.mark.parametrize(
    ("devices", "seconds", "joules", "used"),
    [
        pytest.param((HOT,), {"hot": [1, 1]}, 20.0, ["hot"], id="one device"),
        pytest.param((HOT, COOL), {"hot": [1, 1], "cool": [5, 5]}, 10.0, ["cool"], id="slow and thrifty"),
        pytest.param((HOT, COOL), {"hot": [1, 1], "cool": [50, 50]}, 20.0, ["hot"], id="too slow to be thrifty"),
        pytest.param((HOT, COOL), {"hot": [1, 1], "cool": [50, 2]}, 12.0, ["hot", "cool"], id="each where it takes less"),
        pytest.param(
            (device("a", 4, 10), device("b", 4, 10)), {"a": [1, 1], "b": [1, 1]}, 20.0, None, id="a second one only idles"
        ),
        # Alone: 10 W * 2 s. Both: 2 * (4 W * T idle and 6 W * 1 s busy) at T = 1 s is 20 J as well, here with 9 W busy each.
        pytest.param(
            (device("a", 4, 20), device("b", 0, 18)), {"a": [1, 1], "b": [1, 1]}, 36.0, ["b"], id="the one that idles at 0 W"
        ),
    ],
)
def test_the_least_energy_on_paper(
    devices: tuple[Device, ...], seconds: dict[str, list[float]], joules: float, used: list[str] | None
) -> None:
    plan = Energy().plan(chain_profile(seconds), Fleet(devices))
    assert plan.value == pytest.approx(joules)
    assert plan.gap == pytest.approx(0.0, abs=1e-6)
    assert used is None or [stage.device for stage in plan.stages] == used


def test_idle_devices_draw_power_for_as_long_as_the_slowest_takes() -> None:
    """Split, T is 4 s: hot 4 W idle * 4 + 6 W * 1, cool 1 W * 4: 26 J; alone on hot, 10 W * 3 s = 30 J."""
    fleet = Fleet((device("hot", 4, 10), device("cool", 0, 1)))
    plan = Energy().plan(chain_profile({"hot": [1, 2], "cool": [99, 4]}), fleet)
    assert plan.value == pytest.approx(26.0)


def test_bytes_cost_the_sender() -> None:
    """Sending 10 bytes costs 1 J each on hot: staying takes 20 J, moving the second node 10 + 10 + 2."""
    sending = Fleet((device("hot", 0, 10, joules_per_byte=1.0), COOL))
    seconds = {"hot": [1.0, 1.0], "cool": [99.0, 2.0]}
    assert Energy().plan(chain_profile(seconds, [0, 10, 0]), sending).value == pytest.approx(20.0)
    assert Energy().plan(chain_profile(seconds, [0, 7, 0]), sending).value == pytest.approx(10 + 7 + 2)


def test_results_sent_back_to_the_source_cost_too() -> None:
    fleet = Fleet((HOT, device("cool", 0, 1, joules_per_byte=1.0)), source="hot")
    assert Energy().plan(chain_profile({"hot": [1.0], "cool": [2.0]}, [0, 7]), fleet).value == pytest.approx(2 + 7)
    assert Energy().plan(chain_profile({"hot": [1.0], "cool": [2.0]}, [0, 9]), fleet).value == pytest.approx(10)


@pytest.mark.parametrize(
    ("bounds", "joules"),
    [
        pytest.param({}, 4.0, id="none"),
        pytest.param({"min_fps": 0.24}, 4.0, id="a rate that the thrifty device keeps"),
        pytest.param({"min_fps": 0.3}, 12.0, id="a rate that takes both"),
        pytest.param({"max_latency_s": 3.5}, 12.0, id="a latency that takes both"),
        pytest.param({"max_latency_s": 2.5}, 20.0, id="a latency that takes the fast one"),
        pytest.param({"min_fps": 0.3, "max_latency_s": 2.5}, 20.0, id="both bounds"),
    ],
)
def test_bounds_are_paid_for_with_joules(bounds: dict[str, float], joules: float) -> None:
    """Alone, cool takes 4 s and 4 J, hot 2 s and 20 J; half each takes 2 s a item, 3 s for one, and 12 J."""
    plan = Energy(**bounds, time_limit_s=0.2).plan(chain_profile({"hot": [1, 1], "cool": [2, 2]}), Fleet((HOT, COOL)))
    assert plan.value == pytest.approx(joules)
    assert plan.lower_bound <= joules * (1 + 1e-6)
    assert plan.gap == pytest.approx(0.0, abs=1e-6) or "max_latency_s" in bounds


def test_the_scope_names_the_bounds() -> None:
    fleet, profile = Fleet((HOT,)), chain_profile({"hot": [1, 1]})
    assert Energy().plan(profile, fleet).bound_scope == "contiguous plans"
    both = Energy(min_fps=0.4, max_latency_s=2.5).plan(profile, fleet)
    assert both.bound_scope == "contiguous plans of at least 0.4 items/s within 2500 ms"


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        pytest.param({"min_fps": 1.5}, r"gives 1\.5 items/s; ask for 1 items/s, the most possible", id="rate"),
        pytest.param({"max_latency_s": 1.5}, "within 1500 ms: allow 2000 ms, the least latency possible", id="latency"),
        pytest.param({"min_fps": 0.9, "max_latency_s": 1.5}, "allow 2000 ms", id="both"),
    ],
)
def test_bounds_that_no_plan_keeps_are_refused_with_those_that_one_does(bounds: dict[str, float], message: str) -> None:
    profile = chain_profile({name: [1, 1] for name in "ab"})
    with pytest.raises(InfeasibleError, match=message):
        Energy(**bounds).plan(profile, Fleet((device("a", 0, 1), device("b", 0, 1))))


def test_devices_without_watts_are_left_out_by_name() -> None:
    fleet = with_device(Fleet((HOT, COOL)), "cool", power=None)
    plan = Energy().plan(chain_profile({"hot": [1, 1], "cool": [5, 5]}), fleet)
    assert plan.value == 20.0
    assert plan.left_out == {"cool": "it declares no power"}
    with pytest.raises(ConfigError, match=r"fleet: strategy 'energy' needs watts, and no device declares any"):
        Energy().plan(chain_profile({"a": [1]}), fleet_of("a"))


def test_devices_that_would_take_more_are_left_out_with_the_figure() -> None:
    plan = Energy().plan(chain_profile({"hot": [1, 1], "cool": [5, 5]}), Fleet((HOT, COOL)))
    assert plan.left_out == {"hot": "no plan found that uses it takes less than 10 J per item"}


def test_prices_are_joules_at_a_rate() -> None:
    """At 8 s per item, hot idles at 4 W; sending costs 0.5 J per byte."""
    fleet = Fleet((device("hot", 4, 10, joules_per_byte=0.5), device("cool", 1, 3)), source="cool")
    profile = chain_profile({"hot": [1, 2], "cool": [3, 4]}, [10, 20, 30], overhead_s={"hot": 1.0, "cool": 0.0})
    chain = Chain.of(profile, fleet)
    prices = energy_prices(chain, 8.0)
    assert prices.stage.tolist() == [(10 - 4) * 1.0 + 4 * 8, 1 * 8.0]
    assert prices.nodes.tolist() == [[0, 6, 6 * 3 + 0.5 * 30], [0, 2 * 3, 2 * 7]]
    assert prices.hand_over[0, 1].tolist() == [5, 10, 0]
    assert prices.hand_over[1, 0].tolist() == [0, 0, 0]
    assert prices.late_source == 0.0
    path = [Placed(0, 0, 1), Placed(1, 1, 2)]
    assert total_price(chain, prices, path) == pytest.approx((6 + 32 + 6) + 0.5 * 20 + (2 * 4 + 8))


def test_a_source_that_runs_a_later_stage_sends_the_input_first() -> None:
    fleet = Fleet((device("src", 0, 1, joules_per_byte=2.0), device("other", 0, 1)), source="src")
    chain = Chain.of(chain_profile({"src": [1, 1], "other": [1, 1]}, [10, 0, 0]), fleet)
    prices = energy_prices(chain, 1.0)
    assert prices.late_source == 20.0
    assert total_price(chain, prices, [Placed(1, 0, 1), Placed(0, 1, 2)]) == pytest.approx(2 + 20)
    assert total_price(chain, prices, [Placed(0, 0, 1), Placed(1, 1, 2)]) == pytest.approx(2)


def test_no_time_gives_a_plan_with_a_bound() -> None:
    graph = graph_of("a: x", "b: a", "c: b", tensors=0)
    fleet = Fleet((device("p", 3, 10), device("q", 2, 9), device("r", 1, 4)))
    profile = profile_of(graph, {"p": [1, 2, 3], "q": [2, 3, 1], "r": [3, 3, 5]})
    hasty, best = Energy(time_limit_s=0.0).plan(profile, fleet), Energy().plan(profile, fleet)
    assert hasty.lower_bound <= best.value * (1 + 1e-6)
    assert best.value <= hasty.value


def test_a_link_that_is_slow_costs_idle_joules_only() -> None:
    fleet = Fleet((device("hot", 1, 10), device("cool", 0, 1)), {("hot", "cool"): Link(1.0)})
    profile = chain_profile({"hot": [1, 5], "cool": [999, 1]}, [0, 8, 0])
    # Split, an item takes 8 s of the link: 1 W * 8 s + 9 W * 1 s + 1 J = 18 J; alone on hot 60 J.
    assert Energy().plan(profile, fleet).value == pytest.approx(18.0)
