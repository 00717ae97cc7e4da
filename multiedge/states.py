"""Tensors that loop from one step of a sequence to the next, and the tensor that says which step an item is.

A decoder keeps the keys and values of earlier tokens, a recurrent network its hidden values. A stage holds the states of its
own nodes, apart for each sequence; they are never sent. Each item has the tensor SEQUENCE in their place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multiedge.errors import StageError

SEQUENCE = "multiedge_sequence"
"""The input that a model with states has in addition to its own: int64, (FIELDS,) or one more, see `Step`."""
FIELDS = 5
"""Its values, where the step cuts no states."""
BATCH = -1
"""In place of a dimension of a state: the rows of its sequence."""
NONE = -1
"""In place of the number of a sequence: no sequence."""
KEPT_BYTES = 32 << 20
"""Answers to earlier steps that a stage keeps of each sequence."""
KEPT_STEP_BYTES = 1024
"""What it takes to keep the answer to one step, in addition to its values."""
KEPT_ANSWERS = "multiedge_kept_answers"
"""The parameter by which plans count their memory."""


@dataclass(frozen=True)
class State:
    """An output that is an input of the next step of the same sequence.

    Attributes:
        input: Name of the input.
        output: Name of the output.
        dtype: numpy's name of the type.
        start: Its shape before the first step, whose values are 0: BATCH for the rows of the sequence, 0 for the axis along
            which it grows.
        length: How long that axis is where the plan counts memory; 0 if it does not grow, or if that is not known.
        shared: Whether the input and the output may be one buffer, longer than what it holds.
    """

    input: str
    output: str
    dtype: str
    start: tuple[int, ...]
    length: int = 0
    shared: bool = False

    @property
    def axis(self) -> int | None:
        """The axis along which it grows; None if it keeps its shape."""
        return self.start.index(0) if 0 in self.start else None

    def require_cut(self) -> None:
        """StageError if it cannot be cut to the first tokens of its sequence."""
        if self.axis is None:
            raise StageError(f"state '{self.input}' keeps its shape, and what later tokens changed of it cannot be taken back")

    def shape(self, batch: int, length: int = 0) -> tuple[int, ...]:
        """Its shape in a sequence.

        Args:
            batch: Rows of the sequence.
            length: Size of the axis along which it grows.

        Returns:
            Sizes.
        """
        return tuple(batch if size == BATCH else length if axis == self.axis else size for axis, size in enumerate(self.start))


@dataclass(frozen=True)
class Extended:
    """An input of a value for each token so far, such as a mask. Items have those of their own tokens; a stage keeps the
    others.

    Attributes:
        input: Name of the input.
        axis: The axis along which it grows.
    """

    input: str
    axis: int


@dataclass(frozen=True)
class Step:
    """The step of a sequence that an item is.

    Attributes:
        sequence: Number of the sequence, from 0: each has another one. NONE for a step alone, of which nothing is kept.
        step: Number of the step, from 0.
        batch: Rows of the sequence.
        tokens: How much longer the step makes states that grow.
        ended: Number of a sequence whose states are not needed any more; NONE for none.
        past: Tokens of the sequence before the step: states that have more are cut to so many; NONE for as many as they have.
    """

    sequence: int = NONE
    step: int = 0
    batch: int = 1
    tokens: int = 1
    ended: int = NONE
    past: int = NONE

    def array(self) -> npt.NDArray[np.int64]:
        """The tensor SEQUENCE.

        Returns:
            int64, (FIELDS,); one more if states are cut.
        """
        cut = [] if self.past == NONE else [self.past]
        return np.array([self.sequence, self.step, self.batch, self.tokens, self.ended, *cut], dtype=np.int64)

    @classmethod
    def of(cls, values: npt.NDArray[np.int64]) -> Step:
        """The step that a tensor says.

        Args:
            values: The tensor SEQUENCE.

        Returns:
            The Step.

        Raises:
            StageError: If it has another shape or type, or a number that cannot be.
        """
        if values.shape not in ((FIELDS,), (FIELDS + 1,)) or values.dtype.kind not in "iu":
            raise StageError(
                f"'{SEQUENCE}': expected {FIELDS} or {FIELDS + 1} int64, got {values.dtype} of shape {list(values.shape)}"
            )
        step = cls(*values.tolist())
        is_possible = min(step.sequence, step.past) >= NONE and step.step >= 0 and min(step.batch, step.tokens) >= 1
        if not is_possible or (step.sequence == NONE and (step.step or step.past != NONE)):
            raise StageError(
                f"'{SEQUENCE}': expected sequence, step (from 0), batch, tokens (from 1), the number of an ended sequence and"
                f" the tokens before the step, got {values.tolist()}"
            )
        return step
