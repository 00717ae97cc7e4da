import pytest

from multiedge.errors import ConfigError
from multiedge.fleet import Device, Fleet, Link, Power
from multiedge.workflows.optimiser.problem import Demand, Edge, Kind, Objective, Problem, Step, Variant, kinds_of

EQUAL = Fleet((Device("pi1", speed=0.5), Device("pi2", speed=0.5), Device("jetson", speed=1.0), Device("pi3", speed=0.5)))


def names(fleet: Fleet, **prices: float) -> list[tuple[str, ...]]:
    return [kind.devices for kind in kinds_of(fleet, prices)]


def test_devices_that_differ_in_nothing_but_name_are_of_one_kind() -> None:
    assert names(EQUAL) == [("pi1", "pi2", "pi3"), ("jetson",)]


def test_a_price_a_link_or_the_caller_makes_a_device_unlike_others() -> None:
    assert names(EQUAL, pi2=3.0) == [("pi1", "pi3"), ("pi2",), ("jetson",)]
    assert names(EQUAL.with_link("pi3", "jetson", Link(1e6))) == [("pi1", "pi2"), ("jetson",), ("pi3",)]
    assert names(Fleet(EQUAL.devices, source="pi1")) == [("pi1",), ("pi2", "pi3"), ("jetson",)]


def test_the_price_of_an_unknown_device_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"device 'pi9' is not in fleet"):
        kinds_of(EQUAL, {"pi9": 1.0})
    with pytest.raises(ConfigError, match="price of 'pi1': expected a number from 0, got -1"):
        kinds_of(EQUAL, {"pi1": -1.0})


def test_a_variant_is_as_fast_as_its_best_batch_up_to_the_limit() -> None:
    variant = Variant("v", {("a", 1): 0.01, ("a", 4): 0.02, ("a", 8): 0.08})
    assert variant.seconds_per_item("a", 8) == 0.005
    assert variant.least_seconds("a", 8) == 0.01
    assert variant.seconds_per_item("b", 8) == float("inf")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.0, 1.0), "rate: expected a number above 0, got 0"),
        ((1.0, float("inf")), "p99: expected a number above 0, got inf"),
        ((1.0, 1.0, 1.5), "accuracy: expected a share from 0 to 1, got 1.5"),
    ],
)
def test_a_demand_that_nothing_can_meet_is_refused(values, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Demand(*values)


def test_energy_needs_the_power_of_every_device() -> None:
    step = Step("s", (Variant("v", {("a", 1): 0.01}),))
    with pytest.raises(ConfigError, match="expected the power of each device, got none of 'b1'"):
        Problem(
            (step,),
            (Kind("a", ("a1",), power=Power(1, 2)), Kind("b", ("b1",))),
            Demand(1.0, 1.0, objective=Objective.ENERGY),
        )


def test_the_least_time_of_a_message_is_that_of_the_best_link_between_two_kinds() -> None:
    fleet = EQUAL.with_link("pi1", "jetson", Link(1000.0, 0.1)).with_link("pi2", "jetson", Link(500.0, 0.1))
    kinds = (Kind("pi", ("pi1", "pi2")), Kind("jetson", ("jetson",)))
    step = Step("s", (Variant("v", {("pi", 1): 0.01}),))
    problem = Problem((step, step), kinds, Demand(1.0, 1.0), (Edge(0, 1, 100),), ((0, 1),), fleet)
    assert problem.link_s("pi", "jetson", 100) == pytest.approx(0.2)
    assert problem.link_s("pi", "pi", 100) == 0.0
