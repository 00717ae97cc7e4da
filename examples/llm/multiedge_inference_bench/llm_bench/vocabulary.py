"""The tokenizer of the benchmark's decoder, and the files beside a model that say how its texts are made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from multiedge.errors import MissingDependencyError
from multiedge.files import write_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END = "<|end|>"
CHAT_TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n\n{% endfor %}assistant:"


def train_tokenizer(texts: Sequence[str], size: int) -> Tokenizer:
    """A byte-pair encoding of `size` tokens (Sennrich et al., "Neural machine translation of rare words with subword units",
    2016), which can write every text."""
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError as error:
        raise MissingDependencyError("tokenizers", extra="bench") from error
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_text_files(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json` beside a model."""
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=False))
    settings = {"eos_token": END, "chat_template": CHAT_TEMPLATE}
    write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=1) + "\n")
