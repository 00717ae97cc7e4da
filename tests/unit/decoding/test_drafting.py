"""Drafts: tokens that are proposed change how many steps the model takes, and never the text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from multiedge.decoding.contract import Tokens
from multiedge.decoding.drafting import NO_PROPOSALS, Draft, Proposals
from multiedge.decoding.generation import Generation, Limits, Turns, generate, token_steps
from multiedge.decoding.opening import model_of, open_draft, open_whole
from multiedge.decoding.sampling import Sampling
from multiedge.decoding.stepped import Item, SteppedModel
from multiedge.decoding.together import generate_together
from multiedge.errors import ConfigError, ModelError
from multiedge.executors import open_pipeline
from multiedge.onnx_io.reader import declared_graph
from tests.builders.decoders import LAYOUTS, random_decoder, recurrent_model, recurrent_states, small_decoder
from tests.builders.onnx_models import saved
from tests.builders.sequences import even_parts
from tests.builders.text_models import ScriptedModel, Wrong, byte_tokenizer, write_tokenizer

TOKENIZER = byte_tokenizer()
PROMPT = np.array([1, 2, 3])
TEXT = "abcdefghij"


@contextmanager
def opened(path: Path) -> Iterator[SteppedModel]:
    model = open_whole(path, sequences=4)
    yield model
    model.close()


def alone(model: SteppedModel, prompt: Tokens, sampling: Sampling) -> list[int]:
    """40 tokens without a draft."""
    with closing(model.open()) as sequence:
        return [int(row[0]) for row in token_steps(sequence, Turns(prompt[None], sampling, 40))]


def scripted(text: str) -> ScriptedModel:
    return ScriptedModel(TOKENIZER.encode(text).tolist(), prompt=PROMPT.size)


def made(model: ScriptedModel, draft: Proposals, count: int = len(TEXT), **limits: object) -> Generation:
    pieces = generate(model, TOKENIZER, PROMPT, limits=Limits(count, **limits), proposals=draft)
    return Generation.of(PROMPT.size, pieces)


@pytest.mark.parametrize(
    ("drafted", "tokens", "steps", "proposed", "accepted"),
    [
        (TEXT, 4, 2, 8, 8),
        (TEXT, 9, 1, 9, 9),
        (TEXT, 20, 1, 9, 9),
        (TEXT, 1, 5, 5, 5),
        ("??????????", 4, 10, 4 * 6 + 3 + 2 + 1, 0),
        ("abc?efghij", 4, 3, 4 + 4, 3 + 4),
        ("?b?d?f?h?j", 2, 6, 10, 4),
    ],
)
def test_proposals_are_taken_up_to_the_first_that_the_model_would_not_have_chosen(
    drafted: str, tokens: int, steps: int, proposed: int, accepted: int
) -> None:
    model, draft = scripted(TEXT), scripted(drafted)
    generation = made(model, Draft(draft, tokens))
    assert generation.text == TEXT
    assert (generation.steps, generation.proposed) == (steps, proposed)
    assert generation.accepted_share == pytest.approx(accepted / proposed)
    assert generation.steps_per_token == steps / 10
    assert (model.open_sequences, draft.open_sequences) == (0, 0)


def test_the_model_gets_each_token_once_and_proposals_behind_it() -> None:
    a, b, c, d, e, f = TOKENIZER.encode("abcdef").tolist()
    other = TOKENIZER.encode("?").tolist()[0]
    model, draft = scripted("abcdef"), scripted("ab?def")
    made(model, Draft(draft, 3), 6)
    assert model.given == [[1, 2, 3, a, b, other], [c, d, e, f][:3]]
    assert draft.given == [[1, 2, 3], [a], [b], [c], [d]]


def test_a_text_may_end_within_a_step() -> None:
    generation = made(scripted(TEXT), Draft(scripted(TEXT), 4), 20, stops=("c",))
    assert (generation.text, generation.steps, generation.proposed) == ("ab", 1, 4)
    assert generation.accepted_share == 0.5


def test_no_token_is_proposed_that_the_model_does_not_have() -> None:
    draft = Draft(ScriptedModel([299]), 2, vocabulary=257)
    assert draft.open().propose(PROMPT[None], 5).max() < 257


def test_rows_go_on_together_up_to_the_first_proposal_that_one_of_them_does_not_take(tmp_path: Path) -> None:
    path = saved(random_decoder(), tmp_path / "model.onnx")
    prompts = np.random.default_rng(0).integers(0, 97, (3, 5))
    with opened(path) as model, opened(path) as small:
        turns = Turns(prompts, Sampling(), 12, Wrong(Draft(small, 3)).open(3))
        drafted = list(token_steps(model.open(3), turns))
        expected = list(token_steps(model.open(3), Turns(prompts, Sampling(), 12)))
    np.testing.assert_array_equal(drafted, expected)
    assert 3 < turns.step + 1 < 12


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.5, top_k=5, seed=3)])
def test_stages_make_the_tokens_that_the_whole_model_makes_without_a_draft(
    tmp_path: Path, layout: str, sampling: Sampling
) -> None:
    path = saved(random_decoder(small_decoder(layers=2), layout), tmp_path / "model.onnx")
    manifest, _ = even_parts(path, tmp_path / "parts", 2, sequences=2)
    prompts = [np.random.default_rng(number).integers(0, 97, 4 + number) for number in range(3)]
    with opened(path) as whole, opened(path) as small, open_pipeline(manifest, executor="inline") as pipeline:
        model = model_of(pipeline, manifest)
        for proposals in (NO_PROPOSALS, Draft(small, 4), Wrong(Draft(small, 4))):
            made, _ = generate_together(pipeline, model, prompts, 40, sampling, in_flight=1, proposals=proposals)
            for prompt, generation in zip(prompts, made, strict=True):
                assert list(generation.tokens) == alone(whole, prompt, sampling)
        assert 0.1 < made[0].accepted_share < 1


def test_a_stage_that_lost_its_states_computes_the_steps_again_with_what_was_cut(tmp_path: Path) -> None:
    path = saved(random_decoder(), tmp_path / "model.onnx")
    with opened(path) as whole, opened(path) as again, opened(path) as small:
        sessions, lost = [whole, again], []

        def run(item: Item) -> Item:
            if len(lost) == 6:
                sessions.pop(0)  # another process has the stage now
            lost.append(item)
            return sessions[0].run(item)

        model = SteppedModel(run, whole.signature, 1)
        turns = Turns(PROMPT[None], Sampling(), 40, Wrong(Draft(small, 4)).open())
        drafted = [int(row[0]) for row in token_steps(model.open(), turns)]
        expected = alone(small, PROMPT, Sampling())
    assert drafted == expected
    assert len(lost) == turns.step + 1 + 7


def test_a_model_whose_states_cannot_be_cut_takes_no_draft(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    path, decoder = saved(recurrent_model(), tmp_path / "rnn.onnx"), saved(random_decoder(), tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match=r"state 'h.0' keeps its shape, so that tokens cannot be taken back: no draft"):
        open_draft(decoder, 4, declared_graph(path, recurrent_states()), TOKENIZER)
    model = open_whole(path, recurrent_states())
    sequence = model.open()
    sequence.step(PROMPT[None])
    sequence.cut(3)
    with pytest.raises(ModelError, match=r"state 'h.0' keeps its shape"):
        sequence.cut(2)
    model.close()


def test_a_draft_of_other_tokens_is_refused(tmp_path: Path) -> None:
    model = saved(random_decoder(small_decoder(vocabulary=257)), tmp_path / "model.onnx")
    padded = saved(random_decoder(small_decoder(layers=1, vocabulary=264)), tmp_path / "draft" / "model.onnx")
    graph = declared_graph(model)
    with pytest.raises(ConfigError, match=r"has logits of 264 tokens and the model of 257; .* put the draft's tokenizer.json"):
        open_draft(padded, 4, graph, TOKENIZER)
    write_tokenizer(padded.parent)
    draft = open_draft(padded, 4, graph, TOKENIZER)
    assert draft.vocabulary == 257
    draft.close()
    file = padded.parent / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace("<|end|>", "<|stop|>"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"has other tokens than the model: its tokenizer.json differs"):
        open_draft(padded, 4, graph, TOKENIZER)


def test_a_draft_proposes_at_least_one_token() -> None:
    with pytest.raises(ConfigError, match="draft_tokens: expected 1 or more, got 0"):
        Draft(scripted(TEXT), 0)


def test_tokens_that_were_not_there_cannot_be_left(tmp_path: Path) -> None:
    with opened(saved(random_decoder(), tmp_path / "model.onnx")) as model:
        sequence = model.open()
        sequence.step(PROMPT[None])
        with pytest.raises(ModelError, match="expected 0 to 3 tokens to be left, got 4"):
            sequence.cut(4)
