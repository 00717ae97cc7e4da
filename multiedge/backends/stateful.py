"""Sessions that keep the states of sequences, and what they answered at each step.

A step that was computed before is answered with what was sent then, so that its item may come again: after a fault the caller
sends the steps of a sequence once more, and a stage that still has its states computes none of them.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from multiedge.backends.contract import Array, Held, HoldingSession, Provider, Session, Tensors
from multiedge.errors import StageError
from multiedge.states import NONE, SEQUENCE, Extended, State, Step

KEPT_BYTES = 32 << 20
"""Outputs of earlier steps that are kept of each sequence; those of the last step are kept in any case."""
LEAST_CAPACITY = 64
"""Tokens for which a buffer is made at least."""


class PlainHolding:
    """States as arrays, for a session whose runtime cannot keep them."""

    holds_arrays = False

    def __init__(self, session: Session) -> None:
        self._session = session

    def held(self, array: Array) -> Held:
        return array

    def array(self, held: Held) -> Array:
        return np.asarray(held)

    def run_held(
        self, tensors: Tensors, held: Mapping[str, Held], kept: Mapping[str, Held | None]
    ) -> tuple[dict[str, Array], dict[str, Held]]:
        made = self._session.run({**tensors, **held})
        return {name: array for name, array in made.items() if name not in kept}, {name: made[name] for name in kept}


@dataclass
class _Kept:
    """What is kept of a sequence: `steps` that were computed, `length` of the states that grow, and outputs by step. `buffers`
    have the memory of states that grow from step to step, where the runtime writes them to memory that is given."""

    batch: int
    states: dict[str, Held]
    buffers: dict[str, Array] = field(default_factory=dict)
    steps: int = 0
    length: int = 0
    extended: dict[str, Array] = field(default_factory=dict)
    outputs: OrderedDict[int, dict[str, Array]] = field(default_factory=OrderedDict)
    output_bytes: int = 0

    def note(self, outputs: dict[str, Array]) -> None:
        """Keeps the outputs of the step that was just computed, and as many of earlier ones as there is room for."""
        self.outputs[self.steps] = outputs
        self.output_bytes += _nbytes(outputs)
        self.steps += 1
        while self.output_bytes > KEPT_BYTES and len(self.outputs) > 1:
            self.output_bytes -= _nbytes(self.outputs.popitem(last=False)[1])


class StatefulSession:
    """A session of a part with states, as one without: its inputs have SEQUENCE in the place of states.

    It keeps the states of the `most` sequences that were used last. Safe for use from several threads; one step is computed at
    a time.
    """

    batch_is_free = False

    def __init__(self, session: Session, states: Sequence[State], extended: Sequence[Extended] = (), most: int = 1) -> None:
        self._session, self._states, self._extended, self._most = session, tuple(states), tuple(extended), most
        self._holding: HoldingSession | PlainHolding = session if isinstance(session, HoldingSession) else PlainHolding(session)
        kept, made = {state.input for state in states}, {state.output for state in states}
        self.inputs = (*(name for name in session.inputs if name not in kept), SEQUENCE)
        self.outputs = tuple(name for name in session.outputs if name not in made)
        self._sequences: OrderedDict[int, _Kept] = OrderedDict()
        self._spare: dict[str, Array] = {}
        self._writes_to_places = self._holding.holds_arrays
        self._lock = threading.Lock()

    @property
    def provider(self) -> Provider:
        return self._session.provider

    @property
    def sequences(self) -> tuple[int, ...]:
        """Numbers of the sequences whose states are kept, the one that was used last at the end."""
        return tuple(self._sequences)

    @property
    def state_bytes(self) -> int:
        """Bytes of all states that are kept."""
        return sum(self._holding.array(held).nbytes for kept in self._sequences.values() for held in kept.states.values())

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Every output that is no state, at the step that the tensor SEQUENCE says.

        Raises StageError if the state before that step is not kept, or the tensor is none.
        """
        step = Step.of(np.asarray(tensors[SEQUENCE]))
        with self._lock:
            self.drop(step.ended)
            if step.sequence == NONE:
                return self._computed(self._begun(step), step, tensors)
            kept = self._kept(step)
            if step.step < kept.steps:
                return self._answered(kept, step)
            return self._computed(kept, step, tensors)

    def drop(self, sequence: int) -> None:
        """Frees the states of a sequence, if any are kept."""
        self._sequences.pop(sequence, None)

    def close(self) -> None:
        self._sequences.clear()
        self._spare.clear()
        self._session.close()

    def _kept(self, step: Step) -> _Kept:
        """The sequence, which has the state before the step or a later one."""
        kept = self._sequences.get(step.sequence)
        if kept is None and step.step == 0:
            kept = self._sequences[step.sequence] = self._begun(step)
            while len(self._sequences) > self._most:
                self._sequences.popitem(last=False)
        if kept is None or step.step > kept.steps:
            has = "nothing" if kept is None else f"the state after {kept.steps} steps"
            raise StageError(
                f"sequence {step.sequence}: step {step.step} needs the state after {step.step} steps, this stage has {has};"
                " send the steps again from 0"
            )
        if kept.batch != step.batch:
            raise StageError(f"sequence {step.sequence}: expected {kept.batch} rows as at its first step, got {step.batch}")
        self._sequences.move_to_end(step.sequence)
        return kept

    def _begun(self, step: Step) -> _Kept:
        states = {}
        for state in self._states:
            length = max(state.length, LEAST_CAPACITY) if state.shared else 0
            states[state.input] = self._holding.held(np.zeros(state.shape(step.batch, length), state.dtype))
        return _Kept(step.batch, states)

    def _answered(self, kept: _Kept, step: Step) -> dict[str, Array]:
        if step.step not in kept.outputs:
            raise StageError(f"sequence {step.sequence}: the outputs of step {step.step} are not kept any more")
        return dict(kept.outputs[step.step])

    def _computed(self, kept: _Kept, step: Step, tensors: Tensors) -> dict[str, Array]:
        given = {name: tensors[name] for name in self.inputs if name != SEQUENCE and name in tensors}
        whole = {each.input: _joined(kept.extended.get(each.input), given[each.input], each.axis) for each in self._extended}
        outputs = self._run({**given, **whole}, kept, kept.length + step.tokens)
        kept.extended = whole
        kept.length += step.tokens
        kept.note(outputs)
        return dict(outputs)

    def _run(self, tensors: Tensors, kept: _Kept, length: int) -> dict[str, Array]:
        """The outputs of the step after which states are so long; the states are the next ones then."""
        places: dict[str, Held | None] = {state.output: None for state in self._states}
        buffers: dict[str, Array] = {}
        for state in self._states:
            if state.shared:
                self._make_room(kept, state, length)
                places[state.output] = kept.states[state.input]
            elif state.axis is not None and self._writes_to_places:
                buffers[state.input] = self._buffer(state, kept.batch, length)
                shape = state.shape(kept.batch, length)
                places[state.output] = self._holding.held(buffers[state.input][: math.prod(shape)].reshape(shape))
        try:
            outputs, made = self._holding.run_held(tensors, kept.states, places)
        except Exception:  # a state that grows by another length is one of the runtime's errors, and any other comes again
            if not buffers:
                raise
            self._writes_to_places = False
            return self._run(tensors, kept, length)
        kept.states = {state.input: made[state.output] for state in self._states}
        self._spare.update(kept.buffers)
        kept.buffers = buffers
        return outputs

    def _buffer(self, state: State, batch: int, length: int) -> Array:
        """Memory for a state of this length, and for longer ones: what another step has left, if that is large enough."""
        spare = self._spare.pop(state.input, None)
        if spare is not None and spare.size >= math.prod(state.shape(batch, length)):
            return spare
        room = max(state.length, LEAST_CAPACITY)
        while room < length:
            room *= 2
        return np.empty(math.prod(state.shape(batch, room)), state.dtype)

    def _make_room(self, kept: _Kept, state: State, length: int) -> None:
        """A buffer of twice the size, if the state does not fit into its own."""
        before = self._holding.array(kept.states[state.input])
        axis = state.axis or 0
        if before.shape[axis] >= length:
            return
        larger = np.zeros(state.shape(kept.batch, max(2 * before.shape[axis], length)), before.dtype)
        larger[tuple(slice(size) for size in before.shape)] = before
        kept.states[state.input] = self._holding.held(larger)


def _joined(before: Array | None, own: Array, axis: int) -> Array:
    return np.asarray(own) if before is None else np.concatenate([before, own], axis=axis)


def _nbytes(outputs: Mapping[str, Array]) -> int:
    return sum(array.nbytes for array in outputs.values())


def _check(session: StatefulSession) -> Session:
    """For the type checker: the class satisfies the contract."""
    return session
