import numpy as np
import pytest

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet, Link
from multiedge.graph import Graph, Node, Tensor
from multiedge.profile import Profile
from partitioners.branches import Branches
from partitioners.latency import Latency


def fork(branches: int = 2, length: int = 3) -> Profile:
    """A head, `branches` chains of `length` nodes of one second, and a join; head and join take 0.1 s."""
    nodes = [Node("head", "Op", ("x",), ("h",))]
    for branch in range(branches):
        reads = "h"
        for step in range(length):
            nodes.append(Node(f"b{branch}.{step}", "Op", (reads,), (f"t{branch}.{step}",)))
            reads = f"t{branch}.{step}"
    nodes.append(Node("join", "Op", tuple(f"t{branch}.{length - 1}" for branch in range(branches)), ("y",)))
    names = ["x", *(name for node in nodes for name in node.writes)]
    graph = Graph("fork", tuple(nodes), ("x",), ("y",), {name: Tensor(name, nbytes=10) for name in names})
    times = np.array([0.1, *[1.0] * (branches * length), 0.1])
    return Profile(graph, np.zeros(len(nodes), np.int64), np.zeros(len(nodes)), dict.fromkeys("pqr", times))


def fleet(*names: str, memory_bytes: int = 1 << 40) -> Fleet:
    pairs = {(a, b): Link(100.0) for a in names for b in names if a < b}
    return Fleet(tuple(Device(name, memory_bytes=memory_bytes) for name in names), pairs)


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
    slow = Fleet((Device("p"), Device("q")), {("p", "q"): Link(1.0)})
    plan = Branches().plan(fork(), slow)
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
