"""The text that the benchmark's decoder learns: this project's own documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from multiedge.errors import ConfigError

ROOT = Path(__file__).resolve().parents[4]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md")
BLOCK_CHARACTERS = 2_000
HELD_OUT_EACH = 12
"""Each block of this number is held out."""


@dataclass(frozen=True)
class Corpus:
    """Blocks of text to learn, and others that are held out to measure what was learnt."""

    learnt: tuple[str, ...]
    held_out: tuple[str, ...]


def read_corpus(root: Path = ROOT) -> Corpus:
    """The documents of the checkout, in blocks of about BLOCK_CHARACTERS; ConfigError if there are too few of them."""
    paths = [path for pattern in DOCUMENTS for path in sorted(root.glob(pattern))]
    cut = [block for path in paths for block in blocks(path.read_text(encoding="utf-8"))]
    if len(cut) < HELD_OUT_EACH:
        raise ConfigError(f"{root}: expected documents ({', '.join(DOCUMENTS)}), got {len(cut)} blocks of text")
    held_out = tuple(cut[HELD_OUT_EACH - 1 :: HELD_OUT_EACH])
    learnt = tuple(block for number, block in enumerate(cut, 1) if number % HELD_OUT_EACH)
    return Corpus(learnt, held_out)


def blocks(text: str) -> Iterator[str]:
    """The text in pieces that end with a line and have about BLOCK_CHARACTERS."""
    lines: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        lines.append(line)
        size += len(line)
        if size >= BLOCK_CHARACTERS:
            yield "".join(lines)
            lines, size = [], 0
    if lines:
        yield "".join(lines)
