"""Steps of several sequences in one run: as many rows, and the same values but for rounding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multiedge.backends.contract import Tensors
from multiedge.backends.joining import Rows, best_start
from multiedge.backends.stages import load_backend, open_part, stateful
from multiedge.backends.stateful import LEAST_CAPACITY, StatefulSession
from multiedge.onnx_io.reader import declared_graph
from tests.builders.sequences import Greedy, prompt_of, save_model, states_of

LENGTHS = (3, 9, 5, 1)


def opened(path: Path, layout: str, most: int = len(LENGTHS)) -> StatefulSession:
    graph = declared_graph(path, states_of(layout))
    session = stateful(open_part(load_backend("onnxruntime").exact(), path), graph.states, graph.extended, most)
    assert isinstance(session, StatefulSession)
    return session


def sequences(path: Path, layout: str) -> list[Greedy]:
    """One for each length of a prompt; the test runs their items."""
    names = declared_graph(path, states_of(layout)).inputs
    return [Greedy(dict, names, prompt_of(length=n, seed=n), number) for number, n in enumerate(LENGTHS)]


def rows_run(session: StatefulSession, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each run of the part from now on."""
    seen: list[int] = []
    run = session._holding.run_held

    def noted(tensors: Tensors, held: Mapping[str, Any], kept: Mapping[str, Any]) -> Any:
        seen.append(len(tensors["input_ids"]))
        return run(tensors, held, kept)

    monkeypatch.setattr(session._holding, "run_held", noted)
    return seen


@pytest.mark.parametrize("layout", ["genai", "recurrent"])
def test_sequences_of_different_lengths_are_computed_together(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_model(tmp_path, layout)
    alone, together = opened(path, layout), opened(path, layout)
    expected = [Greedy(alone.run, each._names, each._next, n).decode(8) for n, each in enumerate(sequences(path, layout))]
    seen, running = rows_run(together, monkeypatch), sequences(path, layout)
    for _ in range(8):
        for sequence, outputs in zip(running, together.run_together([each.item() for each in running]), strict=True):
            sequence.take(outputs)
    assert [np.concatenate(each.tokens, axis=1).tolist() for each in running] == [each.tolist() for each in expected]
    # The last prompt has one token, so that a step of it is like any other; a sequence that begins is computed alone.
    assert seen == [1] * len(LENGTHS) + [len(LENGTHS)] * 7


def test_any_of_them_come_together_and_sequences_end_and_begin_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_model(tmp_path, "genai")
    alone, session = opened(path, "genai"), opened(path, "genai")
    running = sequences(path, "genai")
    expected = [Greedy(alone.run, each._names, each._next, n).decode(8) for n, each in enumerate(sequences(path, "genai"))]
    for sequence in running:
        sequence.take(session.run(sequence.item()))
    seen = rows_run(session, monkeypatch)
    for numbers in ((3, 0), (1, 2), (0, 3, 1), (2, 3), (3, 1, 0), (2, 0), (2, 1, 3)):
        step(session, [running[number] for number in numbers])
    session.drop(1)
    fresh = Greedy(dict, running[0]._names, prompt_of(length=3, seed=3), 9)
    fresh.take(session.run(fresh.item()))
    step(session, [fresh, running[2], running[0], running[3]])
    step(session, [running[3], fresh])
    for sequence, whole in zip((*running, fresh), (*expected, expected[0]), strict=True):
        made = np.concatenate(sequence.tokens, axis=1)
        assert made.tolist() == whole[:, : made.shape[1]].tolist()
    assert seen == [2, 2, 3, 2, 3, 2, 3, 1, 4, 2]


def test_sequences_that_are_computed_together_are_the_ones_used_last(tmp_path: Path) -> None:
    path = save_model(tmp_path, "genai")
    session, running = opened(path, "genai", most=3), sequences(path, "genai")
    for sequence in running[:3]:
        sequence.take(session.run(sequence.item()))
    step(session, running[:2])
    session.run(Greedy(dict, running[0]._names, prompt_of(), 9).item())
    assert session.sequences == (0, 1, 9)


def step(session: StatefulSession, group: list[Greedy]) -> None:
    for sequence, outputs in zip(group, session.run_together([each.item() for each in group]), strict=True):
        sequence.take(outputs)


def test_a_sequence_that_outgrows_the_common_buffer_is_computed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_model(tmp_path, "genai")
    session, expected = opened(path, "genai"), opened(path, "genai")
    running = sequences(path, "genai")[:2]
    whole = [Greedy(expected.run, each._names, each._next, n).decode(LEAST_CAPACITY) for n, each in enumerate(running)]
    seen = rows_run(session, monkeypatch)
    for _ in range(LEAST_CAPACITY):
        for sequence, outputs in zip(running, session.run_together([each.item() for each in running]), strict=True):
            sequence.take(outputs)
    assert [np.concatenate(each.tokens, axis=1).tolist() for each in running] == [each.tolist() for each in whole]
    assert set(seen) == {1, 2}
    assert seen[-1] == 1


def test_steps_that_come_again_are_answered_beside_others_that_are_computed(tmp_path: Path) -> None:
    path = save_model(tmp_path, "genai")
    session, running = opened(path, "genai"), sequences(path, "genai")
    first = [session.run(sequence.item()) for sequence in running]
    again = session.run_together([sequence.items[0] for sequence in running])
    assert all(np.array_equal(a["logits"], b["logits"]) for a, b in zip(first, again, strict=True))


def test_states_to_which_each_step_appends_are_not_joined(tmp_path: Path) -> None:
    session = opened(save_model(tmp_path, "optimum"), "optimum")
    assert not session.joins


def test_inputs_without_rows_must_be_the_same_for_all() -> None:
    rows = Rows({"x": 0, "scale": None}, (), has_lengths=False)
    first, second = ({"x": np.ones((1, 2)), "scale": np.float32(value)} for value in (1, 2))
    assert rows.joined([first, second]) is None
    joined = rows.joined([first, first])
    assert joined is not None
    assert joined["x"].shape == (2, 2)


@pytest.mark.parametrize(
    ("slots", "count", "start"), [([0, 1], 4, 0), ([2, 3], 4, 2), ([3, 0], 4, 0), ([1, 0, 3], 4, 1), ([5, 6, 2], 8, 5)]
)
def test_a_group_lies_where_fewest_rows_have_to_move(slots: list[int], count: int, start: int) -> None:
    assert best_start(slots, count) == start
