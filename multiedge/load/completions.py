"""Targets that speak OpenAI's protocol: completions and conversations, whole or as streams."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from multiedge.errors import ConfigError, MultiedgeError
from multiedge.formats.documents import parse_json
from multiedge.formats.fields import Field
from multiedge.load.contract import Reading
from multiedge.load.place import KIND, Place, split_answer, text_of

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
KEY_VARIABLE = "OPENAI_API_KEY"
"""The environment variable with the key that is sent to servers that want one."""
DONE = b"[DONE]"


class Completions:
    """A language model. Texts are the most likely ones (temperature 0), so that all runs ask for the same.

    Args:
        place: The server; the path is /v1, /v1/completions or /v1/chat/completions.
        model: Name of the model; may be left out where the server has one.
        prompts: Texts, each of which is one sample.
        max_tokens: How long a text may become.
        stream: Whether texts are sent piece by piece, so that the time of the first piece is seen.
    """

    is_text = True

    def __init__(
        self, place: Place, model: str = "", prompts: Sequence[str] = (), max_tokens: int = 16, stream: bool = False
    ) -> None:
        if not prompts:
            raise ConfigError("target 'openai': expected at least one prompt; give --prompt TEXT")
        if place.is_grpc or place.path not in ("/v1", COMPLETIONS, CHAT):
            raise ConfigError(f"{place.address}: expected a URL that ends with /v1, {COMPLETIONS} or {CHAT}")
        if max_tokens < 1:
            raise ConfigError(f"max_tokens: expected 1 or more, got {max_tokens}")
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not key.isascii():
            raise ConfigError(f"{KEY_VARIABLE}: expected a key of ASCII characters, got another one")
        fields = [("Authorization", f"Bearer {key}")] if key else []
        self.name = model or _only_model(place, *fields)
        self.channel = place.channel()
        path = COMPLETIONS if place.path == "/v1" else place.path
        self.requests = [
            place.post(path, json.dumps(self._body(path == CHAT, each, max_tokens, stream)).encode(), *fields)
            for each in prompts
        ]

    def _body(self, is_chat: bool, prompt: str, max_tokens: int, stream: bool) -> dict[str, object]:
        asked = {"messages": [{"role": "user", "content": prompt}]} if is_chat else {"prompt": prompt}
        body = {"model": self.name, **asked, "max_tokens": max_tokens, "temperature": 0}
        return {**body, "stream": True, "stream_options": {"include_usage": True}} if stream else body

    def read(self, answer: bytes) -> Reading:
        fields, body = split_answer(answer)
        try:
            is_stream = fields.get("content-type", "").startswith("text/event-stream")
            return _read_stream(body) if is_stream else Reading(tokens=_tokens(parse_json(body, "answer", KIND)))
        except MultiedgeError as error:
            return Reading(text_of(error))


def _only_model(place: Place, *fields: tuple[str, str]) -> str:
    names = [each["id"].name() for each in place.ask("/v1/models", *fields)["data"].items()]
    if len(names) != 1:
        raise ConfigError(f"{place.address}: which model? Give --model NAME; known: {', '.join(names) or 'none'}")
    return names[0]


def _read_stream(body: bytes) -> Reading:
    """The usage that is in one of the last events, or the error that ended the stream."""
    events = [line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")]
    tokens = None
    for event in events:
        if event != DONE:
            said = parse_json(event, "event", KIND)
            if said["error"].given:
                return Reading(f"the stream ended with an error: {said['error']['message'].text()}")
            tokens = _tokens(said) if said["usage"].given else tokens
    return Reading(tokens=tokens, is_stream=True) if DONE in events else Reading("the stream ended before [DONE]")


def _tokens(said: Field) -> int | None:
    return said["usage"]["completion_tokens"].count() if said["usage"].given else None
