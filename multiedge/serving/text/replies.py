"""Replies of OpenAI's protocol, as JSON values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from multiedge.decoding.generation import Finish, Generation
from multiedge.serving.text.requests import TextRequest

Json = dict[str, Any]


@dataclass(frozen=True)
class ReplyWriter:
    """Writes the reply to a request. `id` is the reply's own, `created_s` its time in seconds since 1970.

    Each part also states the seed: with it, the request gives the same text again.
    """

    request: TextRequest
    id: str
    created_s: int

    def whole(self, generation: Generation) -> Json:
        """A text in one piece."""
        if self.request.is_chat:
            message = {"role": "assistant", "content": generation.text}
            part = self._part("chat.completion", {"message": message}, generation.finish)
        else:
            part = self._part("text_completion", {"text": generation.text}, generation.finish)
        return {**part, "usage": usage(generation)}

    def begin(self) -> Json | None:
        """What a stream begins with; None if it begins with a piece."""
        return self._chunk({"role": "assistant", "content": ""}, None) if self.request.is_chat else None

    def piece(self, text: str, finish: Finish | None) -> Json:
        """A piece of a stream."""
        if self.request.is_chat:
            return self._chunk({"content": text} if text else {}, finish)
        return self._part("text_completion", {"text": text}, finish)

    def counts(self, generation: Generation) -> Json:
        """The numbers of tokens at the end of a stream."""
        kind = "chat.completion.chunk" if self.request.is_chat else "text_completion"
        return {**self._part(kind, {}, None), "choices": [], "usage": usage(generation)}

    def _chunk(self, delta: Json, finish: Finish | None) -> Json:
        return self._part("chat.completion.chunk", {"delta": delta}, finish)

    def _part(self, kind: str, body: Json, finish: Finish | None) -> Json:
        choice = {"index": 0, **body, "logprobs": None, "finish_reason": finish.value if finish else None}
        return {
            "id": f"{'chatcmpl' if self.request.is_chat else 'cmpl'}-{self.id}",
            "object": kind,
            "created": self.created_s,
            "model": self.request.model,
            "seed": self.request.sampling.seed,
            "choices": [choice],
        }


def usage(generation: Generation) -> Json:
    """The numbers of tokens."""
    made = len(generation.tokens)
    return {
        "prompt_tokens": generation.prompt_tokens,
        "completion_tokens": made,
        "total_tokens": generation.prompt_tokens + made,
    }


def failure(message: str, status: int) -> Json:
    """The body of an error."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}
