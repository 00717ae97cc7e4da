import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Fleet, Link
from multiedge.profile import Profile
from partitioners.branches import Branches
from partitioners.latency import Latency
from tests.builders.fleets import fleet_of
from tests.builders.graphs import fork_graph
from tests.builders.profiles import profile_of


def fork(branches: int = 2, length: int = 3) -> Profile:
    """A head, `branches` chains of `length` nodes of one second, and a join; head and join take 0.1 s."""
    times = [0.1, *[1.0] * (branches * length), 0.1]
    return profile_of(fork_graph(branches, length), dict.fromkeys("pqr", times))


def fleet(*names: str, memory_bytes: int = 1 << 40) -> Fleet:
    return fleet_of(*names, links=Link(100.0), memory_bytes=memory_bytes)


def test_two_branches_run_at_the_same_time() -> None:
    plan = Branches().plan(fork(), fleet("p", "q"))
    assert plan.value == pytest.approx(0.1 + 3 + 0.1 + 0.1)  # the join waits for one of the branches only
    assert Latency().plan(fork(), fleet("p", "q")).value == pytest.approx(6.2)
    assert sorted(len(stage.nodes) for stage in plan.stages) == [1, 1, 3, 3]
    assert {stage.device for stage in plan.stages} == {"p", "q"}


def test_three_branches_on_three_devices() -> None:
    plan = Branches().plan(fork(branches=3), fleet("p", "q", "r"))
    assert plan.value == pytest.approx(3.4)
    assert plan.lower_bound <= plan.value


def test_a_slow_link_keeps_the_request_on_one_device() -> None:
    plan = Branches().plan(fork(), fleet_of("p", "q", links=Link(1.0)))
    assert plan.value == pytest.approx(6.2)
    assert len(plan.stages) == 1


def test_memory_is_hard() -> None:
    with pytest.raises(InfeasibleError):
        Branches().plan(fork(), fleet("p", "q", memory_bytes=15))


def test_negative_moves_are_an_error() -> None:
    with pytest.raises(ConfigError, match="moves"):
        Branches(moves=-1)


def test_the_same_seed_gives_the_same_plan() -> None:
    plans = [Branches(moves=50, seed=3).plan(fork(3), fleet("p", "q")) for _ in range(2)]
    assert plans[0].stages == plans[1].stages
