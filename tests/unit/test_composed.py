from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from multiedge.composed import VOID, Call, Composition, Condition, Measure, Relation, Segment, is_void
from multiedge.errors import ModelError, StageError
from multiedge.formats.composed import call_attributes, call_of, composition_text, parse_composition

ROWS: list[tuple[Measure, Relation, float, Any, bool]] = [
    (Measure.MAX, Relation.BELOW, 0.7, [0.1, 0.6], True),
    (Measure.MAX, Relation.BELOW, 0.7, [0.1, 0.7], False),
    (Measure.MAX, Relation.AT_LEAST, 0.75, [0.1, 0.75], True),
    (Measure.MIN, Relation.AT_LEAST, 0.2, [0.1, 0.7], False),
    (Measure.VALUE, Relation.EQUALS, 2, [[2]], True),
    (Measure.COUNT, Relation.AT_LEAST, 1, np.empty((0, 4)), False),
    (Measure.COUNT, Relation.AT_LEAST, 1, np.empty((1, 4)), True),
    (Measure.COUNT, Relation.EQUALS, 0, np.empty((0, 4)), True),
    (Measure.MAX, Relation.BELOW, 1, np.empty((0, 4)), False),
    (Measure.MAX, Relation.AT_LEAST, 1, [True, False], True),
]


@pytest.mark.parametrize(("measure", "relation", "threshold", "values", "expected"), ROWS)
def test_a_condition_holds_of_a_tensor(
    measure: Measure, relation: Relation, threshold: float, values: Any, expected: bool
) -> None:
    condition = Condition(measure, relation, threshold)
    assert condition.holds(np.asarray(values)) is expected
    assert Condition.of(condition.attributes()) == condition


def test_the_only_value_of_several_is_an_error() -> None:
    with pytest.raises(StageError, match=r"expected a tensor of one value, got shape \[2\]"):
        Condition(Measure.VALUE, Relation.BELOW, 1).holds(np.zeros(2))


def test_a_tensor_without_values_is_not_void() -> None:
    assert is_void(VOID)
    assert not is_void(np.empty((0,), np.float32))


def test_a_composition_is_the_same_after_writing_and_reading() -> None:
    segments = {"small": Segment({"ai.onnx": 13}, 0.3, 4, 0.005), "pick": Segment()}
    composition = Composition(segments, {"boxes": 2.5}, ("small",))
    assert parse_composition(composition_text(composition), "a.onnx") == composition
    assert composition.typical_sizes == {"boxes": 3}


def test_a_composition_of_another_version_is_refused() -> None:
    text = composition_text(Composition({})).replace('"version": 1', '"version": 2')
    with pytest.raises(ModelError, match=r"^a\.onnx: multiedge\.workflow: version: .*; compose the workflow again$"):
        parse_composition(text, "a.onnx")


@pytest.mark.parametrize(
    "call", [Call("m:f", ("x",), ("y", "z")), Call("f", ("x",), ("y",), {"a": [1, "b"], "c": {"d": 0.5}}, "def f(*, x): ...")]
)
def test_a_function_is_the_same_after_writing_and_reading(call: Call) -> None:
    assert call_of(call_attributes(call), "crop") == call
