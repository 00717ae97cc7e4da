"""Language models without weights: a tokenizer of bytes and a model that follows a script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multiedge.decoding.contract import Logits, Tokens
from multiedge.decoding.drafting import Proposals
from multiedge.decoding.tokenizer import TextSettings, TextTokenizer

END = "<|end|>"


def byte_tokenizer(end: str = END, **settings: object) -> TextTokenizer:
    """A tokenizer whose tokens are bytes, so that most characters beyond ASCII take several; 256 ends a text."""
    return TextTokenizer(_raw(), TextSettings(end=end, **settings))


def write_tokenizer(folder: Path) -> Path:
    """The same as the file `tokenizer.json` of a folder."""
    _raw().save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def _raw() -> Any:
    tokenizers = pytest.importorskip("tokenizers", reason="needs the extra [llm]")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    raw = tokenizers.Tokenizer(tokenizers.models.BPE({symbol: number for number, symbol in enumerate(alphabet)}, []))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = tokenizers.decoders.ByteLevel()
    raw.add_special_tokens([END])
    return raw


class ScriptedModel:
    """A StepModel that answers every prompt with the same tokens, and notes what it was given. A prompt is what comes first, or
    has so many tokens."""

    def __init__(self, script: Sequence[int], vocabulary: int = 300, prompt: int = 0) -> None:
        self.script, self.vocabulary, self.prompt = tuple(script), vocabulary, prompt
        self.given: list[list[int]] = []
        self.open_sequences = 0
        self.is_closed = False

    def open(self, batch: int = 1) -> ScriptedSequence:
        self.open_sequences += 1
        return ScriptedSequence(self, batch)

    def close(self) -> None:
        self.is_closed = True


class ScriptedSequence:
    """A sequence of it; after the script the last token comes again and again."""

    def __init__(self, model: ScriptedModel, batch: int) -> None:
        self.batch, self.length, self._model, self._prompt = batch, 0, model, model.prompt

    def step(self, tokens: Tokens) -> Logits:
        return self.score(tokens, 1)[:, -1]

    def score(self, tokens: Tokens, last: int | None = None) -> Logits:
        self._model.given.append(tokens[0].tolist())
        self._prompt = self._prompt or tokens.shape[1]
        self.length += tokens.shape[1]
        script, count = self._model.script, tokens.shape[1] if last is None else last
        logits = np.zeros((self.batch, count, self._model.vocabulary), np.float32)
        for place in range(count):
            number = max(0, self.length - count + place + 1 - self._prompt)
            logits[:, place, script[min(number, len(script) - 1)]] = 100.0
        return logits

    def cut(self, length: int) -> None:
        assert 0 <= length <= self.length
        self.length = length

    def close(self) -> None:
        self._model.open_sequences -= 1


class Wrong:
    """Proposals of which every fifth is another token, in the first row alone."""

    def __init__(self, proposals: Proposals) -> None:
        self._proposals, self._count = proposals, 0

    def open(self, batch: int = 1) -> Wrong:
        self._proposer = self._proposals.open(batch)
        return self

    def propose(self, tokens: Tokens, most: int) -> Tokens:
        proposed = self._proposer.propose(tokens, most)
        for place in range(proposed.shape[1]):
            self._count += 1
            if self._count % 5 == 0:
                proposed[0, place] = (proposed[0, place] + 1) % 97
        return proposed

    def close(self) -> None:
        self._proposer.close()


class Ticks:
    """A clock that advances by these seconds at each look."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds, self._now = seconds, 0.0

    def __call__(self) -> float:
        self._now += self._seconds
        return self._now
