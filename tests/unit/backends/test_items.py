"""Items joined to one, and taken apart again."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.backends.items import run_joined
from multiedge.errors import ModelError
from tests.builders.flow import FakeSession, vector


def test_a_joined_run_is_taken_apart_by_the_sizes_of_its_items() -> None:
    session = FakeSession(lambda tensors: {"y": tensors["x"] * 2.0})
    made = run_joined(session, [{"x": vector(1.0)}, {"x": np.ones(2, dtype=np.float32)}])
    assert [each["y"].tolist() for each in made] == [[2.0] * 4, [2.0] * 2]


def test_outputs_that_do_not_have_a_row_for_each_of_the_items_are_refused() -> None:
    session = FakeSession(lambda tensors: {"y": tensors["x"][:1]})
    with pytest.raises(ModelError, match="output 'y': expected 8 rows for joined items, got 1"):
        run_joined(session, [{"x": vector(1.0)}, {"x": vector(2.0)}])
