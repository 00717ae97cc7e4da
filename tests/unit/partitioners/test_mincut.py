import pytest

from multiedge.errors import InfeasibleError
from multiedge.fleet import Device, Fleet, Link
from multiedge.profile import Profile
from partitioners.mincut import MinCut
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph, graph_of
from tests.builders.profiles import profile_of


def chain(phone: list[float], cloud: list[float], sizes: list[int]) -> Profile:
    """n0 -> n1 -> ...; `sizes` are the bytes of the input and of what each node makes."""
    return profile_of(chain_graph(len(phone), sizes=sizes), {"phone": phone, "cloud": cloud})


def fleet(rate: float, memory_bytes: int = 1 << 40) -> Fleet:
    return fleet_of("phone", "cloud", links=Link(rate), source="phone", memory_bytes=memory_bytes)


PROFILE = chain([1, 4, 4], [0.1, 0.4, 0.4], [100, 10, 10, 1])


def test_cuts_where_little_crosses() -> None:
    plan = MinCut().plan(PROFILE, fleet(10))
    assert [(stage.device, stage.nodes) for stage in plan.stages] == [("phone", (0,)), ("cloud", (1, 2))]
    assert plan.value == pytest.approx(1 + 1 + 0.8 + 0.1)
    assert plan.gap == pytest.approx(0.0)
    assert plan.notes == ("least serial time of any placement: 2.9 s",)


@pytest.mark.parametrize(("rate", "device"), [(1e6, "cloud"), (0.1, "phone")])
def test_takes_one_device_where_the_link_is_fast_or_slow(rate: float, device: str) -> None:
    plan = MinCut().plan(PROFILE, fleet(rate))
    assert [stage.device for stage in plan.stages] == [device]
    assert set(plan.left_out) == {"phone", "cloud"} - {device}


def test_may_come_back_to_a_device() -> None:
    there_and_back = chain([0, 9, 0], [9, 1, 9], [1, 1, 1, 1])
    plan = MinCut().plan(there_and_back, fleet(1e3))
    assert [stage.device for stage in plan.stages] == ["phone", "cloud", "phone"]


def test_a_plan_that_would_not_fit_is_refused() -> None:
    with pytest.raises(InfeasibleError, match="the cut does not see memory"):
        MinCut().plan(PROFILE, fleet(1e6, memory_bytes=50))


def test_a_single_device_holds_all() -> None:
    alone = Fleet((Device("cloud"),))
    assert MinCut().plan(PROFILE, alone).value == pytest.approx(0.9)


def test_rounding_does_not_tie_the_best_placement_with_one_that_is_a_little_worse() -> None:
    """All on the phone takes 1 + 1 + 7/8 s, all in the cloud 3 s: of the first, every term is rounded up."""
    graph = graph_of("t: x", "y: x t", tensors={"x": 1, "t": 1, "y": 7})
    links = {("phone", "cloud"): Link(8.0), ("cloud", "phone"): Link(1.0)}
    profile = profile_of(graph, {"phone": [0, 1], "cloud": [0, 3]})
    plan = MinCut().plan(profile, fleet_of("phone", "cloud", links=links, source="cloud"))
    assert plan.value == pytest.approx(2.875)
