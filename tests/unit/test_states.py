"""Steps of sequences as tensors."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.errors import StageError
from multiedge.states import BATCH, State, Step


def test_a_step_is_the_same_after_it_was_a_tensor() -> None:
    step = Step(sequence=7, step=3, batch=2, tokens=5, ended=6)
    assert Step.of(step.array()) == step
    assert step.array().shape == (5,)


def test_only_a_step_that_cuts_states_has_a_sixth_value() -> None:
    step = Step(sequence=7, step=3, past=0)
    assert step.array().shape == (6,)
    assert Step.of(step.array()) == step


@pytest.mark.parametrize(
    "values",
    [
        [0, 0, 1, 1],
        [0, 0, 1, 1, -1, -2],
        [-1, 0, 1, 1, -1, 4],
        [0, 0, 1, 1, -1, -1, -1],
        [0, -1, 1, 1, -1],
        [0, 0, 0, 1, -1],
        [0, 0, 1, 0, -1],
        [-2, 0, 1, 1, -1],
        [-1, 2, 1, 1, -1],
    ],
)
def test_a_tensor_that_says_no_step_is_refused(values: list[int]) -> None:
    with pytest.raises(StageError, match="multiedge_sequence"):
        Step.of(np.array(values))


def test_a_step_of_floats_is_refused() -> None:
    with pytest.raises(StageError, match="float64"):
        Step.of(np.zeros(5))


def test_a_state_grows_along_one_axis_and_has_the_rows_of_its_sequence() -> None:
    state = State("past", "present", "float32", (BATCH, 2, 0, 16))
    assert state.axis == 2
    assert state.shape(4) == (4, 2, 0, 16)
    assert state.shape(4, 9) == (4, 2, 9, 16)


def test_a_state_that_keeps_its_shape_cannot_be_cut() -> None:
    State("past", "present", "float32", (BATCH, 2, 0, 16)).require_cut()
    with pytest.raises(StageError, match="state 'h' keeps its shape, and what later tokens changed of it cannot be taken back"):
        State("h", "h_next", "float32", (1, BATCH, 32)).require_cut()


def test_a_state_without_an_axis_of_length_zero_keeps_its_shape() -> None:
    state = State("h", "h_next", "float32", (1, BATCH, 32))
    assert state.axis is None
    assert state.shape(3, 9) == (1, 3, 32)
