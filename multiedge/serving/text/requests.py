"""What a request of OpenAI's protocol asks for, out of its JSON.

What this server does not do is refused and never ignored; such an option may have the value that asks for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multiedge.decoding.generation import Limits
from multiedge.decoding.sampling import Sampling
from multiedge.decoding.tokenizer import Message
from multiedge.defaults import DEFAULT_MAX_TOKENS
from multiedge.formats.documents import parse_json
from multiedge.formats.fields import Field, Kind
from multiedge.serving.inference.contract import Invalid

REQUEST = Kind("request", Invalid)
COMPLETION_TOKENS = 16
"""The most tokens of a completion that states none, as in OpenAI's protocol."""

SHARED = ("model", "max_tokens", "temperature", "top_p", "top_k", "stop", "seed", "stream", "stream_options", "ignore_eos")
NOTES = ("user", "metadata", "store")
"""What clients state for others to read; it has no effect anywhere."""
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "response_format": ({"type": "text"},),
}
"""Options that are not supported, with the values that ask for nothing."""


@dataclass(frozen=True)
class TextRequest:
    """A text that is asked for.

    Attributes:
        model: Name of the model.
        prompt: The prompt of a completion; None for a conversation.
        messages: The conversation; empty for a completion.
        sampling: How tokens are chosen.
        limits: Where the text ends.
        streams: Whether it is sent piece by piece.
        counts: Whether a stream ends with the numbers of tokens.
    """

    model: str
    prompt: str | None
    messages: tuple[Message, ...]
    sampling: Sampling
    limits: Limits
    streams: bool
    counts: bool

    @property
    def is_chat(self) -> bool:
        return self.prompt is None


def read_completion(body: bytes, fresh_seed: int) -> TextRequest:
    """The request of `/v1/completions`; one without a seed gets `fresh_seed`. Raises Invalid for what cannot be answered."""
    request = _supported(body, ("prompt",))
    return _request(request, _prompt(request["prompt"]), (), COMPLETION_TOKENS, fresh_seed)


def read_chat(body: bytes, fresh_seed: int) -> TextRequest:
    """The request of `/v1/chat/completions`; otherwise as `read_completion`."""
    request = _supported(body, ("messages", "max_completion_tokens"))
    messages = tuple(_message(field) for field in request["messages"].items(least=1))
    return _request(request, None, messages, DEFAULT_MAX_TOKENS, fresh_seed)


def _supported(body: bytes, own: tuple[str, ...]) -> Field:
    request = parse_json(body, "request", REQUEST).record((*SHARED, *own, *NOTES, *NEUTRAL))
    for name, neutral in NEUTRAL.items():
        field = request[name]
        if field.given and field.value not in neutral:
            raise field.error("is not supported; leave it out")
    return request


def _request(
    request: Field, prompt: str | None, messages: tuple[Message, ...], most_tokens: int, fresh_seed: int
) -> TextRequest:
    most = request["max_completion_tokens"].optional(Field.integer, request["max_tokens"].optional(Field.integer, most_tokens))
    streams = request["stream"].optional(Field.boolean, False)
    wanted = request["stream_options"]
    if wanted.given and not streams:
        raise wanted.error("has no effect without stream; leave it out")
    counts = wanted.record(("include_usage",))["include_usage"].optional(Field.boolean, False) if wanted.given else False
    temperature = request["temperature"].optional(Field.number, 1.0)
    return TextRequest(
        model=request["model"].name(),
        prompt=prompt,
        messages=messages,
        sampling=Sampling(
            temperature,
            request["top_k"].optional(Field.count, 0),
            request["top_p"].optional(Field.number, 1.0),
            request["seed"].optional(Field.count, fresh_seed if temperature else 0),
        ),
        limits=Limits(most, request["stop"].optional(_texts, ()), request["ignore_eos"].optional(Field.boolean, False)),
        streams=streams,
        counts=counts,
    )


def _prompt(field: Field) -> str:
    """One text; a list of one text counts as it."""
    if isinstance(field.value, list):
        texts = field.list_of(Field.text)
        if len(texts) != 1:
            raise field.expected("one prompt in each request")
        return texts[0]
    return field.text()


def _texts(field: Field) -> tuple[str, ...]:
    """One text or a list of them."""
    return (field.text(),) if isinstance(field.value, str) else field.list_of(Field.text)


def _message(field: Field) -> Message:
    content = field.record(("role", "content", "name"))
    return {"role": content["role"].name(), "content": _content(content["content"])}


def _content(field: Field) -> str:
    """A text, or the texts of a list of parts."""
    if not isinstance(field.value, list):
        return field.text()
    for part in field.items():
        part["type"].choice(("text",))
    return "".join(part["text"].text() for part in field.items())
