"""States as JSON data, in plan.json and profile.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from multiedge.formats.fields import Field
from multiedge.states import BATCH, Extended, State


def states_to_json(states: Sequence[State], extended: Sequence[Extended]) -> dict[str, Any]:
    """The entries of a part or a model; nothing for one without states."""
    found = {"states": [_state_to_json(state) for state in states], "extended": [asdict(each) for each in extended]}
    return {key: value for key, value in found.items() if value}


def read_states(owner: Field) -> tuple[State, ...]:
    """The states of a part or a model."""
    return owner["states"].optional(lambda states: states.list_of(_state), ())


def read_extended(owner: Field) -> tuple[Extended, ...]:
    """The extended inputs of a part or a model."""
    return owner["extended"].optional(lambda inputs: inputs.list_of(_extended), ())


def _state_to_json(state: State) -> dict[str, Any]:
    return {**asdict(state), "start": ["batch" if size == BATCH else size for size in state.start]}


def _state(field: Field) -> State:
    return State(
        field["input"].text(),
        field["output"].text(),
        field["dtype"].text(),
        field["start"].list_of(lambda size: BATCH if size.value == "batch" else size.count()),
        field["length"].count(),
        field["shared"].boolean(),
    )


def _extended(field: Field) -> Extended:
    return Extended(field["input"].text(), field["axis"].count())
