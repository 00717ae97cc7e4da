"""What a message and a turn of the caller take, by how long the process has waited."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.pipeline_cost import REST_S, PipelineCost

COST = PipelineCost(1.0, 0.0, 1.0, 0.0, hop_s=2.0, rested_hop_s=6.0, rested_turn_s=8.0)


@pytest.mark.parametrize(
    ("waited_s", "hop_s", "turn_s"), [(0.0, 2.0, 0.0), (REST_S / 4, 3.0, 2.0), (REST_S, 6.0, 8.0), (9 * REST_S, 6.0, 8.0)]
)
def test_a_process_that_has_waited_takes_longer(waited_s: float, hop_s: float, turn_s: float) -> None:
    assert (COST.hop_after(waited_s), COST.turn_after(waited_s)) == (hop_s, turn_s)


def test_what_was_not_measured_after_a_wait_is_as_without() -> None:
    older = replace(COST, rested_hop_s=None, rested_turn_s=None)
    assert (older.hop_after(REST_S), older.turn_after(REST_S)) == (2.0, 0.0)


def test_a_rest_never_makes_a_message_faster() -> None:
    assert replace(COST, rested_hop_s=1.0).hop_after(REST_S) == 2.0
