"""Tokenizers of deployments in the folder of a front end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiedge.errors import ModelError, NetworkError
from multiedge.network.records import BlobState
from multiedge.serving.front.text_files import MOST_BYTES, TextFiles
from tests.builders.text_models import write_tokenizer


class FakePool:
    """The pool of a hub, as far as files are read; it counts reads."""

    def __init__(self, *files: bytes) -> None:
        self.files = {hashlib.sha256(data).hexdigest(): data for data in files}
        self.reads = 0

    def blob(self, digest: str) -> BlobState:
        return BlobState(len(self.files.get(digest, b"")), digest in self.files)

    def read(self, digest: str, offset: int, length: int) -> Iterator[bytes]:
        self.reads += 1
        yield self.files[digest][offset : offset + length]

    @property
    def text(self) -> dict[str, str]:
        """Its files under the names of a tokenizer's."""
        return dict(zip(("tokenizer.json", "tokenizer_config.json"), self.files, strict=False))


def pool_of(folder: Path, settings: bytes) -> FakePool:
    return FakePool(write_tokenizer(folder).read_bytes(), settings)


def test_a_tokenizer_is_fetched_once_and_read_with_its_settings(tmp_path: Path) -> None:
    pool, files = pool_of(tmp_path, b'{"eos_token": "<|end|>", "chat_template": "x"}'), TextFiles(tmp_path / "text")
    for _ in range(2):
        files.fetch(pool, pool.text)
    assert pool.reads == 2
    tokenizer = TextFiles(tmp_path / "text").tokenizer(pool.text)
    assert (tokenizer.settings.end, tokenizer.settings.chat_template) == ("<|end|>", "x")
    assert tokenizer.encode("ab").size == 2


def test_tokenizers_do_not_mix_and_the_ones_that_are_not_served_are_removed(tmp_path: Path) -> None:
    first, second = (pool_of(tmp_path, b'{"eos_token": "%d"}' % number) for number in range(2))
    files = TextFiles(tmp_path / "text")
    for pool in (first, second):
        files.fetch(pool, pool.text)
    assert [files.tokenizer(pool.text).settings.end for pool in (first, second)] == ["0", "1"]
    files.keep([second.text])
    assert files.tokenizer(second.text).settings.end == "1"
    with pytest.raises(ModelError):
        files.tokenizer(first.text)


@pytest.mark.parametrize("name", ["../front.sqlite", "model.onnx"])
def test_a_file_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    pool = FakePool(b"x")
    with pytest.raises(NetworkError, match=r"deployment: text: expected one of tokenizer\.json"):
        TextFiles(tmp_path).fetch(pool, {name: next(iter(pool.files))})
    assert not list(tmp_path.rglob("*.*"))


def test_another_content_than_that_of_the_digest_is_refused(tmp_path: Path) -> None:
    pool = FakePool(b"x")
    digest = next(iter(pool.files))
    pool.files[digest] = b"y"
    with pytest.raises(NetworkError, match="came with another content"):
        TextFiles(tmp_path).fetch(pool, {"tokenizer.json": digest})


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    pool = FakePool(b"x")
    pool.blob = lambda digest: BlobState(MOST_BYTES + 1, True)
    with pytest.raises(NetworkError, match="expected at most"):
        TextFiles(tmp_path).fetch(pool, pool.text)
    assert pool.reads == 0
