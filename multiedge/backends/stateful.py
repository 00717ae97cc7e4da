"""Sessions that keep the states of sequences, and what they answered at each step.

A step that was computed before is answered with what was sent then, so that its item may come again: after a fault the caller
sends the steps of a sequence once more, and a stage that still has its states computes none of them. What goes to the caller
alone, such as logits, has been there before: of earlier steps it is not kept, and empty when such a step comes again.

A step may cut the states to fewer tokens first. What was answered before stays as it was: steps that come again have the tokens
that were cut then, and the cut with them.
"""

from __future__ import annotations

import heapq
import math
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from multiedge.backends.contract import Array, Held, HoldingSession, Provider, SequenceSession, Session, Tensors
from multiedge.backends.joining import Rows, best_start, rows_of
from multiedge.errors import StageError
from multiedge.states import BATCH, KEPT_BYTES, KEPT_STEP_BYTES, NONE, SEQUENCE, Extended, State, Step

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
    have the memory of states that grow from step to step, where the runtime writes them to memory that is given; `slot` is the
    row of the common buffers that shared ones are in, None if they have their own."""

    batch: int
    states: dict[str, Held]
    slot: int | None = None
    buffers: dict[str, Array] = field(default_factory=dict)
    steps: int = 0
    length: int = 0
    extended: dict[str, Array] = field(default_factory=dict)
    outputs: OrderedDict[int, dict[str, Array]] = field(default_factory=OrderedDict)
    output_bytes: int = 0

    def note(self, outputs: dict[str, Array], returned: Collection[str] = ()) -> None:
        """Keeps the outputs of the step that was just computed, and as many of earlier ones as there is room for, without those
        that are `returned`. Others are copied: they lie in memory of the runtime, which cannot use it while they are kept."""
        before = self.outputs.get(self.steps - 1)
        if before is not None:
            self.output_bytes -= _nbytes(before)
            before.update((name, np.empty(0, before[name].dtype)) for name in returned)
            self.output_bytes += _nbytes(before)
        kept = {name: array if name in returned else np.array(array) for name, array in outputs.items()}
        self.outputs[self.steps] = kept
        self.output_bytes += _nbytes(kept)
        self.steps += 1
        while self.output_bytes > KEPT_BYTES and len(self.outputs) > 1:
            self.output_bytes -= _nbytes(self.outputs.popitem(last=False)[1])


class StatefulSession:
    """A session of a part with states, as one without: its inputs have SEQUENCE in the place of states.

    It keeps the states of the `most` sequences that were used last. Safe for use from several threads; one step is computed at
    a time.
    """

    batch_is_free = False

    def __init__(
        self,
        session: Session,
        states: Sequence[State],
        extended: Sequence[Extended] = (),
        most: int = 1,
        returned: Sequence[str] = (),
    ) -> None:
        self._session, self._states, self._extended, self._most = session, tuple(states), tuple(extended), most
        self._returned = tuple(returned)
        self._holding: HoldingSession | PlainHolding = session if isinstance(session, HoldingSession) else PlainHolding(session)
        kept, made = {state.input for state in states}, {state.output for state in states}
        self.inputs = (*(name for name in session.inputs if name not in kept), SEQUENCE)
        self.outputs = tuple(name for name in session.outputs if name not in made)
        self._sequences: OrderedDict[int, _Kept] = OrderedDict()
        self._spare: dict[str, Array] = {}
        self._writes_to_places = self._holding.holds_arrays
        self._rows = rows_of(session, self._states, self._extended)
        self._slots = list(range(most)) if self._rows and self._rows.has_lengths and self._writes_to_places else []
        self._common: dict[str, Array] = {}
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

    @property
    def joins(self) -> bool:
        return self._rows is not None

    def run_together(self, items: Sequence[Tensors]) -> list[dict[str, Array]]:
        """As `run` for each item; steps of one token in one run where `multiedge.backends.joining` can join them."""
        rows, made = self._rows, dict[int, dict[str, Array]]()
        if rows is not None:
            with self._lock:
                group = self._group(rows, items)
                made.update(zip(group, self._together(rows, [items[place] for place in group]), strict=False))
        return [made[place] if place in made else self.run(item) for place, item in enumerate(items)]

    def repeats(self, tensors: Tensors) -> bool:
        """Whether the step was computed before, so that `run` gives what was made then. Raises StageError as `run`."""
        step = Step.of(np.asarray(tensors[SEQUENCE]))
        with self._lock:
            kept = self._sequences.get(step.sequence)
            return kept is not None and step.step < kept.steps

    def repeat(self, before: _Kept, step: Step, tensors: Tensors) -> dict[str, Array]:
        """The outputs of the step behind these states, which stay as they are."""
        kept = replace(before, outputs=OrderedDict())
        with self._lock:
            outputs = self._computed(kept, Step.of(step.array()), tensors)
            self._spare.update(kept.buffers)
        return outputs

    def kept_from(self, tensors: Tensors, batch: int, length: int) -> _Kept:
        """What is kept of a sequence whose states are these."""
        return _Kept(batch, {each.input: self._holding.held(tensors[each.input]) for each in self._states}, length=length)

    def drop(self, sequence: int) -> None:
        """Frees the states of a sequence, if any are kept."""
        kept = self._sequences.pop(sequence, None)
        if kept is not None:
            self._free(kept)

    def _free(self, kept: _Kept) -> None:
        if kept.slot is not None:
            heapq.heappush(self._slots, kept.slot)
            kept.slot = None

    def close(self) -> None:
        self._sequences.clear()
        self._spare.clear()
        self._common.clear()
        self._session.close()

    def _kept(self, step: Step) -> _Kept:
        """The sequence, which has the state before the step or a later one."""
        kept = self._sequences.get(step.sequence)
        if kept is None and step.step == 0:
            while len(self._sequences) >= self._most:
                self.drop(next(iter(self._sequences)))
            kept = self._sequences[step.sequence] = self._begun(step)
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
        if self._slots and step.batch == 1 and step.sequence != NONE:
            return self._begun_in(heapq.heappop(self._slots), step)
        states = {}
        for state in self._states:
            length = max(state.length, LEAST_CAPACITY) if state.shared else 0
            states[state.input] = self._holding.held(np.zeros(state.shape(step.batch, length), state.dtype))
        return _Kept(step.batch, states)

    def _begun_in(self, slot: int, step: Step) -> _Kept:
        """A sequence of one row in buffers that are common to all, so that neighbours can be computed in one run."""
        for state in self._states:
            if state.input not in self._common:
                shape = state.shape(self._most, max(state.length, LEAST_CAPACITY))
                self._common[state.input] = np.zeros(shape, state.dtype)
        return _Kept(step.batch, self._common_rows(slot, slot + 1), slot)

    def _common_rows(self, start: int, stop: int) -> dict[str, Held]:
        """The shared states of the sequences in these slots."""
        return {name: self._holding.held(array[start:stop]) for name, array in self._common.items()}

    def _answered(self, kept: _Kept, step: Step) -> dict[str, Array]:
        if step.step not in kept.outputs:
            raise StageError(f"sequence {step.sequence}: the outputs of step {step.step} are not kept any more")
        return dict(kept.outputs[step.step])

    def _group(self, rows: Rows, items: Sequence[Tensors]) -> list[int]:
        """Places of items that can be computed in one run: the next steps of one token of sequences of one row."""
        ready: dict[int, int] = {}
        for place, item in enumerate(items):
            step = Step.of(np.asarray(item[SEQUENCE]))
            kept = self._sequences.get(step.sequence)
            if kept is not None and (step.step, step.tokens, step.batch, kept.batch, step.past) == (kept.steps, 1, 1, 1, NONE):
                ready[step.sequence] = place
        if rows.has_lengths:
            ready = {number: place for number, place in ready.items() if self._has_common_room(self._sequences[number])}
        return list(ready.values()) if len(ready) > 1 else []

    def _has_common_room(self, kept: _Kept) -> bool:
        """Whether the sequence is in the common buffers, with room for one more token."""
        return kept.slot is not None and kept.length < min(
            self._common[state.input].shape[state.axis or 0] for state in self._states
        )

    def _together(self, rows: Rows, items: Sequence[Tensors]) -> list[dict[str, Array]]:
        """The outputs of each of a group; none if it is empty, or what the sequences must share differs."""
        if not items:
            return []
        steps = [Step.of(np.asarray(item[SEQUENCE])) for item in items]
        group = [self._sequences[step.sequence] for step in steps]
        whole = [self._whole(kept, item) for kept, item in zip(group, items, strict=True)]
        given = rows.joined(whole)
        if given is None:
            return []
        for step in steps:
            self.drop(step.ended)
            self._sequences.move_to_end(step.sequence)
        outputs = (self._run_common if rows.has_lengths else self._run_stacked)(given, group)
        made = rows.taken_apart(outputs, [kept.length + 1 for kept in group])
        for kept, own, parts in zip(group, whole, made, strict=True):
            self._note(kept, 1, own, parts)
        return [dict(parts) for parts in made]

    def _run_common(self, given: Tensors, group: Sequence[_Kept]) -> dict[str, Array]:
        """The outputs of a step of sequences in the common buffers."""
        held = self._common_rows(*self._gathered(group))
        return self._holding.run_held(given, held, {state.output: held[state.input] for state in self._states})[0]

    def _gathered(self, group: Sequence[_Kept]) -> tuple[int, int]:
        """The slots [start, stop) of a group, in its order. Sequences that come together keep doing so: rows seldom move."""
        start = best_start([kept.slot or 0 for kept in group], self._most)
        holders = {kept.slot: kept for kept in self._sequences.values() if kept.slot is not None}
        moved: set[int] = set()
        for slot, kept in enumerate(group, start):
            if kept.slot is not None and kept.slot != slot:
                other, before = holders.get(slot), kept.slot
                for array in self._common.values():
                    array[[slot, before]] = array[[before, slot]]
                kept.slot, holders[slot] = slot, kept
                moved |= {slot, before}
                if other is not None:
                    other.slot, holders[before] = before, other
                else:
                    holders.pop(before)
                    self._slots[self._slots.index(slot)] = before
        heapq.heapify(self._slots)
        for slot in moved & holders.keys():
            holders[slot].states = self._common_rows(slot, slot + 1)
        return start, start + len(group)

    def _run_stacked(self, given: Tensors, group: Sequence[_Kept]) -> dict[str, Array]:
        """The outputs of a step of sequences whose states have a fixed shape; the states are the next ones then."""
        axes = {state.input: state.start.index(BATCH) for state in self._states}
        stacked = {
            name: np.concatenate([self._holding.array(kept.states[name]) for kept in group], axis=axis)
            for name, axis in axes.items()
        }
        held = {name: self._holding.held(array) for name, array in stacked.items()}
        outputs, made = self._holding.run_held(given, held, {state.output: None for state in self._states})
        for state in self._states:
            pieces = np.split(self._holding.array(made[state.output]), len(group), axis=axes[state.input])
            for piece, kept in zip(pieces, group, strict=True):
                kept.states[state.input] = self._holding.held(piece.copy())
        return outputs

    def _whole(self, kept: _Kept, tensors: Tensors) -> dict[str, Array]:
        """The inputs of the part at a step, those of states excepted."""
        given = {name: tensors[name] for name in self.inputs if name != SEQUENCE and name in tensors}
        whole = {each.input: _joined(kept.extended.get(each.input), given[each.input], each.axis) for each in self._extended}
        return {**given, **whole}

    def _computed(self, kept: _Kept, step: Step, tensors: Tensors) -> dict[str, Array]:
        if step.past not in (NONE, kept.length):
            self._cut(kept, step)
        whole = self._whole(kept, tensors)
        outputs = self._run(whole, kept, kept.length + step.tokens)
        self._note(kept, step.tokens, whole, outputs)
        return dict(outputs)

    def _cut(self, kept: _Kept, step: Step) -> None:
        """Leaves the sequence its first `step.past` tokens."""
        try:
            self._require_cut(kept, step.past)
        except StageError as error:
            raise StageError(
                f"sequence {step.sequence}: step {step.step} cuts states to {step.past} tokens: {error}"
            ) from error
        for state in self._states:
            if not state.shared:  # what is behind the tokens in a shared buffer is written over
                self._shorten(kept, state, step.past)
        kept.extended = {each.input: _first(kept.extended[each.input], each.axis, step.past) for each in self._extended}
        kept.length = step.past

    def _shorten(self, kept: _Kept, state: State, length: int) -> None:
        """Copies the first values of a state to a spare buffer, and leaves its own to the next step."""
        first = _first(self._holding.array(kept.states[state.input]), state.axis or 0, length)
        before, buffer = kept.buffers.get(state.input), self._buffer(state, kept.batch, length)
        place = buffer[: first.size].reshape(first.shape)
        place[...] = first
        kept.states[state.input], kept.buffers[state.input] = self._holding.held(place), buffer
        if before is not None:
            self._spare[state.input] = before

    def _require_cut(self, kept: _Kept, length: int) -> None:
        """StageError if the states of the sequence cannot be cut to so many tokens."""
        if length > kept.length:
            raise StageError(f"they are of {kept.length} tokens")
        for state in self._states:
            state.require_cut()
            size = self._holding.array(kept.states[state.input]).shape[state.axis or 0]
            if not state.shared and size != kept.length:
                raise StageError(f"state '{state.input}' has {size} values along its axis after {kept.length} tokens")

    def _note(self, kept: _Kept, tokens: int, whole: Tensors, outputs: dict[str, Array]) -> None:
        """A step of so many tokens was computed."""
        kept.extended = {each.input: whole[each.input] for each in self._extended}
        kept.length += tokens
        kept.note(outputs, self._returned)

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
            try:
                return self._run(tensors, kept, length)
            except Exception:  # the step itself is wrong: the next ones may write again
                self._writes_to_places = True
                raise
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
        self._free(kept)


class RepeatedStep:
    """A session that makes one step of a sequence again and again, with states bound as `StatefulSession` binds them; to time
    a step. Its inputs are those of the file: states, of which those of the first run are kept, and masks as a whole.
    """

    batch_is_free = False

    def __init__(self, session: Session, states: Sequence[State]) -> None:
        self._session, self._states = session, tuple(states)
        self._stateful = StatefulSession(session, states)
        self.inputs = session.inputs
        self.outputs = self._stateful.outputs
        self._before: _Kept | None = None
        self._step = Step()

    @property
    def provider(self) -> Provider:
        return self._session.provider

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Every output that is no state."""
        if self._before is None:
            self._begin(tensors)
        assert self._before is not None
        return self._stateful.repeat(self._before, self._step, tensors)

    def close(self) -> None:
        self._before = None
        self._stateful.close()

    def _begin(self, tensors: Tensors) -> None:
        """Keeps the states, and finds by how much the step makes them longer."""
        made = self._session.run(tensors)
        growing = [(state, axis) for state in self._states if (axis := state.axis) is not None]
        length = max((tensors[state.input].shape[axis] for state, axis in growing), default=0)
        longer = max((made[state.output].shape[axis] for state, axis in growing), default=1)
        rows = [tensors[state.input].shape[state.start.index(BATCH)] for state in self._states if BATCH in state.start]
        self._step = Step(batch=max(rows, default=1), tokens=max(1, longer - length))
        self._before = self._stateful.kept_from(tensors, self._step.batch, length)


def repeated_step(session: Session, states: Sequence[State]) -> Session:
    """What times a step of the session with its states bound; the session itself if it has none."""
    return RepeatedStep(session, states) if states else session


def _joined(before: Array | None, own: Array, axis: int) -> Array:
    """A new array, since inputs may be views of memory that is used again."""
    return np.array(own) if before is None else np.concatenate([before, own], axis=axis)


def _first(array: Array, axis: int, length: int) -> Array:
    """The first so many values along an axis, as a view."""
    return array[(slice(None),) * axis + (slice(length),)]


def _nbytes(outputs: Mapping[str, Array]) -> int:
    """Of the outputs of one step."""
    return KEPT_STEP_BYTES + sum(array.nbytes for array in outputs.values())


def _check(session: StatefulSession) -> SequenceSession:
    """For the type checker: the class satisfies the contract."""
    return session
