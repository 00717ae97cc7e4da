"""The published instances: what the check of placements finds, and the one instance that Helix has solved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import helix
from benchmarks.helix import SINK, SOURCE, Instance, Placement, largest_rate, row_of, violations

SMALL = Instance(
    "small",
    3,
    ((30.0, 12.0), (30.0, 12.0), (20.0, 10.0, 5.0)),
    {(SOURCE, 0): 100.0, (0, 1): 9.0, (0, 2): 100.0, (1, SINK): 100.0, (2, SINK): 100.0, (SOURCE, 2): 100.0},
    {"objective": 12.0, "bound": 20.0, "seconds": 1.0},
)
HELD = {0: (0, 1), 1: (1, 2), 2: (1, 2)}
FLOWS = {(SOURCE, 0): 19.0, (0, 1): 9.0, (0, 2): 10.0, (1, SINK): 9.0, (2, SINK): 10.0}


def test_a_sound_placement_passes_the_checks() -> None:
    assert violations(SMALL, Placement(HELD, FLOWS)) == []
    assert largest_rate(SMALL, HELD) == pytest.approx(19.0)


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        (Placement({**HELD, 1: (1, 3)}, FLOWS), "node 1 cannot hold layers 1 to 3"),
        (
            Placement(HELD, {**FLOWS, (0, 1): 9.5, (SOURCE, 0): 19.5, (1, SINK): 9.5}),
            "9.500 tokens/s from 0 to 1 are more than 9.000",
        ),
        (
            Placement(HELD, {**FLOWS, (0, 2): 12.0, (2, SINK): 12.0, (SOURCE, 0): 21.0}),
            "node 2 passes 12.000 tokens/s, more than 10.000",
        ),
        (Placement(HELD, {**FLOWS, (2, SINK): 4.0}), "node 2 gets 10.000000 tokens/s and passes 4.000000"),
        (Placement({**HELD, 2: (2, 1)}, FLOWS), "10.000 tokens/s from 0 to 2 are more than 0.000"),
    ],
)
def test_what_is_wrong_with_a_placement_is_named(placement: Placement, expected: str) -> None:
    assert expected in violations(SMALL, placement)


def test_a_node_that_begins_inside_computes_what_is_missing() -> None:
    inside = {0: (0, 1), 2: (0, 3)}
    assert (0, 2) in helix.possible_hops(SMALL, inside)
    assert largest_rate(SMALL, inside) == pytest.approx(5.0)


def test_the_instance_that_helix_has_proven_is_proven() -> None:
    row = row_of(helix.instances()["ten_nodes_llama30b"], time_limit_s=20.0, seed=0)
    assert row.median("rate") == pytest.approx(286.587, rel=1e-6)
    assert row.median("gap") == pytest.approx(0.0, abs=1e-6)
    assert sum(each["layers"] for each in row.details["placement"]) >= 60


def test_a_rate_that_is_claimed_but_does_not_flow_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    def claims(*args: object, **options: object) -> object:
        solved = actual(*args, **options)
        return replace(solved, flow=replace(solved.flow, rate=solved.flow.rate * 1.01))

    actual = helix.solve_uniform
    monkeypatch.setattr(helix, "solve_uniform", claims)
    with pytest.raises(AssertionError, match="small"):
        row_of(SMALL, time_limit_s=1.0, seed=0)
