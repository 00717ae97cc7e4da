"""Several texts at the same time: the tokens that each gets alone, and what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multiedge.decoding.opening import model_of, open_whole
from multiedge.decoding.together import generate_together
from multiedge.errors import ConfigError
from multiedge.executors import open_pipeline
from tests.builders.decoders import random_decoder, small_decoder
from tests.builders.onnx_models import saved
from tests.builders.sequences import even_parts

PROMPTS = [np.random.default_rng(number).integers(0, 97, 4 + number) for number in range(5)]


@pytest.mark.parametrize("in_flight", [1, 2, None])
def test_each_text_is_what_it_is_alone(tmp_path: Path, in_flight: int | None) -> None:
    path = saved(random_decoder(small_decoder(layers=2)), tmp_path / "model.onnx")
    manifest, _ = even_parts(path, tmp_path / "parts", 2, sequences=3)
    whole = open_whole(path)
    with open_pipeline(manifest, executor="inline") as pipeline:
        model = model_of(pipeline, manifest)
        made, measurements = generate_together(pipeline, model, PROMPTS, 6, in_flight=in_flight)
    for prompt, generation in zip(PROMPTS, made, strict=True):
        sequence = whole.open()
        token, expected = sequence.step(prompt[None]).argmax(-1), []
        for _ in range(6):
            expected.append(int(token[0]))
            token = sequence.step(token[:, None]).argmax(-1)
        sequence.close()
        assert generation.tokens == tuple(expected)
        assert generation.prompt_tokens == prompt.size
        assert list(generation.times_s) == sorted(generation.times_s)
    assert len(measurements.items) == 30
    whole.close()


def test_more_sequences_than_have_their_states_kept_are_refused(tmp_path: Path) -> None:
    path = saved(random_decoder(small_decoder(layers=2)), tmp_path / "model.onnx")
    manifest, _ = even_parts(path, tmp_path / "parts", 2, sequences=1)
    with open_pipeline(manifest, executor="inline") as pipeline, pytest.raises(ConfigError, match="at most 1 sequences"):
        generate_together(pipeline, model_of(pipeline, manifest), PROMPTS, 2, in_flight=2)
