"""What strategies see of a model with states: what is computed again, where stages may end, and the memory of sequences."""

from __future__ import annotations

from pathlib import Path

import pytest

from multiedge.fleet import Device, Fleet, Link
from multiedge.graph import Graph, Node, Tensor
from multiedge.placement import CALLER, Stage, direct_transfers
from multiedge.planning.checks import structural_violations
from multiedge.planning.kept import cheaper_again, recomputing, with_kept_states, with_sequences
from multiedge.planning.synthetic import synthetic_graph
from multiedge.states import BATCH, KEPT_ANSWERS, KEPT_BYTES, KEPT_STEP_BYTES, State
from multiedge.step_costs import StepSize
from tests.builders.profiles import profile_of
from tests.builders.sequences import costs_of, even_plan, fleet_of, graph_at, save_model


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("decoder"), "optimum")


@pytest.mark.parametrize("layout", ["optimum", "genai"])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("context", [64, 1024])
@pytest.mark.parametrize("parts", [2, 4])
def test_little_more_than_the_residual_stream_is_sent_whatever_the_context(
    tmp_path: Path, layout: str, batch: int, context: int, parts: int
) -> None:
    hidden = 64
    fleet = fleet_of(parts)
    profile = costs_of(graph_at(save_model(tmp_path, layout), context=context, batch=batch), fleet)
    moves = even_plan(profile, fleet).transfers
    hops = [move for move in moves if move.source != CALLER != move.target]
    assert len(hops) == parts - 1
    assert all(move.known_bytes < batch * hidden * 4 + 1024 for move in hops)
    assert all(not name.startswith(("past", "present")) for move in moves for name in move.tensors)


def test_a_mask_that_grows_is_computed_again_in_each_stage(decoder: Path) -> None:
    graph = costs_of(graph_at(decoder, context=1024), fleet_of(2)).graph
    assert "/model/mask/Where/output_0" in graph.recomputed


def test_nothing_is_computed_again_where_that_takes_longer_than_sending(decoder: Path) -> None:
    fleet = fleet_of(2)
    profile = costs_of(graph_at(decoder, context=64), fleet)
    slow = profile.with_speed(dict.fromkeys(fleet.names, 1e-6))
    graph = graph_at(decoder, context=64)
    assert cheaper_again(slow.with_seconds("d0", slow.flops + 1.0, "").with_seconds("d1", slow.flops + 1.0, ""), fleet) == ()
    assert graph.recomputed == ()


def test_more_is_computed_again_on_slower_links(decoder: Path) -> None:
    fleet = fleet_of(2)
    slow = Fleet(fleet.devices, {pair: Link(1e4, 0.0) for pair in fleet.links}, name="slow")
    profile = costs_of(graph_at(decoder, context=64), fleet)
    assert set(cheaper_again(profile, slow)) > set(cheaper_again(profile, fleet))


def test_what_is_computed_again_takes_its_time_in_each_stage(decoder: Path) -> None:
    graph, fleet = graph_at(decoder, context=1024), fleet_of(2)
    once = costs_of(graph, Fleet((Device("d0", speed=1.0),), name="one"))
    again = costs_of(graph, fleet)
    whole_s = once.overhead_s.get("d0", 0.0) + float(once.seconds_on("d0").sum())
    assert again.overhead_s["d0"] + float(again.seconds_on("d0").sum()) == pytest.approx(whole_s)
    assert again.overhead_s["d1"] > 0


def chain() -> Graph:
    """x -> a -> b -> y, where b keeps a state that a reads as well; `n` is made of x alone, for both."""
    nodes = (
        Node("n", "Shape", ("x",), ("n",)),
        Node("a", "Add", ("x", "n", "h"), ("t",)),
        Node("b", "Add", ("t", "n", "h"), ("y", "h_next")),
        Node("c", "Neg", ("y",), ("z",)),
    )
    tensors = {name: Tensor(name, "float32", (4,), 16) for name in ("x", "n", "t", "y", "h_next", "z")}
    states = (State("h", "h_next", "float32", (BATCH, 4)),)
    return Graph("chain", nodes, ("x",), ("z",), tensors, {"h": Tensor("h", "float32", (1, 4), 16)}, states=states)


def test_a_stage_ends_at_no_boundary_inside_a_state() -> None:
    assert chain().inside_states == {2}


def test_a_state_in_two_stages_cannot_run() -> None:
    stages = [Stage.span("d0", 0, 2), Stage.span("d1", 2, 4)]
    assert structural_violations(chain(), fleet_of(2), stages) == [
        "state 'h' is read and made in stages 0 and 1; it can be kept by one stage only"
    ]


def test_a_stage_with_states_has_no_replicas() -> None:
    stages = [Stage.span("d0", 0, 3, ("d1",)), Stage.span("d1", 3, 4)]
    assert any("its replicas would take steps" in text for text in structural_violations(chain(), fleet_of(2), stages))


def test_who_reads_what_is_computed_again_reads_what_it_is_made_of() -> None:
    graph = recomputing(chain(), ["n"])
    stages = [Stage.span("d0", 0, 3), Stage.span("d1", 3, 4)]
    assert graph.nodes[1].captures == ()
    assert graph.nodes[2].captures == ("x",)
    assert "n" in graph.parameters
    assert {move.tensors for move in direct_transfers(graph, stages)} == {("x",), ("y",), ("z",)}


def test_states_take_memory_for_each_sequence(decoder: Path) -> None:
    graph = graph_at(decoder, context=1024)
    state = 2 * 16 * 1024 * 4
    assert with_sequences(graph, 1).size_of("past_key_values.0.key") == 2 * state
    assert with_sequences(with_sequences(graph, 2), 4).size_of("past_key_values.0.key") == 5 * state


def test_a_shared_buffer_takes_memory_once_for_each_sequence(tmp_path: Path) -> None:
    graph = graph_at(save_model(tmp_path, "genai"), context=1024)
    assert with_sequences(graph, 4).size_of("past_key_values.0.key") == 4 * 2 * 16 * 1024 * 4


def test_a_device_needs_more_memory_for_more_sequences(decoder: Path) -> None:
    graph, fleet = graph_at(decoder, context=1024), fleet_of(2)
    one, four = (even_plan(costs_of(graph, fleet, count), fleet).estimate.memory[0].planned_bytes for count in (1, 4))
    states, answers = 4 * 2 * 16 * 1024 * 4, 1024 * (64 * 4 + KEPT_STEP_BYTES)
    assert 3 * (states + answers) <= four - one < 3 * (states + answers + 1024 * 1024)


def test_costs_of_a_model_without_states_stay_as_they_are() -> None:
    profile = profile_of(synthetic_graph(4), {"d0": 1.0, "d1": 1.0})
    assert with_kept_states(profile, fleet_of(2), 4) is profile


@pytest.mark.parametrize("batch", [1, 4])
def test_strategies_cut_where_little_more_than_the_residual_stream_crosses(decoder: Path, batch: int) -> None:
    profile = costs_of(graph_at(decoder, context=1024, batch=batch), fleet_of(2))
    crossing = [int(profile.cut_bytes[after]) for after in range(1, len(profile)) if profile.open_boundaries[after]]
    assert len(crossing) > 8
    assert max(crossing) < batch * 64 * 4 + 2048


def test_a_tensor_that_grows_with_the_sequence_crosses_no_cut_of_a_strategy(decoder: Path) -> None:
    profile = costs_of(graph_at(decoder, context=64), fleet_of(2))
    growing = set(profile.graph.growing)
    assert "present.0.key" in growing
    for cut in profile.graph.cuts[1:-1]:
        if profile.open_boundaries[cut.after]:
            assert growing.isdisjoint(cut.tensors)


def test_what_a_stage_keeps_of_its_answers_takes_memory_once(decoder: Path) -> None:
    hidden, context, sequences = 64 * 4, 1024, 3
    graph = costs_of(graph_at(decoder, context=context), fleet_of(2), sequences).graph
    kept = graph.size_of(KEPT_ANSWERS)
    least = sequences * context * (hidden + KEPT_STEP_BYTES)
    assert least <= kept < least + sequences * context * 1024
    assert all(KEPT_ANSWERS in graph.nodes[node].reads for nodes in graph.state_nodes.values() for node in nodes)


def test_answers_are_bounded(decoder: Path) -> None:
    graph = with_sequences(graph_at(decoder, context=1 << 20), 2)
    assert graph.size_of(KEPT_ANSWERS) == 2 * KEPT_BYTES


def test_a_model_whose_states_do_not_grow_may_keep_all_that_a_stage_keeps(tmp_path: Path) -> None:
    graph = graph_at(save_model(tmp_path, "recurrent"), "recurrent")
    assert with_sequences(graph, 1).size_of(KEPT_ANSWERS) == KEPT_BYTES


def test_the_size_of_a_step_follows_from_its_states(decoder: Path, tmp_path: Path) -> None:
    assert graph_at(decoder, context=64, tokens=16).step_size == StepSize(16, 64)
    assert graph_at(save_model(tmp_path, "recurrent"), "recurrent").step_size is None
