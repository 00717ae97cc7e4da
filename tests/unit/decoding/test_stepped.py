"""Steps as items: what is sent again when a stage has lost its states, and which sequences are known to have ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from multiedge.decoding.inputs import StepSignature
from multiedge.decoding.stepped import ATTEMPTS, SteppedModel
from multiedge.errors import StageError
from multiedge.graph import Tensor
from multiedge.states import NONE, SEQUENCE, Step

SIGNATURE = StepSignature(Tensor("input_ids", "int64"), Tensor("attention_mask", "int64"), None, "logits", 7)


class Stage:
    """Adds up the tokens of a sequence, and forgets them when it is told to; a step whose state it does not have fails."""

    def __init__(self) -> None:
        self.sums: list[int] = []
        self.steps: list[Step] = []
        self.is_broken = False

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        step = Step.of(item[SEQUENCE])
        self.steps.append(step)
        if self.is_broken or step.step > len(self.sums):
            raise StageError(f"step {step.step} needs a state that is not kept")
        before = self.sums[step.step - 1] if step.step else 0
        self.sums[step.step :] = [before + int(item["input_ids"].sum())]
        logits = np.zeros((*item["input_ids"].shape, 7), np.float32)
        logits[:, -1, self.sums[-1] % 7] = 1
        return {"logits": logits}


def tokens(*values: int) -> Any:
    return np.array([values])


def test_a_stage_that_lost_its_states_gets_the_steps_again() -> None:
    stage = Stage()
    sequence = SteppedModel(stage, SIGNATURE, 1).open()
    sequence.step(tokens(1, 2))
    sequence.step(tokens(3))
    stage.sums.clear()
    assert sequence.step(tokens(4)).argmax() == 10 % 7
    assert [step.step for step in stage.steps] == [0, 1, 2, 0, 1, 2]
    assert sequence.length == 4


def test_a_step_that_fails_again_and_again_fails() -> None:
    stage = Stage()
    sequence = SteppedModel(stage, SIGNATURE, 1).open()
    sequence.step(tokens(1))
    stage.is_broken = True
    with pytest.raises(StageError, match="step 1 needs a state"):
        sequence.step(tokens(2))
    assert sum(step.step == 1 for step in stage.steps) == ATTEMPTS


def test_stages_hear_of_sequences_that_have_ended() -> None:
    stage = Stage()
    model = SteppedModel(stage, SIGNATURE, 2)
    first, second = model.open(), model.open()
    first.step(tokens(1))
    first.close()
    second.step(tokens(1))
    second.step(tokens(1))
    assert [step.ended for step in stage.steps] == [NONE, 0, NONE]
    assert [step.sequence for step in stage.steps] == [0, 1, 1]


def test_a_mask_that_is_kept_has_the_tokens_of_the_step_alone() -> None:
    own, whole = SIGNATURE, StepSignature(SIGNATURE.tokens, SIGNATURE.mask, SIGNATURE.tokens, "logits", 7, masks_past=True)
    assert own.item(tokens(1, 2), past=5)["attention_mask"].shape == (1, 2)
    assert whole.item(tokens(1, 2), past=5)["attention_mask"].shape == (1, 7)
