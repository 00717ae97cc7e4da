"""A chosen plan never breaks a bound; the nearest one has the smallest distance; what a refusal advises is kept."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from multiedge.network.records import Expected, NodeWork, PlanRow
from multiedge.serving.front.bounds import Bounds, Otherwise, Prefer, read_bounds
from multiedge.serving.front.choose import Choice, Condition, Refusal, RowState, Why, choose

DEVICES = ("phone", "desk", "tablet")
WORDS = {"max_latency_ms": "max_latency_s", "min_accuracy": "min_accuracy", "max_energy_j": "max_energy_j"}

numbers = st.one_of(st.none(), st.floats(1e-3, 1e3))
shares = st.one_of(st.none(), st.floats(0.01, 1.0))
some_devices = st.lists(st.sampled_from(DEVICES), min_size=1, max_size=3, unique=True).map(tuple)
expectations = st.builds(
    Expected,
    items_per_s=numbers,
    latency_s=numbers,
    energy_j=numbers,
    accuracy=shares,
    work=st.tuples(st.builds(NodeWork, st.just("phone"), st.floats(0, 1), energy_j=numbers)),
)
tables = st.lists(
    st.builds(PlanRow, st.just("row"), st.just("row"), st.just("p"), expectations, some_devices, some_devices, some_devices),
    max_size=6,
).map(lambda rows: tuple(replace(row, name=f"row-{number}") for number, row in enumerate(rows)))
asked = st.builds(
    Bounds,
    numbers,
    shares,
    numbers,
    shares,
    st.sampled_from(Prefer),
    st.sampled_from(Otherwise),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, True, False]),
)
states = st.builds(RowState, st.booleans(), st.just(""), st.integers(0, 5), numbers)
conditions = st.builds(
    Condition,
    st.sampled_from(["", *DEVICES]),
    st.booleans(),
    shares,
    rows=st.dictionaries(st.sampled_from([f"row-{number}" for number in range(6)]), states),
)


def _latency_s(row: PlanRow, state: RowState) -> float | None:
    alone_s = row.expected.latency_s if state.seen_latency_s is None else state.seen_latency_s
    if alone_s is None or state.waiting == 0:
        return alone_s
    return None if row.expected.items_per_s is None else alone_s + state.waiting / row.expected.items_per_s


def _excess(row: PlanRow, bounds: Bounds, state: RowState) -> tuple[int, float]:
    """The distance as it is defined, counted in another way."""
    unknown, total = 0, 0.0
    for bound, offered, sign in (
        (bounds.max_latency_s, _latency_s(row, state), 1),
        (bounds.max_energy_j, row.expected.energy_j, 1),
        (bounds.min_accuracy, row.expected.accuracy, -1),
    ):
        if bound is not None and offered is None:
            unknown += 1
        elif bound is not None and offered is not None and sign * (offered - bound) > 1e-9 * bound:
            total += sign * (offered - bound) / bound
    return unknown, total


def _may_answer(row: PlanRow, bounds: Bounds, condition: Condition) -> bool:
    device = {condition.device}
    return (
        condition.rows.get(row.name, RowState()).is_usable
        and (set(row.nodes) == device or (condition.may_offload and bounds.offload is not False))
        and (set(row.first) == device or not bounds.first_on_device)
        and (set(row.last) == device or not bounds.last_on_device)
    )


@given(tables, asked, conditions)
def test_the_choice_keeps_every_bound_or_is_the_nearest(
    rows: tuple[PlanRow, ...], bounds: Bounds, condition: Condition
) -> None:
    allowed = [row for row in rows if _may_answer(row, bounds, condition)]
    distances = {row.name: _excess(row, bounds, condition.rows.get(row.name, RowState())) for row in allowed}
    answer = choose(rows, bounds, condition)
    if isinstance(answer, Choice):
        assert answer.row in allowed
        unknown, excess = distances[answer.row.name]
        least_unknown, least = min(distances.values())
        assert unknown == least_unknown
        assert excess <= least * (1 + 1e-6) + 1e-9
        assert (answer.why is Why.NEAREST) == ((unknown, excess) > (0, 0.0))
        assert answer.why is not Why.NEAREST or bounds.otherwise is Otherwise.NEAREST
    else:
        assert all(distance > (0, 0.0) for distance in distances.values())
        assert (answer.nearest is None) == (not allowed)
        assert not allowed or bounds.otherwise is Otherwise.REFUSE
        assert len(answer.excluded) == len(rows) - len(allowed)
        assert "\n" not in str(answer)


@given(tables, asked, conditions)
def test_a_request_that_follows_the_advice_of_its_refusal_is_answered(
    rows: tuple[PlanRow, ...], bounds: Bounds, condition: Condition
) -> None:
    refusal = choose(rows, replace(bounds, otherwise=Otherwise.REFUSE), condition)
    if isinstance(refusal, Refusal) and refusal.nearest is not None:
        advice = str(refusal).split(", or otherwise=")[0]
        changed = read_bounds({name: float(value) for name, value in re.findall(r"set (\w+)=(\S+)", advice)})
        values = {WORDS[name]: getattr(changed, WORDS[name]) for name in WORDS if f"set {name}=" in advice}
        left_out = {WORDS[name]: None for name in WORDS if f"leave {name} out" in advice}
        assert isinstance(choose(rows, replace(bounds, **values, **left_out), condition), Choice)
