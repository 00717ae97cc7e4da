"""The loop: where a text ends, what is shown of it when, and its times."""

from __future__ import annotations

import numpy as np
import pytest

from multiedge.decoding.generation import Finish, Generation, Limits, Turns, generate, token_steps
from multiedge.decoding.sampling import Sampling
from multiedge.errors import ConfigError
from tests.builders.text_models import ScriptedModel, Ticks, byte_tokenizer

TOKENIZER = byte_tokenizer()
END = 256
PROMPT = np.array([1, 2, 3])


def model_of(text: str, *more: int) -> ScriptedModel:
    return ScriptedModel([*TOKENIZER.encode(text).tolist(), *more])


def made(model: ScriptedModel, limits: Limits) -> Generation:
    return Generation.of(PROMPT.size, generate(model, TOKENIZER, PROMPT, limits=limits))


@pytest.mark.parametrize(
    ("model", "limits", "text", "tokens", "finish"),
    [
        (model_of("hello", END), Limits(20), "hello", 6, Finish.STOP),
        (model_of("hello", END), Limits(3), "hel", 3, Finish.LENGTH),
        (model_of("hello", END), Limits(5), "hello", 5, Finish.LENGTH),
        (model_of("hello", END), Limits(8, ignores_ends=True), "hello", 8, Finish.LENGTH),
        (model_of("one\n\ntwo"), Limits(20, ("\n\n",)), "one", 5, Finish.STOP),
        (model_of("one\n"), Limits(4, ("\n\n",)), "one\n", 4, Finish.LENGTH),
        (model_of("one\n", END), Limits(9, ("\n\n",)), "one\n", 5, Finish.STOP),
        (model_of("a🙂"), Limits(3), "a\ufffd", 3, Finish.LENGTH),
        (model_of("", END), Limits(9), "", 1, Finish.STOP),
    ],
)
def test_a_text_ends_at_a_token_a_text_or_the_most_tokens(
    model: ScriptedModel, limits: Limits, text: str, tokens: int, finish: Finish
) -> None:
    generation = made(model, limits)
    assert (generation.text, len(generation.tokens), generation.finish) == (text, tokens, finish)
    assert model.open_sequences == 0


def test_the_model_gets_the_prompt_whole_and_then_its_own_tokens() -> None:
    model = model_of("abc")
    made(model, Limits(3))
    a, b, _ = model.script
    assert model.given == [[1, 2, 3], [a], [b]]


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    model = model_of("abc")
    pieces = generate(model, TOKENIZER, PROMPT)
    assert model.given == []
    assert next(pieces).text == "a"
    assert len(model.given) == 1
    pieces.close()
    assert model.open_sequences == 0


def test_times_are_those_of_the_tokens() -> None:
    generation = Generation.of(3, generate(model_of("abcd"), TOKENIZER, PROMPT, limits=Limits(4), clock=Ticks(0.5)))
    assert generation.times_s == (0.5, 1.0, 1.5, 2.0)
    assert (generation.time_to_first_token_s, generation.time_per_output_token_s, generation.tokens_per_s) == (0.5, 0.5, 2.0)


def test_what_was_not_measured_is_not_known() -> None:
    empty = Generation.of(3, [])
    assert (empty.time_to_first_token_s, empty.time_per_output_token_s, empty.tokens_per_s) == (None, None, None)
    assert made(model_of("a"), Limits(1)).time_per_output_token_s is None
    assert (empty.steps_per_token, empty.accepted_share) == (None, None)


def test_without_proposals_each_token_takes_a_step() -> None:
    generation = made(model_of("abc"), Limits(3))
    assert (generation.steps, generation.steps_per_token, generation.proposed) == (3, 1.0, 0)
    assert generation.accepted_share is None


def test_rows_of_a_batch_go_on_together() -> None:
    model = model_of("xyz")
    steps = token_steps(model.open(2), Turns(np.array([[1, 2], [3, 4]]), Sampling(), 2))
    assert [tokens.tolist() for tokens in steps] == [[token] * 2 for token in model.script[:2]]


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(ConfigError, match="prompt: expected at least one token, got none"):
        next(generate(model_of("a"), TOKENIZER, np.array([], np.int64)))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"max_tokens": 0}, "max_tokens: expected at least 1, got 0"),
        ({"stops": ("a", "")}, "stop: expected texts that are not empty, got an empty one"),
    ],
)
def test_limits_that_cannot_be_are_refused(settings: dict[str, object], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Limits(**settings)
    assert str(caught.value) == line
