"""Decoders in both layouts: the same tokens, whether a prompt is given whole or token by token, alone or in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tests.builders.decoders import (
    LAYOUTS,
    Decoder,
    decoder_model,
    decoder_states,
    external_weights,
    random_decoder,
    recurrent_model,
    recurrent_states,
    small_decoder,
)

PROMPT = np.array([[5, 17, 3, 88, 41, 2, 9]])
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


class Stepper:
    """A model with the states of one batch as arrays. Without states of its own, they are those of a decoder."""

    def __init__(self, model: onnx.ModelProto, states: Sequence[tuple[str, str]], batch: int = 1) -> None:
        self.raw = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        self.names = [value.name for value in self.raw.get_inputs()]
        self.pairs = dict(states)
        self.batch, self.past = batch, 0
        self.states = {value.name: self._empty(value.shape) for value in self.raw.get_inputs() if value.name in self.pairs}

    def _empty(self, shape: Sequence[Any]) -> Any:
        sizes = {"batch": self.batch, "past": 0}
        return np.zeros([sizes.get(size, size) for size in shape], np.float32)

    def step(self, tokens: Any, mask: Any = None, positions: Any = None) -> Any:
        """Logits, (batch, n, vocabulary)."""
        total = self.past + tokens.shape[1]
        usual = np.broadcast_to(np.arange(self.past, total), tokens.shape)
        feed = {
            "input_ids": tokens,
            "attention_mask": np.ones((self.batch, total), np.int64) if mask is None else mask,
            "position_ids": usual if positions is None else positions,
        }
        given = {name: array for name, array in feed.items() if name in self.names}
        names = [value.name for value in self.raw.get_outputs()]
        outputs = dict(zip(names, self.raw.run(None, {**given, **self.states}), strict=True))
        self.states = {before: outputs[after] for before, after in self.pairs.items()}
        self.past = total
        return outputs["logits"]


def greedy(stepper: Stepper, prompt: Any, count: int) -> Any:
    """Tokens after the prompt, (batch, count)."""
    tokens = [stepper.step(prompt)[:, -1:].argmax(-1)]
    while len(tokens) < count:
        tokens.append(stepper.step(tokens[-1])[:, -1:].argmax(-1))
    return np.concatenate(tokens, axis=1)


def decoder(layout: str = "optimum", batch: int = 1, **options: Any) -> Stepper:
    return Stepper(random_decoder(layout=layout, **options), decoder_states(small_decoder()), batch)


def recurrent(batch: int = 1) -> Stepper:
    return Stepper(recurrent_model(), recurrent_states(), batch)


def test_both_layouts_give_the_same_greedy_tokens() -> None:
    optimum, genai = (greedy(decoder(layout), PROMPT, 40) for layout in LAYOUTS)
    np.testing.assert_array_equal(optimum, genai)
    assert len(np.unique(optimum)) > 10, "a model that repeats itself would show little"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_token_by_token_a_decoder_computes_what_it_does_of_the_whole_prompt(layout: str) -> None:
    whole, single = decoder(layout).step(PROMPT), decoder(layout)
    parts = [single.step(PROMPT[:, [column]]) for column in range(PROMPT.shape[1])]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, **CLOSE)


def test_token_by_token_a_recurrent_model_computes_what_it_does_of_the_whole_prompt() -> None:
    prompt, single = PROMPT % 61, recurrent()
    parts = [single.step(prompt[:, [column]]) for column in range(prompt.shape[1])]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), recurrent().step(prompt), **CLOSE)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_row_of_a_batch_gets_the_tokens_that_it_gets_alone(layout: str) -> None:
    prompts = np.random.default_rng(1).integers(0, 97, (4, 6))
    together = greedy(decoder(layout, batch=4), prompts, 20)
    alone = [greedy(decoder(layout), prompts[[row]], 20)[0] for row in range(4)]
    np.testing.assert_array_equal(together, alone)


def test_later_tokens_change_nothing_before_them() -> None:
    other = np.concatenate([PROMPT[:, :-1], [[60]]], axis=1)
    first, second = decoder().step(PROMPT), decoder().step(other)
    np.testing.assert_allclose(first[:, :-1], second[:, :-1], **CLOSE)
    assert np.abs(first[:, -1] - second[:, -1]).max() > 0.1


def test_what_the_mask_leaves_out_does_not_count() -> None:
    padded = np.concatenate([[[1, 1]], PROMPT], axis=1)
    mask = np.concatenate([[[0, 0]], np.ones_like(PROMPT)], axis=1)
    positions = np.concatenate([[[0, 0]], np.arange(PROMPT.shape[1])[None]], axis=1)
    logits = decoder().step(padded, mask, positions)
    np.testing.assert_allclose(logits[:, 2:], decoder().step(PROMPT), **CLOSE)


def test_the_order_of_tokens_counts() -> None:
    swapped = PROMPT[:, [1, 0, *range(2, PROMPT.shape[1])]]
    assert np.abs(decoder().step(swapped)[:, -1] - decoder().step(PROMPT)[:, -1]).max() > 0.1


def test_the_number_of_earlier_tokens_may_come_from_the_first_state() -> None:
    tokens = greedy(decoder(past_length_from_state=True), PROMPT, 20)
    np.testing.assert_array_equal(tokens, greedy(decoder(), PROMPT, 20))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_models_follow_the_standard(layout: str) -> None:
    onnx.checker.check_model(random_decoder(layout=layout), full_check=True)


def test_weights_may_lie_in_a_file_that_nobody_reads() -> None:
    large = Decoder(32, 4096, 32, 8, 32_000, 14_336, dtype="float16")
    model = decoder_model(large, external_weights(large, "weights.bin"), "genai")
    assert model.ByteSize() < 4_000_000
    end = model.graph.initializer[len(large.weight_shapes()) - 1].external_data
    assert int(end[1].value) + int(end[2].value) == 14_483_464_192  # 7.24 billion parameters of 2 bytes
