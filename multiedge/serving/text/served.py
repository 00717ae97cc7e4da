"""A language model that is served: its texts, each made while its caller waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from multiedge.decoding.contract import Tokens
from multiedge.decoding.generation import Piece
from multiedge.decoding.text_model import TextModel
from multiedge.serving.inference.slots import IsActive, Slots
from multiedge.serving.text.requests import TextRequest

CONCURRENCY, MOST_WAITING = 4, 16
Pieces = Generator[Piece, None, None]


@dataclass(frozen=True)
class ServedText:
    """A language model that is served; `slots` are the texts that are made at the same time, `hold` keeps it open for one."""

    name: str
    model: TextModel
    slots: Slots = field(repr=False)
    created_s: int = 0
    hold: Callable[[], AbstractContextManager[object]] = nullcontext

    @classmethod
    def of(
        cls,
        name: str,
        model: TextModel,
        concurrency: int = CONCURRENCY,
        hold: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> ServedText:
        return cls(name, model, Slots(name, concurrency, MOST_WAITING), int(time.time()), hold)

    def pieces(self, request: TextRequest, is_active: IsActive) -> tuple[Tokens, Pieces]:
        """The tokens of the prompt, and the text as it is made while its caller waits for it."""
        tokens = self.model.tokenizer
        prompt = tokens.encode_chat(request.messages) if request.prompt is None else tokens.encode(request.prompt)
        return prompt, self._made(prompt, request, is_active)

    def _made(self, prompt: Tokens, request: TextRequest, is_active: IsActive) -> Pieces:
        with self.hold(), self.slots.taken(is_active):
            for piece in self.model.generate(prompt, request.sampling, request.limits):
                yield piece
                if not is_active():
                    return
