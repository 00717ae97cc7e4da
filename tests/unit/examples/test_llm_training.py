"""The language model benchmark's decoder: what it learns, and that its ONNX files compute what torch does."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[3] / "examples" / "llm" / "multiedge_inference_bench"
sys.path.insert(0, str(BENCH))

pytest.importorskip("torch", reason="needs the extra [bench]")
pytest.importorskip("tokenizers", reason="needs the extra [bench]")

from llm_bench.corpus import BLOCK_CHARACTERS, HELD_OUT_EACH, blocks, read_corpus  # noqa: E402
from llm_bench.decoder_onnx import LAYOUTS, Decoder  # noqa: E402
from llm_bench.export import export, require_equal  # noqa: E402
from llm_bench.perplexity import perplexity  # noqa: E402
from llm_bench.training import Schedule, Trained, logits_of, train  # noqa: E402
from llm_bench.vocabulary import save_text_files, train_tokenizer  # noqa: E402

from multiedge.decoding.opening import open_whole  # noqa: E402
from multiedge.decoding.tokenizer import read_tokenizer  # noqa: E402
from multiedge.errors import ConfigError, ModelError  # noqa: E402

SMALL = Decoder(layers=1, hidden=32, heads=2, kv_heads=1, vocabulary=20, intermediate=32, context=64)
TEXT = np.tile(np.arange(20), 40)
"""A text of which each token follows from the one before."""
SCHEDULE = Schedule(steps=40, batch=4, window=16, rate=1e-2, warmup=5, dropout=0.0)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(SMALL, TEXT, SCHEDULE)


def test_the_decoder_learns_what_follows(trained: Trained) -> None:
    assert trained.loss < 1.0 < np.log(20)
    logits = logits_of(SMALL, trained.weights, TEXT[None, :10])
    assert logits.argmax(-1).tolist() == [list(range(1, 11))]


def test_the_same_seed_gives_the_same_weights(trained: Trained) -> None:
    short = Schedule(steps=3, batch=2, window=8, seed=5)
    first, again, other = (train(SMALL, TEXT, schedule).weights for schedule in (short, short, Schedule(3, 2, 8, seed=6)))
    name = "model.layers.0.mlp.up_proj.weight"
    np.testing.assert_array_equal(first[name], again[name])
    assert (first[name] != other[name]).any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_layouts_compute_what_torch_does(tmp_path: Path, trained: Trained, layout: str) -> None:
    path = tmp_path / layout / "model.onnx"
    export(SMALL, trained.weights, layout, path)
    expected = logits_of(SMALL, trained.weights, TEXT[None, :24])
    assert require_equal(path, TEXT[None, :24], expected) < 1e-4
    with pytest.raises(ModelError, match="its logits differ from torch's by 0"):
        require_equal(path, TEXT[None, :24], expected + 0.1)


def test_perplexity_is_low_for_what_was_learnt_and_high_for_what_was_not(tmp_path: Path, trained: Trained) -> None:
    path = tmp_path / "model.onnx"
    export(SMALL, trained.weights, "optimum", path)
    model = open_whole(path)
    backwards = TEXT[::-1].copy()
    assert perplexity(model, [TEXT[:30], TEXT[5:40]]) < 2 < 20 < perplexity(model, [backwards[:30]])
    model.close()


def test_every_twelfth_block_of_the_documents_is_held_out() -> None:
    corpus = read_corpus()
    count = len(corpus.learnt) + len(corpus.held_out)
    assert len(corpus.held_out) == count // HELD_OUT_EACH > 5
    assert not set(corpus.learnt) & set(corpus.held_out)


def test_blocks_end_with_lines() -> None:
    text = "".join(f"line {number} of the text\n" for number in range(300))
    cut = list(blocks(text))
    assert "".join(cut) == text
    assert all(block.endswith("\n") for block in cut)
    assert all(BLOCK_CHARACTERS <= len(block) < BLOCK_CHARACTERS + 30 for block in cut[:-1])


def test_a_folder_without_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected documents"):
        read_corpus(tmp_path)


def test_the_tokenizer_writes_every_text_and_knows_conversations(tmp_path: Path) -> None:
    save_text_files(train_tokenizer(["one two three"] * 4, 300), tmp_path)
    tokenizer = read_tokenizer(tmp_path)
    assert tokenizer.decode(tokenizer.encode("naïve 🙂")) == "naïve 🙂"
    assert tokenizer.end_tokens == {0}
    chat = tokenizer.encode_chat([{"role": "user", "content": "two"}])
    assert tokenizer.decode(chat) == "user: two\n\nassistant:"
