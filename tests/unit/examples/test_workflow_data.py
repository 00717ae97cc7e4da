"""What the examples of workflows draw, speak and write: by a seed, with right answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.builders.workflow_example import importable, transforms

importable()

from workflow_bench import audio, questions, shapes  # noqa: E402


def test_shapes_differ_from_each_other() -> None:
    v, u = np.mgrid[-1:1:64j, -1:1:64j]
    masks = [shapes.covers(name, u, v) for name in shapes.SHAPES]
    for number, mask in enumerate(masks):
        assert 0.1 < mask.mean() < 0.9
        assert all((mask != other).mean() > 0.05 for other in masks[:number])


def test_the_same_seed_draws_the_same_clip() -> None:
    first, again, other = (list(shapes.clip(np.random.default_rng(seed), 3)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first[2][0], again[2][0])
    assert (first[2][0] != other[2][0]).any()


def test_bodies_of_a_clip_stay_in_the_frame_and_apart() -> None:
    clips = [list(shapes.clip(np.random.default_rng(seed), 12)) for seed in range(6)]
    assert {len(clip[0][1]) for clip in clips} >= {0, 2, 3}
    for bodies in (bodies for clip in clips for _, bodies in clip):
        for number, body in enumerate(bodies):
            assert body.radius <= body.x + 1e-9
            assert body.x <= shapes.FRAME_PIXELS - body.radius + 1e-9
            for other in bodies[:number]:
                assert math.hypot(body.x - other.x, body.y - other.y) > body.radius + other.radius


def test_counts_are_of_the_bodies_of_each_shape() -> None:
    bodies = [shapes.Body(shape, 20.0, 20.0, 8.0, 0.0, (0.0, 0.0, 0.0)) for shape in (0, 5, 5)]
    assert shapes.counts_of(bodies) == (1, 0, 0, 0, 0, 2)


def test_a_drawn_shape_stands_out_from_its_ground() -> None:
    clips = (shapes.clip(np.random.default_rng(seed), 1) for seed in range(9))
    drawn = [(frame, body) for clip in clips for frame, bodies in clip for body in bodies]
    frame, body = next((frame, body) for frame, body in drawn if shapes.SHAPES[body.shape] != "ring")
    assert np.abs(frame.astype(int)[:, round(body.y), round(body.x)] - np.median(frame, axis=(1, 2))).max() > 20


class TestQuestions:
    generator = np.random.default_rng(0)
    boards = tuple(questions.drawn_board(name, np.random.default_rng(1)) for name in questions.NAMES)
    nlp = transforms("nlp")

    def test_the_vocabulary_has_every_word_that_is_learnt_and_asked(self) -> None:
        asked = [text for texts in questions.ASKED["english"].values() for text in texts]
        learnt = [text for texts in questions.LEARNT_QUESTIONS.values() for text in texts]
        passages = [questions.passage_of(board, form) for form, board in enumerate(self.boards)]
        for text in (*asked, *learnt, *passages):
            numbers = self.nlp.words_of(text.format(name="heron"), 40)
            assert self.nlp.NUMBER_OF["<unknown>"] not in numbers, text

    def test_passages_and_questions_fit_the_prompt(self) -> None:
        pad = self.nlp.PAD
        for form in range(len(questions.PASSAGES)):
            words = self.nlp.words_of(questions.passage_of(self.boards[0], form), 99)
            assert words[self.nlp.PASSAGE_WORDS :].max() == pad
        for texts in questions.ASKED["english"].values():
            words = [self.nlp.words_of(text.format(name="heron"), 99) for text in texts]
            assert all(each[self.nlp.QUESTION_WORDS :].max() == pad for each in words)

    def test_no_model_learns_a_question_that_is_asked(self) -> None:
        for attribute, texts in questions.ASKED["english"].items():
            assert not set(texts) & set(questions.LEARNT_QUESTIONS[attribute])

    def test_the_answer_to_a_lesson_is_in_its_passage(self) -> None:
        given, answers = questions.lessons(self.generator, 20)
        assert given.shape == (20, 33)
        assert all(answer[0] in words[: self.nlp.PASSAGE_WORDS] for words, answer in zip(given, answers, strict=True))
        np.testing.assert_array_equal(given[:, -2:], answers[:, :2])

    def test_each_language_is_asked_as_often_as_it_should_be(self) -> None:
        asked = questions.asked(self.boards, 6, 2, self.generator)
        languages = {self.nlp.NUMBER_OF[name] for name in questions.LANGUAGES[1:]}
        assert len(asked) == 12
        assert sum(answer[0] in languages for _, answer in asked) == 6

    def test_a_text_is_kept_in_bytes(self) -> None:
        data = questions.bytes_of("¿Qué precio tiene heron?")
        assert data.shape == (96,)
        assert data.tobytes().rstrip(b"\0").decode() == "¿Qué precio tiene heron?"


class TestSounds:
    def test_tones_have_their_frequencies(self) -> None:
        for name, expected in audio.TONES.items():
            spectrum = np.abs(np.fft.rfft(audio.tone(name, np.random.default_rng(0))))
            assert all(spectrum[round(0.97 * hertz) : round(1.03 * hertz) + 1].max() > 500 for hertz in expected)

    def test_a_sound_is_placed_in_a_second(self) -> None:
        placed = audio.placed(np.ones(500, np.float32), np.random.default_rng(0))
        assert placed.shape == (8000,)
        assert 400 < (placed > 0.2).sum() <= 560

    def test_the_speakers_of_the_items_are_not_learnt_from(self) -> None:
        assert set(audio.HELD_OUT) < set(audio.SPEAKERS)
        assert len(set(audio.SPEAKERS)) == 15

    @pytest.mark.skipif(bool(audio.why_not()), reason=audio.why_not() or "installed")
    def test_espeak_speaks_words(self) -> None:
        sounds = [audio.spoken(audio.Saying(word, "en-us+m3", 150, 50)) for word in ("yes", "left")]
        for sound in sounds:
            assert 1500 < len(sound) < 9000
            assert 0.05 < np.abs(sound).max() <= 1.0
        assert len(sounds[0]) != len(sounds[1])

    @pytest.mark.skipif(bool(audio.why_not()), reason=audio.why_not() or "installed")
    def test_every_speaker_is_known(self) -> None:
        for speaker in audio.SPEAKERS[:: len(audio.SPEAKERS) // 3]:
            assert len(audio.spoken(audio.Saying("go", speaker, 150, 50))) > 1000
