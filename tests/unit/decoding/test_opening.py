"""A whole model in this process: both layouts and a recurrent network, alone and in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from multiedge.decoding.generation import Turns, token_steps
from multiedge.decoding.inputs import step_signature
from multiedge.decoding.opening import open_stages, open_whole
from multiedge.decoding.sampling import Sampling
from multiedge.decoding.stepped import SteppedModel
from multiedge.errors import ConfigError, ModelError
from multiedge.onnx_io.reader import declared_graph
from tests.builders.decoders import LAYOUTS, random_decoder, recurrent_model, recurrent_states, small_decoder
from tests.builders.onnx_models import layers, saved
from tests.builders.sequences import even_parts

PROMPTS = np.random.default_rng(4).integers(0, 60, (4, 9))


@pytest.fixture(params=[*LAYOUTS, "recurrent"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SteppedModel]:
    states: Sequence[tuple[str, str]] = ()
    if request.param == "recurrent":
        proto, states = recurrent_model(), recurrent_states()
    else:
        proto = random_decoder(layout=request.param)
    opened = open_whole(saved(proto, tmp_path / "model.onnx"), states, sequences=8)
    yield opened
    opened.close()


def greedy(model: SteppedModel, prompts: np.ndarray, count: int = 12) -> np.ndarray:
    return np.array(list(token_steps(model.open(len(prompts)), Turns(prompts, Sampling(), count)))).T


def test_a_prompt_may_be_given_whole_or_token_by_token(model: SteppedModel) -> None:
    whole, single = model.open(4), model.open(4)
    logits = whole.step(PROMPTS)
    for column in range(PROMPTS.shape[1]):
        last = single.step(PROMPTS[:, [column]])
    np.testing.assert_allclose(last, logits, rtol=1e-4, atol=1e-4)
    assert whole.length == single.length == 9
    assert logits.dtype == np.float32
    assert logits.shape == (4, model.vocabulary)


def test_a_row_gets_the_tokens_that_it_gets_alone(model: SteppedModel) -> None:
    alone = [greedy(model, PROMPTS[[row]])[0] for row in range(4)]
    np.testing.assert_array_equal(greedy(model, PROMPTS), alone)


def test_sequences_do_not_see_each_other(model: SteppedModel) -> None:
    first, second = model.open(1), model.open(1)
    turns = [(first, PROMPTS[[0]]), (second, PROMPTS[[1]]), (first, PROMPTS[[2]])]
    logits = [sequence.step(tokens) for sequence, tokens in turns]
    again = model.open(1)
    again.step(PROMPTS[[0]])
    np.testing.assert_array_equal(again.step(PROMPTS[[2]]), logits[2])


def test_the_logits_after_each_token_are_those_of_the_steps(model: SteppedModel) -> None:
    scores = model.open(1).score(PROMPTS[[0]])
    np.testing.assert_allclose(scores[:, -1], model.open(1).step(PROMPTS[[0]]), rtol=1e-5, atol=1e-5)
    assert scores.shape == (1, 9, model.vocabulary)


def test_tokens_of_another_batch_are_refused(model: SteppedModel) -> None:
    with pytest.raises(ModelError, match=r"expected tokens of 1 rows, got shape \[4, 9\]"):
        model.open(1).step(PROMPTS)


def refusal(proto: onnx.ModelProto, folder: Path, *states: tuple[str, str]) -> str:
    with pytest.raises(ModelError) as caught:
        step_signature(declared_graph(saved(proto, folder / "model.onnx"), states))
    return str(caught.value)


def test_a_model_that_takes_no_tokens_is_refused(tmp_path: Path) -> None:
    assert "is no language model: expected an input 'input_ids'" in refusal(layers(2), tmp_path)


def test_a_state_that_nobody_named_is_asked_for(tmp_path: Path) -> None:
    line = refusal(recurrent_model(), tmp_path)
    assert line.endswith("input 'h.0' holds neither tokens, mask nor positions; if it is a state, name it: --state h.0=OUTPUT")


def test_a_state_whose_output_is_not_there_is_refused(tmp_path: Path) -> None:
    line = refusal(recurrent_model(), tmp_path, ("h.0", "h_nxt.0"))
    assert "no output 'h_nxt.0'; did you mean 'h_next.0'?" in line


def test_a_model_without_logits_is_refused(tmp_path: Path) -> None:
    proto = random_decoder()
    for output in [output for output in proto.graph.output if output.name == "logits"]:
        proto.graph.output.remove(output)
    proto.graph.output.extend(onnx.helper.make_tensor_value_info(f"extra{i}", 1, None) for i in range(2))
    proto.graph.node.extend(onnx.helper.make_node("Identity", ["present.0.key"], [f"extra{i}"]) for i in range(2))
    assert "expected an output 'logits'" in refusal(proto, tmp_path)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_stages_of_a_plan_give_the_tokens_of_the_whole_model(tmp_path: Path, layout: str, batch: int) -> None:
    path = saved(random_decoder(small_decoder(layers=3), layout), tmp_path / "model.onnx")
    manifest, _ = even_parts(path, tmp_path / "parts", 3, layout, sequences=2)
    whole, parts = open_whole(path), open_stages(manifest)
    np.testing.assert_array_equal(greedy(parts, PROMPTS[:batch]), greedy(whole, PROMPTS[:batch]))
    assert (parts.most, parts.vocabulary) == (2, whole.vocabulary)
    whole.close()
    parts.close()


def test_more_sequences_than_have_their_states_kept_are_refused(tmp_path: Path) -> None:
    model = open_whole(saved(random_decoder(), tmp_path / "model.onnx"), sequences=2)
    first, _ = model.open(), model.open()
    with pytest.raises(ConfigError, match="expected at most 2 sequences at the same time, got more"):
        model.open()
    first.close()
    first.close()
    model.open().step(PROMPTS[:1])
    model.close()
