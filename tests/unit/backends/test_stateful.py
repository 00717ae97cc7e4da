"""Sessions that keep the states of sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from multiedge.backends import stateful as module
from multiedge.backends.contract import Tensors
from multiedge.backends.stages import load_backend, open_part
from multiedge.backends.stateful import StatefulSession, repeated_step
from multiedge.errors import StageError
from multiedge.onnx_io.inputs import random_feed
from multiedge.onnx_io.reader import declared_graph
from multiedge.states import NONE, SEQUENCE, Extended, Step
from tests.builders.onnx_models import parsed
from tests.builders.sequences import TOTAL, Greedy, Summing, graph_at, prompt_of, save_model, states_of, step_tensors


def item(step: Step, value: float = 1.0) -> dict[str, Any]:
    return {"x": np.full((step.batch, 1), value, np.float32), SEQUENCE: step.array()}


def opened(most: int = 4, **options: Any) -> tuple[StatefulSession, Summing]:
    raw = Summing()
    return StatefulSession(raw, [TOTAL], most=most, **options), raw


def y(session: StatefulSession, step: Step, value: float = 1.0) -> float:
    return float(session.run(item(step, value))["y"][0, 0])


def test_states_are_no_inputs_and_outputs() -> None:
    session, _ = opened()
    assert session.inputs == ("x", SEQUENCE)
    assert session.outputs == ("y",)
    assert not session.batch_is_free


def test_each_step_has_the_state_of_the_step_before() -> None:
    session, _ = opened()
    assert [y(session, Step(0, step), 2.0) for step in range(3)] == [2.0, 4.0, 6.0]


def test_sequences_do_not_mix() -> None:
    session, _ = opened()
    y(session, Step(0, 0), 1.0)
    y(session, Step(1, 0), 10.0)
    assert y(session, Step(0, 1), 1.0) == 2.0
    assert y(session, Step(1, 1), 10.0) == 20.0


def test_a_step_that_comes_again_gets_the_same_answer_without_a_run() -> None:
    session, raw = opened()
    answers = [y(session, Step(0, step)) for step in range(3)]
    assert [y(session, Step(0, step)) for step in range(3)] == answers
    assert raw.runs == 3
    assert y(session, Step(0, 3)) == 4.0


def test_a_step_is_known_to_be_one_that_was_computed_before() -> None:
    session, _ = opened()
    y(session, Step(0, 0))
    assert session.repeats(item(Step(0, 0)))
    assert not session.repeats(item(Step(0, 1)))
    assert not session.repeats(item(Step(1, 0)))


def test_a_step_whose_state_is_lost_is_refused() -> None:
    session, _ = opened()
    with pytest.raises(StageError, match="sequence 0: step 2 needs the state after 2 steps, this stage has nothing"):
        session.run(item(Step(0, 2)))
    y(session, Step(0, 0))
    with pytest.raises(StageError, match="has the state after 1 steps"):
        session.run(item(Step(0, 2)))


def test_a_sequence_that_has_ended_takes_no_memory() -> None:
    session, _ = opened()
    y(session, Step(0, 0))
    assert session.state_bytes == 4
    y(session, Step(1, 0, ended=0))
    assert session.sequences == (1,)


def test_the_sequences_that_were_used_last_are_kept() -> None:
    session, _ = opened(most=2)
    for sequence in (0, 1, 0, 2):
        y(session, Step(sequence, len([s for s in session.sequences if s == sequence])))
    assert session.sequences == (0, 2)


def test_a_step_alone_is_not_kept() -> None:
    session, _ = opened()
    assert [y(session, Step()), y(session, Step())] == [1.0, 1.0]
    assert session.sequences == ()


def test_another_number_of_rows_is_refused() -> None:
    session, _ = opened()
    y(session, Step(0, 0, batch=1))
    with pytest.raises(StageError, match="expected 1 rows"):
        session.run(item(Step(0, 1, batch=2)))


def test_outputs_of_earlier_steps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 8)
    session, _ = opened()
    for step in range(4):
        y(session, Step(0, step))
    assert y(session, Step(0, 3)) == 4.0
    with pytest.raises(StageError, match="not kept any more"):
        session.run(item(Step(0, 0)))


def test_what_goes_to_the_caller_alone_is_kept_of_the_last_step_only() -> None:
    session, raw = opened(returned=["y"])
    answers = [y(session, Step(0, step)) for step in range(3)]
    again = session.run(item(Step(0, 1)))["y"]
    assert (again.size, again.dtype) == (0, np.float32)
    assert y(session, Step(0, 2)) == answers[2]
    assert raw.runs == 3


def test_an_extended_input_has_the_values_of_all_tokens() -> None:
    raw = Summing()
    session = StatefulSession(raw, [TOTAL], [Extended("x", 1)])
    for step in range(3):
        session.run(item(Step(0, step), float(step)))
    assert raw.seen[-1].tolist() == [[0.0, 1.0, 2.0]]


@pytest.mark.parametrize("layout", ["optimum", "genai", "recurrent"])
def test_a_step_that_is_repeated_to_time_it_gives_the_same_each_time(tmp_path: Path, layout: str) -> None:
    path = save_model(tmp_path, layout)
    graph = graph_at(path, layout, context=80, tokens=3)
    raw = open_part(load_backend("onnxruntime"), path)
    feed = random_feed(graph)
    expected = raw.run(feed)["logits"]
    session = repeated_step(raw, graph.states)
    assert session.inputs == raw.inputs
    assert session.outputs == ("logits",)
    for _ in range(3):
        np.testing.assert_allclose(session.run(feed)["logits"], expected, atol=1e-5)
    session.close()


def test_a_session_without_states_is_timed_as_it_is() -> None:
    raw = Summing()
    assert repeated_step(raw, ()) is raw


def test_what_is_kept_of_an_input_is_no_view_of_memory_that_is_used_again() -> None:
    raw = Summing()
    session = StatefulSession(raw, [TOTAL], [Extended("x", 1)])
    first = item(Step(0, 0), 1.0)
    session.run(first)
    first["x"][:] = 7.0
    session.run(item(Step(0, 1), 2.0))
    assert raw.seen[-1].tolist() == [[1.0, 2.0]]


def test_a_state_is_written_to_a_spare_buffer_that_sequences_share(tmp_path: Path) -> None:
    path = save_model(tmp_path, "optimum")
    graph = declared_graph(path)
    raw = open_part(load_backend("onnxruntime"), path)
    session = StatefulSession(raw, graph.states, graph.extended, most=2)
    places: set[int] = set()
    run_held = raw.run_held

    def noted(tensors: Tensors, held: Any, kept: Any) -> Any:
        places.add(kept["present.0.key"].data_ptr())
        return run_held(tensors, held, kept)

    raw.run_held = noted
    sequences = [Greedy(session.run, graph.inputs, prompt_of(seed=number), number) for number in range(2)]
    for _ in range(20):
        for sequence in sequences:
            sequence.decode(1)
    assert len(places) == 3
    session.close()


def test_a_state_that_grows_by_another_length_than_the_step_is_kept_as_well(tmp_path: Path) -> None:
    model = parsed("g (float[b, n] x, float[b, p] h) => (float[b, t] h_next) { h_next = Concat <axis = 1> (h, x, x) }")
    onnx.save(model, tmp_path / "model.onnx")
    graph = declared_graph(tmp_path / "model.onnx", [("h", "h_next")])
    session = StatefulSession(open_part(load_backend("onnxruntime"), tmp_path / "model.onnx"), graph.states)
    for step in range(3):
        session.run(item(Step(0, step)))
    assert session.state_bytes == 3 * 2 * 4
    session.close()


def test_the_cache_of_the_next_step_is_what_the_runtime_made_and_no_copy(tmp_path: Path) -> None:
    path = save_model(tmp_path, "optimum")
    graph = declared_graph(path)
    raw = open_part(load_backend("onnxruntime"), path)
    session = StatefulSession(raw, graph.states, graph.extended)
    bound: list[dict[str, Any]] = []
    made: list[dict[str, Any]] = []
    run_held = raw.run_held

    def noted(tensors: Tensors, held: Any, kept: Any) -> Any:
        bound.append(dict(held))
        outputs, states = run_held(tensors, held, kept)
        made.append(states)
        return outputs, states

    raw.run_held = noted
    Greedy(session.run, graph.inputs, prompt_of()).decode(3)
    assert all(bound[1][f"past_key_values.{n}.key"] is made[0][f"present.{n}.key"] for n in range(4))
    assert raw.array(made[-1]["present.0.key"]).shape == (1, 2, 9, 16)
    session.close()


def test_past_and_present_of_group_query_attention_are_one_buffer_until_it_is_full(tmp_path: Path) -> None:
    path = save_model(tmp_path, "genai")
    graph = declared_graph(path)
    raw = open_part(load_backend("onnxruntime"), path)
    session = StatefulSession(raw, graph.states, graph.extended)
    places: list[int] = []
    run_held = raw.run_held

    def noted(tensors: Tensors, held: Any, kept: Any) -> Any:
        outputs, states = run_held(tensors, held, kept)
        assert states["present.0.key"].data_ptr() == held["past_key_values.0.key"].data_ptr()
        places.append(states["present.0.key"].data_ptr())
        return outputs, states

    raw.run_held = noted
    Greedy(session.run, graph.inputs, prompt_of()).decode(100)
    assert len(set(places)) == 2
    session.close()


class Text:
    """The steps of one sequence of a whole decoder, by hand."""

    def __init__(self, session: StatefulSession, sequence: int = 0) -> None:
        self.session, self.sequence, self.items = session, sequence, []

    def step(self, tokens: Any, past: int, *, cuts: bool = False) -> Any:
        """The logits of a step behind `past` tokens, to which states are cut first if `cuts`."""
        step = Step(self.sequence, len(self.items), len(tokens), tokens.shape[1], past=past if cuts else NONE)
        self.items.append(step_tensors(self.session.inputs, tokens, past, step))
        return self.session.run(self.items[-1])["logits"]


def text_of(folder: Path, layout: str, model: Path | None = None) -> Text:
    path = model or save_model(folder, layout)
    graph = declared_graph(path, states_of(layout))
    return Text(StatefulSession(open_part(load_backend("onnxruntime"), path), graph.states, graph.extended, most=2))


@pytest.mark.parametrize("layout", ["optimum", "genai"])
@pytest.mark.parametrize("batch", [1, 3])
def test_what_follows_a_cut_is_as_if_the_tokens_behind_it_had_never_been(tmp_path: Path, layout: str, batch: int) -> None:
    text, other = text_of(tmp_path, layout), text_of(tmp_path, layout)
    tokens, wrong = prompt_of(batch, 80), prompt_of(batch, 70, seed=1)
    for each in (text, other):
        each.step(tokens[:, :6], 0)
        for at in range(6, 20):
            each.step(tokens[:, [at]], at)
    text.step(wrong[:, :1], 20)
    for at in range(20, 30):  # again and again, and beyond the buffers
        for number in range(6):
            text.step(wrong[:, [number]], at + number, cuts=number == 0)
        expected = other.step(tokens[:, [at]], at)
        np.testing.assert_allclose(text.step(tokens[:, [at]], at, cuts=True), expected, atol=1e-5)
    for number in range(60):
        text.step(wrong[:, [number]], 30 + number)
    expected = other.step(tokens[:, [30]], 30)
    np.testing.assert_allclose(text.step(tokens[:, [30]], 30, cuts=True), expected, atol=1e-5)


@pytest.mark.parametrize("layout", ["optimum", "genai"])
def test_steps_that_come_again_to_a_session_that_lost_its_states_are_cut_as_they_were(tmp_path: Path, layout: str) -> None:
    text, tokens = text_of(tmp_path, layout), prompt_of(1, 20)
    text.step(tokens[:, :6], 0)
    for at in range(6, 16, 2):
        text.step(tokens[:, at : at + 1], at)
        last = text.step(tokens[:, at + 1 : at + 3], at + 1)
        last = text.step(tokens[:, [at + 1]], at + 1, cuts=True)
    again = text_of(tmp_path, layout).session
    answers = [again.run(each)["logits"] for each in text.items]
    assert (answers[-1] == last).all()


def test_what_cannot_be_cut_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    text, tokens = text_of(tmp_path, "recurrent"), prompt_of(1, 9)
    text.step(tokens[:, :6], 0)
    with pytest.raises(StageError, match=r"sequence 0: step 1 cuts states to 5 tokens: state 'h.0' keeps its shape, and what"):
        text.step(tokens[:, [6]], 5, cuts=True)
    decoder = text_of(tmp_path, "optimum")
    first = decoder.step(tokens[:, :6], 0)
    with pytest.raises(StageError, match="cuts states to 7 tokens: they are of 6 tokens"):
        decoder.step(tokens[:, [6]], 7, cuts=True)
    assert (decoder.session.run(decoder.items[0])["logits"] == first).all()


def test_a_state_that_grows_by_another_length_than_the_step_is_not_cut(tmp_path: Path) -> None:
    model = parsed("g (float[b, n] x, float[b, p] h) => (float[b, t] h_next) { h_next = Concat <axis = 1> (h, x, x) }")
    onnx.save(model, tmp_path / "model.onnx")
    graph = declared_graph(tmp_path / "model.onnx", [("h", "h_next")])
    session = StatefulSession(open_part(load_backend("onnxruntime"), tmp_path / "model.onnx"), graph.states)
    session.run(item(Step(0, 0)))
    session.run(item(Step(0, 1)))
    with pytest.raises(StageError, match="state 'h' has 4 values along its axis after 2 tokens"):
        session.run(item(Step(0, 2, past=1)))
    session.close()


def test_a_step_that_is_wrong_leaves_the_next_ones_to_write_to_their_places(tmp_path: Path) -> None:
    text, tokens = text_of(tmp_path, "optimum"), prompt_of(1, 9)
    text.step(tokens[:, :6], 0)
    with pytest.raises(Exception, match="indices"):  # the runtime's own
        text.step(np.array([[10**6]]), 6)
    assert text.session._writes_to_places
    text.items.pop()
    other = text_of(tmp_path, "optimum")
    expected = [other.step(tokens[:, :6], 0), other.step(tokens[:, [6]], 6)][1]
    np.testing.assert_allclose(text.step(tokens[:, [6]], 6), expected, atol=1e-5)
