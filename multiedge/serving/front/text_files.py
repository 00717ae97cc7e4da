"""Tokenizers of deployments as a front end keeps them, so that one that is started again without its hub has them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from multiedge.decoding.tokenizer import TEXT_FILES, TextTokenizer, read_tokenizer
from multiedge.errors import NetworkError
from multiedge.files import write_bytes
from multiedge.network.client import HubClient

MOST_BYTES = 256 << 20
"""A larger file is no tokenizer's."""
Text = Mapping[str, str]
"""The files of a tokenizer: digests in the hub's pool by name."""


class TextFiles:
    """Files below a folder, those of each tokenizer in a folder of their own, whose name comes from their digests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, client: HubClient, text: Text) -> None:
        """Brings files here that are not here yet. Raises NetworkError if the hub does not have them, or for another file than
        those of tokenizers."""
        folder = self._folder_of(text)
        for name, digest in text.items():
            if name not in TEXT_FILES:
                raise NetworkError(f"deployment: text: expected one of {', '.join(TEXT_FILES)}, got '{name}'")
            if not (folder / name).is_file():
                write_bytes(folder / name, _read(client, name, digest), error=NetworkError)

    def tokenizer(self, text: Text) -> TextTokenizer:
        """The tokenizer of files that are here; raises what `read_tokenizer` does."""
        return read_tokenizer(self._folder_of(text))

    def keep(self, texts: Iterable[Text]) -> None:
        """Removes the files of all other tokenizers."""
        kept = {self._folder_of(text) for text in texts}
        for folder in self._folder.glob("*/"):
            if folder not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def _folder_of(self, text: Text) -> Path:
        names = "\n".join(f"{name} {digest}" for name, digest in sorted(text.items()))
        return self._folder / hashlib.sha256(names.encode()).hexdigest()[:32]


def _read(client: HubClient, name: str, digest: str) -> bytes:
    size = client.blob(digest).stored_bytes
    if size > MOST_BYTES:
        raise NetworkError(f"deployment: text: '{name}': expected at most {MOST_BYTES} bytes, got {size}")
    data = b"".join(client.read(digest, 0, size))
    if hashlib.sha256(data).hexdigest() != digest:
        raise NetworkError(f"deployment: text: '{name}': came with another content than that of its digest")
    return data
