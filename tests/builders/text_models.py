"""Language models without weights: a tokenizer of bytes and a model that follows a script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multiedge.decoding.contract import Logits, Tokens
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
    """A StepModel that answers every prompt with the same tokens, and notes what it was given."""

    def __init__(self, script: Sequence[int], vocabulary: int = 300) -> None:
        self.script, self.vocabulary = tuple(script), vocabulary
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
        self.batch, self.length, self._model, self._steps = batch, 0, model, 0

    def step(self, tokens: Tokens) -> Logits:
        self._model.given.append(tokens[0].tolist())
        self.length += tokens.shape[1]
        script = self._model.script
        logits = np.zeros((self.batch, self._model.vocabulary), np.float32)
        logits[:, script[min(self._steps, len(script) - 1)]] = 100.0
        self._steps += 1
        return logits

    def close(self) -> None:
        self._model.open_sequences -= 1


class Ticks:
    """A clock that advances by these seconds at each look."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds, self._now = seconds, 0.0

    def __call__(self) -> float:
        self._now += self._seconds
        return self._now
