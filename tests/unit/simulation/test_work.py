from dataclasses import replace

import numpy as np
import pytest

from multiedge.errors import ConfigError
from multiedge.fleet import Fleet, Link
from multiedge.graph import Graph, Node, Tensor
from multiedge.plan import Stage
from multiedge.simulation.simulate import Items, ItemWork, Load, StageBatch, simulate
from tests.builders.fleets import fleet_of
from tests.builders.plans import direct_plan
from tests.builders.profiles import profile_of


def cascade_graph() -> Graph:
    """A small model, and a large one behind it."""
    tensors = {name: Tensor(name, "uint8", (100,), 100) for name in ("x", "small/y", "large/z")}
    nodes = (Node("small/run", "A", ("x",), ("small/y",)), Node("large/run", "B", ("small/y",), ("large/z",)))
    return Graph("cascade", nodes, ("x",), ("large/z",), tensors)


PROFILE = profile_of(cascade_graph(), {"a": 1.0, "b": 4.0})
FLEET = Fleet(fleet_of("a", "b").devices, {("a", "b"): Link(100.0)})
PLAN = direct_plan(PROFILE, FLEET, Stage.span("a", 0, 1), Stage.span("b", 1, 2))


def latencies(work: ItemWork | None = None, batches: dict[int, StageBatch] | None = None, **load) -> list[float]:
    run = simulate(PLAN, PROFILE, FLEET, load=Load(**load), items=Items(work, batches or {}))
    return [item.done_s - item.due_s for item in run.items]


def test_an_item_takes_what_its_row_says() -> None:
    work = ItemWork.of_steps(PROFILE.graph, {"large": [0.0, 1.0, 0.5]})
    # 1 s on 'a', 1 s for the message, then 4 s times the share on 'b'.
    assert latencies(work, items=3, interval_s=100.0) == pytest.approx([2.0, 6.0, 4.0])


def test_a_message_has_the_share_of_the_nodes_that_make_it() -> None:
    work = ItemWork.of_steps(PROFILE.graph, {"small": [0.5]})
    assert latencies(work, items=1, interval_s=100.0) == pytest.approx([0.5 + 0.5 + 4.0])


def test_what_a_condition_keeps_back_is_not_sent() -> None:
    tensors = {name: Tensor(name, "uint8", (100,), 100) for name in ("x", "large.when/x", "large/y")}
    nodes = (
        Node("large.when/When", "When", ("x",), ("large.when/x",)),
        Node("large/run", "B", ("large.when/x",), ("large/y",)),
    )
    graph = Graph("cascade", nodes, ("x",), ("large/y",), tensors)
    work = ItemWork.of_steps(graph, {"large": [0.0, 1.0]})
    assert work.transfer_bytes(graph, ["large.when/x"]).tolist() == [0.0, 100.0]


def test_rows_are_taken_in_turn_or_drawn_by_the_seed() -> None:
    shares = np.array([[1.0], [2.0], [3.0]])
    assert ItemWork((0,), shares).rows(5) == [0, 1, 2, 0, 1]
    drawn = ItemWork((0,), shares, seed=1).rows(3000)
    assert drawn == ItemWork((0,), shares, seed=1).rows(3000) != ItemWork((0,), shares, seed=2).rows(3000)
    assert np.bincount(drawn) / 3000 == pytest.approx([1 / 3] * 3, abs=0.05)


def test_items_that_all_take_the_whole_equal_items_that_are_alike() -> None:
    load = {"items": 50, "interval_s": 3.0, "seed": 4}
    assert latencies(ItemWork.of_steps(PROFILE.graph, {"large": [1.0]}), **load) == pytest.approx(latencies(**load))


def test_the_work_of_a_run_repeats_the_run() -> None:
    work = ItemWork.of_steps(PROFILE.graph, {"small": [1.0, 2.0, 1.0, 0.5], "large": [0.0, 1.0, 0.25, 3.0]})
    run = simulate(PLAN, PROFILE, FLEET, load=Load(4, in_flight=1), items=Items(work))
    measured = ItemWork.measured(PLAN, PROFILE, run)
    assert measured.shares == pytest.approx(work.shares[:, 1:])
    assert measured.groups == (0, 1)


def test_what_a_stage_takes_to_skip_an_item_counts() -> None:
    work = ItemWork.of_steps(PROFILE.graph, {"large": [1.0, 0.0]})
    run = simulate(PLAN, PROFILE, FLEET, load=Load(2, in_flight=1), items=Items(work))
    skipped = [
        replace(event, kind="skip", stop_s=event.stop_s + 0.5)
        if (event.kind, event.item, event.stage) == ("compute", 1, 1)
        else event
        for event in run.events
    ]
    measured = ItemWork.measured(PLAN, PROFILE, replace(run, events=tuple(skipped)))
    assert measured.shares[:, 1].tolist() == [1.0, 0.0]
    assert measured.runs(PROFILE, PLAN.stages[1], "b") == [True, False]
    assert latencies(measured, {1: StageBatch(8, 50.0)}, items=2, interval_s=100.0)[1] == pytest.approx(1.0 + 1.0 + 0.5)


def test_bytes_are_those_that_were_sent_whatever_the_times() -> None:
    work = ItemWork((0, 1), np.array([[3.0, 1.0], [3.0, 0.0]]), byte_shares=np.array([[1.0, 1.0], [0.5, 0.0]]))
    run = simulate(PLAN, PROFILE, FLEET, load=Load(2, in_flight=1), items=Items(work))
    sent = [event.nbytes for event in run.events if event.kind == "transfer"]
    assert sent == [100, 50]
    measured = ItemWork.measured(PLAN, PROFILE, run)
    assert measured.byte_shares[:, 0] == pytest.approx([1.0, 0.5])
    assert measured.shares == pytest.approx(work.shares)


def test_items_of_one_run_take_equal_parts_of_it() -> None:
    together = {1: StageBatch(2, 5.0, ((2, 1.5),))}
    run = simulate(PLAN, PROFILE, FLEET, load=Load(2, interval_s=0.1), items=Items(None, together))
    assert ItemWork.measured(PLAN, PROFILE, run).shares[:, 1] == pytest.approx([0.75, 0.75])


def test_items_that_wait_for_a_stage_are_joined() -> None:
    both = {0: StageBatch(), 1: StageBatch(2, 0.0, ((2, 1.5),))}
    # 'b' computes the first item from 2 s to 6 s; the next two come at 3 s and 4 s and take 6 s together.
    found = latencies(batches=both, items=3, interval_s=1.0, in_flight=3)
    assert found == pytest.approx([6.0, 6.0 + 6.0 - 1.0, 6.0 + 6.0 - 2.0])


def test_a_stage_waits_for_its_batch_until_the_time_is_over() -> None:
    waits = {1: StageBatch(2, 0.5, ((2, 1.0),))}
    assert latencies(batches=waits, items=1, interval_s=1.0) == pytest.approx([1.0 + 1.0 + 0.5 + 4.0])
    full = latencies(batches={1: StageBatch(2, 9.0, ((2, 1.0),))}, items=2, interval_s=1.0, in_flight=2)
    assert full == pytest.approx([7.0, 6.0])


def test_an_item_without_work_does_not_wait_for_a_batch() -> None:
    work = ItemWork.of_steps(PROFILE.graph, {"large": [0.0]})
    assert latencies(work, {1: StageBatch(8, 50.0)}, items=1, interval_s=1.0) == pytest.approx([2.0])


@pytest.mark.parametrize(("items", "factor"), [(1, 1.0), (2, 1.4), (3, 1.7), (4, 2.0), (8, 4.0)])
def test_sizes_between_measured_ones_are_interpolated_and_larger_ones_share_nothing(items, factor) -> None:
    assert StageBatch(8, 0.0, ((1, 1.0), (2, 1.4), (4, 2.0))).factor(items) == pytest.approx(factor)


def test_without_measured_sizes_each_item_takes_as_long_as_alone() -> None:
    assert StageBatch(4).factor(3) == 3.0


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (np.ones(3), "expected rows of shares"),
        (np.array([[-1.0]]), "finite shares from 0"),
        (np.ones((2, 0)), "expected groups below 0"),
    ],
)
def test_shares_that_say_nothing_are_refused(shares, message) -> None:
    with pytest.raises(ConfigError, match=message):
        ItemWork((0,), shares)


@pytest.mark.parametrize("beside", ["byte_shares", "skip_shares"])
def test_shares_beside_those_of_the_times_have_the_same_shape(beside) -> None:
    with pytest.raises(ConfigError, match=rf"expected {beside[:4]} shares of shape \(1, 1\), got \(2, 1\)"):
        ItemWork((0,), np.ones((1, 1)), **{beside: np.ones((2, 1))})


def test_bytes_of_two_stages_of_a_device_are_counted_once() -> None:
    tensors = {name: Tensor(name, "uint8", (size,), size) for name, size in (("x", 9), ("p", 1000), ("q", 5000), ("y", 9))}
    nodes = (Node("a", "R", ("x",), ("p",)), Node("b", "R", ("x",), ("q",)), Node("c", "R", ("p", "q"), ("y",)))
    graph = Graph("two", nodes, ("x",), ("y",), tensors)
    profile = profile_of(graph, {"a": 1.0, "b": 1.0})
    plan = direct_plan(profile, FLEET, Stage("a", (0,)), Stage("a", (1,)), Stage("b", (2,)))
    run = simulate(plan, profile, FLEET, load=Load(2, interval_s=100.0))
    work = ItemWork.measured(plan, profile, run)
    assert work.transfer_bytes(graph, ["p", "q"]) == pytest.approx([6000.0, 6000.0])
