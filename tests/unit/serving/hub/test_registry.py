import pytest

from multiedge.network.records import NodeState
from multiedge.serving.hub.registry import LOST_AFTER_S, Registry


def _state(name: str, load: float = 0.0) -> NodeState:
    return NodeState(name, "a:1", load=load)


def test_a_node_is_alive_until_it_missed_three_heartbeats() -> None:
    registry = Registry().heard(_state("pc"), 10.0)
    assert registry.alive(10.0 + 1.5) == (_state("pc"),)
    assert registry.alive(10.0 + LOST_AFTER_S + 0.01) == ()


def test_the_last_state_counts_and_nodes_are_in_the_order_of_their_names() -> None:
    registry = Registry().heard(_state("b"), 0.0).heard(_state("a"), 0.1).heard(_state("b", 0.5), 0.2)
    assert registry.alive(0.3) == (_state("a"), _state("b", 0.5))


@pytest.mark.parametrize(("now_s", "lost"), [(1.0, ()), (2.0, ("a",)), (9.0, ("a", "b"))])
def test_lost_nodes_are_named_once(now_s: float, lost: tuple[str, ...]) -> None:
    registry, names = Registry().heard(_state("a"), 0.0).heard(_state("b"), 1.0).without_lost(now_s)
    assert names == lost
    assert registry.without_lost(now_s)[1] == ()


def test_a_node_that_was_lost_may_return() -> None:
    registry, _ = Registry().heard(_state("a"), 0.0).without_lost(5.0)
    assert registry.heard(_state("a"), 6.0).alive(6.1) == (_state("a"),)


def test_while_the_hub_stood_still_nodes_were_not_silent() -> None:
    registry = Registry().heard(_state("a"), 0.0).heard(_state("b"), 0.6).looked(0.6).looked(9.6)
    assert [state.name for state in registry.alive(9.6)] == ["a", "b"]
    assert [state.name for state in registry.looked(10.3).alive(10.3)] == ["b"]
    assert registry.looked(10.3).looked(11.2).alive(11.2) == ()
