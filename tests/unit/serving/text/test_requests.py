"""What a request of OpenAI's protocol asks for, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from multiedge.decoding.generation import Limits
from multiedge.decoding.sampling import Sampling
from multiedge.serving.inference.contract import Invalid
from multiedge.serving.text.requests import NEUTRAL, TextRequest, read_chat, read_completion

MESSAGES = [{"role": "system", "content": "be brief"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]}]


def completion(**options: Any) -> TextRequest:
    return read_completion(json.dumps({"model": "m", "prompt": "once", **options}).encode(), fresh_seed=7)


def chat(**options: Any) -> TextRequest:
    return read_chat(json.dumps({"model": "m", "messages": MESSAGES, **options}).encode(), fresh_seed=7)


def test_what_a_completion_leaves_out_is_as_in_openais_protocol() -> None:
    expected = TextRequest("m", "once", (), Sampling(temperature=1.0, seed=7), Limits(16), streams=False, counts=False)
    assert completion() == expected
    assert not completion().is_chat


def test_a_conversation_is_its_messages() -> None:
    request = chat(max_completion_tokens=5)
    assert request.is_chat
    assert request.messages == ({"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"})
    assert request.limits == Limits(5)


def test_options_are_read() -> None:
    request = completion(
        max_tokens=9, temperature=0.5, top_p=0.9, seed=3, stop=["a", "b"], stream=True, stream_options={"include_usage": True}
    )
    assert request.sampling == Sampling(0.5, 0, 0.9, 3)
    assert request.limits == Limits(9, ("a", "b"))
    assert request.streams
    assert request.counts


def test_the_most_likely_tokens_need_no_seed() -> None:
    assert completion(temperature=0).sampling == Sampling()


def test_a_list_of_one_prompt_is_that_prompt() -> None:
    assert completion(prompt=["once"]).prompt == "once"


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in NEUTRAL.items() for value in values])
def test_options_that_ask_for_nothing_may_be_there(name: str, value: object) -> None:
    assert chat(**{name: value}) == chat()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"n": 2}, "request: n: is not supported; leave it out"),
        ({"logprobs": 5}, "request: logprobs: is not supported; leave it out"),
        ({"prompt": [1, 2]}, "request: prompt[0]: expected a text, got 1"),
        ({"prompt": ["a", "b"]}, "request: prompt: expected one prompt in each request, got a list of 2"),
        ({"stream_options": {"include_usage": True}}, "request: stream_options: has no effect without stream; leave it out"),
        ({"temprature": 1}, "request: unknown key 'temprature'; did you mean 'temperature'?"),
        ({"max_tokens": "many"}, "request: max_tokens: expected a whole number"),
        ({"model": None}, "request: model: expected a name, got nothing"),
        ({"temperature": 0, "top_p": 0.5}, "top_p: has no effect at temperature 0"),
        ({"max_tokens": 0}, "max_tokens: expected at least 1, got 0"),
    ],
)
def test_what_cannot_be_answered_is_refused(options: dict[str, object], line: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - Invalid, or what the values themselves raise
        completion(**options)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("messages", "line"),
    [
        ([], "request: messages: expected a list of at least 1 entry"),
        ([{"role": "user"}], "request: messages[0].content: missing; expected a text"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "request: messages[0].content[0].type: unknown value 'image_url'",
        ),
    ],
)
def test_a_conversation_that_holds_no_texts_is_refused(messages: object, line: str) -> None:
    with pytest.raises(Invalid) as caught:
        chat(messages=messages)
    assert str(caught.value).startswith(line)


def test_a_body_that_is_no_json_is_refused() -> None:
    with pytest.raises(Invalid, match="not valid JSON"):
        read_completion(b"{", 0)
