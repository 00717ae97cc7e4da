"""States of models: those of decoders by their names, others named by the user, and those that cannot be kept."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format

from multiedge.backends.stages import load_backend, open_part
from multiedge.errors import ConfigError, ModelError, UnknownSizeError
from multiedge.graph import Graph
from multiedge.onnx_io import random_inputs, read_graph
from multiedge.onnx_io.inputs import random_feed
from multiedge.onnx_io.reader import declared_graph
from multiedge.onnx_io.states import parse_pairs, step_shapes
from multiedge.states import BATCH, SEQUENCE, Step
from tests.builders.onnx_models import parsed
from tests.builders.sequences import graph_at, save_model, states_of


def saved(tmp_path: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("layout", ["optimum", "genai"])
def test_states_of_a_decoder_are_found_by_their_names(tmp_path: Path, layout: str) -> None:
    graph = declared_graph(save_model(tmp_path, layout))
    assert [(state.input, state.output) for state in graph.states[:2]] == [
        ("past_key_values.0.key", "present.0.key"),
        ("past_key_values.0.value", "present.0.value"),
    ]
    assert {state.start for state in graph.states} == {(BATCH, 2, 0, 16)}
    assert len(graph.states) == 8


@pytest.mark.parametrize("layout", ["optimum", "genai"])
def test_the_caller_gives_no_states_and_gets_none(tmp_path: Path, layout: str) -> None:
    graph = declared_graph(save_model(tmp_path, layout))
    positions = () if layout == "genai" else ("position_ids",)
    assert graph.inputs == ("input_ids", "attention_mask", *positions, SEQUENCE)
    assert graph.outputs == ("logits",)


def test_only_the_cache_of_group_query_attention_is_one_buffer_with_what_follows_it(tmp_path: Path) -> None:
    assert all(state.shared for state in declared_graph(save_model(tmp_path, "genai")).states)
    assert not any(state.shared for state in declared_graph(save_model(tmp_path, "optimum")).states)


def test_items_have_the_mask_of_their_own_tokens(tmp_path: Path) -> None:
    graph = graph_at(save_model(tmp_path, "optimum"), context=64, tokens=3, batch=2)
    assert graph.tensors["attention_mask"].shape == (2, 3)
    assert graph.tensors["attention_mask"].nbytes == 48
    assert graph.file_inputs["attention_mask"].shape == (2, 64)
    assert graph.states[0].length == 64


def test_the_shapes_of_a_graph_read_it_again(tmp_path: Path) -> None:
    path = save_model(tmp_path, "optimum")
    graph = graph_at(path, context=64)
    assert read_graph(path, graph.input_shapes).tensors == graph.tensors


def test_a_recurrent_state_is_named_by_the_user(tmp_path: Path) -> None:
    path = save_model(tmp_path, "recurrent")
    assert not declared_graph(path).states
    graph = declared_graph(path, states_of("recurrent"))
    assert graph.states[0].start == (1, BATCH, 32)
    assert graph.inputs == ("input_ids", SEQUENCE)
    assert graph.states[0].axis is None


@pytest.mark.parametrize(("pair", "words"), [(("x", "y"), "no input 'x'"), (("h.0", "y"), "no output 'y'")])
def test_a_state_that_the_model_does_not_have_is_refused(tmp_path: Path, pair: tuple[str, str], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        declared_graph(save_model(tmp_path, "recurrent"), [pair])


def test_input_and_output_of_different_types_are_no_state(tmp_path: Path) -> None:
    path = saved(tmp_path, parsed("g (float[2] h) => (double[2] h_next) { h_next = Cast <to = 11> (h) }"))
    with pytest.raises(ModelError, match="tensors of one type"):
        declared_graph(path, [("h", "h_next")])


def merged() -> onnx.ModelProto:
    """A decoder with a branch for the first step and one for later ones."""
    model = parsed(
        "g (bool use_cache_branch, float[b, 2, p, 4] PAST) => (float[b, 2, t, 4] PRESENT) {"
        "PRESENT = If (use_cache_branch) <"
        "then_branch = a () => (float[b, 2, t, 4] one) { one = Identity (PAST) },"
        "else_branch = c () => (float[b, 2, t, 4] two) { two = Neg (PAST) }> }"
    )
    text = text_format.MessageToString(model)  # the parser takes no names with points
    named = text.replace('"PAST"', '"past_key_values.0.key"').replace('"PRESENT"', '"present.0.key"')
    return text_format.Parse(named, onnx.ModelProto())


def test_a_merged_decoder_is_refused_with_the_reason_once_costs_are_asked_for(tmp_path: Path) -> None:
    graph = declared_graph(saved(tmp_path, merged()))
    with pytest.raises(ModelError, match=r"merged decoder.*decoder_with_past_model\.onnx"):
        graph.require_inputs()


def test_a_cache_in_blocks_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "paged.onnx"
    ends = [
        onnx.helper.make_tensor_value_info(n, 1, ["b", 2, p, 4])
        for n, p in (("past_key_values.0.key", "p"), ("present.0.key", "t"))
    ]
    node = onnx.helper.make_node("PagedAttention", ["past_key_values.0.key"], ["present.0.key"], domain="com.microsoft")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:]))
    model.opset_import.add(domain="com.microsoft", version=1)
    onnx.save(model, path)
    assert "in blocks of one buffer" in declared_graph(path).refusal


def test_a_step_has_its_tokens_behind_the_others(tmp_path: Path) -> None:
    shapes = step_shapes(declared_graph(save_model(tmp_path, "optimum")), context=64, tokens=3, batch=2)
    assert shapes["input_ids"] == shapes["position_ids"] == (2, 3)
    assert shapes["attention_mask"] == (2, 64)
    assert shapes["past_key_values.1.value"] == (2, 2, 61, 16)


def test_a_model_without_states_has_no_context(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no states"):
        step_shapes(declared_graph(save_model(tmp_path, "recurrent")), 64)


def test_more_tokens_in_a_step_than_in_its_sequence_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 to 4"):
        step_shapes(declared_graph(save_model(tmp_path, "optimum")), 4, tokens=5)


def test_pairs_are_read_from_text() -> None:
    assert parse_pairs(["h=h_next", "c=c_next"]) == (("h", "h_next"), ("c", "c_next"))
    with pytest.raises(ConfigError, match="INPUT=OUTPUT"):
        parse_pairs(["h"])


def test_random_items_are_steps_alone_and_the_file_gets_states_as_well(tmp_path: Path) -> None:
    graph: Graph = graph_at(save_model(tmp_path, "optimum"), context=8, tokens=3, batch=2)
    item, feed = random_inputs(graph), random_feed(graph)
    assert Step.of(item[SEQUENCE]) == Step(batch=2, tokens=3)
    assert item["attention_mask"].tolist() == [[1] * 3] * 2
    assert feed["attention_mask"].shape == (2, 8)
    assert feed["past_key_values.0.key"].shape == (2, 2, 5, 16)
    assert SEQUENCE not in feed


def test_tensors_that_grow_with_the_sequence_are_known(tmp_path: Path) -> None:
    graph = graph_at(save_model(tmp_path, "optimum"))
    assert {"/model/mask/Where/output_0", "present.3.value"} <= set(graph.growing)
    assert not {"logits", "/model/rotary_emb/Cos/output_0"} & set(graph.growing)
    assert graph_at(save_model(tmp_path, "recurrent"), "recurrent").growing == ()


def test_a_model_with_states_and_open_sizes_asks_for_a_context(tmp_path: Path) -> None:
    with pytest.raises(UnknownSizeError, match="add --context 1024"):
        read_graph(save_model(tmp_path, "optimum")).require_sizes()


@pytest.mark.parametrize("layout", ["optimum", "genai"])
def test_random_inputs_of_a_file_with_open_sizes_fit_together(tmp_path: Path, layout: str) -> None:
    path = save_model(tmp_path, layout)
    session = open_part(load_backend("onnxruntime"), path)
    assert session.run(random_feed(declared_graph(path)))["logits"].shape == (1, 8, 97)
    session.close()
