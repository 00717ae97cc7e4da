"""An opened model: sound, in order, with names for every node, and a hash that follows its content."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from multiedge.errors import ModelError
from multiedge.onnx_io.inner_weights import captures
from multiedge.onnx_io.model_file import name_nodes, open_model, order_nodes
from tests.builders.onnx_models import layers, noise, parsed, saved


def external(model: onnx.ModelProto, path: Path, location: str = "w.bin") -> Path:
    """The model in `path` with its first initialiser in a file of its own."""
    tensor = model.graph.initializer[0]
    (path.parent / location).write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is empty; expected an ONNX model", id="empty"),
        pytest.param(b"a text, and no model\n" * 99, "is no ONNX model, or a damaged one", id="text"),
        pytest.param(bytes(4096), "is no ONNX model, or a damaged one", id="zeros"),
        pytest.param(b"\x08\x08", "holds no graph; is it an ONNX model?", id="a-version-alone"),
        pytest.param(b"\x0a\x03abc", "is no ONNX model|holds no graph", id="another-message"),
        pytest.param(layers(2, 64).SerializeToString()[:-10], "the file is truncated or damaged", id="truncated"),
    ],
)
def test_what_is_no_model_is_one_line_with_its_path(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        open_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    saved(layers(1), tmp_path / "classifier.onnx")
    with pytest.raises(ModelError, match=r"clasifier\.onnx: no such model file .*did you mean 'classifier\.onnx'\?"):
        open_model(tmp_path / "clasifier.onnx")


@pytest.mark.parametrize("name", ["", "a\0b"], ids=["folder", "zero-byte"])
def test_what_cannot_be_opened_is_an_error_of_ours(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        open_model(f"{tmp_path}/{name}")


def test_a_bad_reference_names_the_model_too(tmp_path: Path) -> None:
    path = external(layers(1, 64), tmp_path / "model.onnx")
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: initialiser 'w1': external data file 'w.bin' cannot be read"):
        open_model(path)


def test_the_same_file_is_opened_once(tmp_path: Path) -> None:
    path = saved(layers(1), tmp_path / "model.onnx")
    first = open_model(path)
    assert open_model(str(path)) is first
    saved(layers(2), path)
    os.utime(path, ns=(1, 1))
    assert len(open_model(path).graph.node) == 2


def test_references_say_where_large_weights_lie(tmp_path: Path) -> None:
    model = layers(2, 64)
    path = saved(model, tmp_path / "model.onnx")
    opened = open_model(path)
    data = path.read_bytes()
    for tensor in model.graph.initializer:
        place = opened.references[tensor.name]
        assert place.file == path.resolve()
        assert data[place.offset : place.offset + place.length] == tensor.raw_data


def test_external_weights_of_inner_graphs_are_read_into_the_structure(tmp_path: Path) -> None:
    model = parsed(
        """g (float[1,8] x, bool flag) => (float[1,8] y) {
            y = If (flag) <
                then_branch = t () => (float[1,8] t_out) { t_out = MatMul(x, w) },
                else_branch = e () => (float[1,8] e_out) { e_out = Neg(x) }
            >
        }"""
    )
    inner = next(attribute.g for attribute in model.graph.node[0].attribute if attribute.name == "then_branch")
    weight = numpy_helper.from_array(noise(8, 8), "w")
    (tmp_path / "w.bin").write_bytes(weight.raw_data)
    raw = weight.raw_data
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="w.bin")
    inner.initializer.append(weight)
    opened = open_model(saved_as_it_is(model, tmp_path / "model.onnx"))
    kept = next(attribute.g for attribute in opened.graph.node[0].attribute if attribute.name == "then_branch")
    assert kept.initializer[0].raw_data == raw


def saved_as_it_is(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        pytest.param(lambda model: None, True, id="nothing"),
        pytest.param(lambda model: helper.set_model_props(model, {"licence": "none"}), False, id="metadata"),
        pytest.param(lambda model: change_byte(model, 0), False, id="the-first-byte-of-a-weight"),
        pytest.param(lambda model: change_byte(model, -1), False, id="the-last-byte-of-a-weight"),
        pytest.param(lambda model: setattr(model.graph.node[0], "op_type", "Gemm"), False, id="an-operator"),
        pytest.param(lambda model: setattr(model.graph.node[0], "name", "other"), False, id="a-name"),
    ],
)
def test_the_hash_follows_the_content(tmp_path: Path, change: Callable[[onnx.ModelProto], Any], is_same: bool) -> None:
    before = open_model(saved(layers(2, 64), tmp_path / "model.onnx")).model_hash
    model = layers(2, 64)
    change(model)
    after = open_model(saved(model, tmp_path / "other-name.onnx")).model_hash
    assert (before == after) is is_same
    assert len(after) == 64


def change_byte(model: onnx.ModelProto, place: int) -> None:
    raw = bytearray(model.graph.initializer[1].raw_data)
    raw[place] ^= 1
    model.graph.initializer[1].raw_data = bytes(raw)


def test_the_hash_does_not_depend_on_the_name_of_the_weights_file(tmp_path: Path) -> None:
    hashes = {
        open_model(external(layers(1, 64), tmp_path / "model.onnx", location)).model_hash for location in ("a.bin", "b.bin")
    }
    assert len(hashes) == 1


def graph_of(*lines: str, inputs: str = "x", outputs: str = "y") -> Any:
    """A GraphProto of lines such as 'y: a b'."""
    graph = onnx.GraphProto(name="g")
    for number, line in enumerate(lines):
        writes, _, reads = line.partition(":")
        graph.node.append(helper.make_node("Op", reads.split(), writes.split(), name=f"n{number}"))
    graph.input.extend(onnx.ValueInfoProto(name=name) for name in inputs.split())
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs.split())
    return graph


@pytest.mark.parametrize(
    ("lines", "order"),
    [
        pytest.param(["a: x", "y: a"], ["n0", "n1"], id="in-order"),
        pytest.param(["y: a", "a: x"], ["n1", "n0"], id="reversed"),
        pytest.param(["c: x", "y: b", "b: c", "d: x"], ["n0", "n2", "n1", "n3"], id="as-stably-as-can-be"),
        pytest.param(["y: a a", "a: x x"], ["n1", "n0"], id="read-twice"),
    ],
)
def test_nodes_are_put_in_order(lines: list[str], order: list[str]) -> None:
    graph = graph_of(*lines)
    order_nodes(graph, "m")
    assert [node.name for node in graph.node] == order


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        pytest.param(graph_of("y: nothing"), "m: node 0 'n0' reads 'nothing', which no node makes", id="nobody-makes"),
        pytest.param(graph_of("y: x", "y: x"), "m: tensor 'y' is made twice, by nodes 0 and 1", id="made-twice"),
        pytest.param(graph_of("a: x"), "m: output 'y' is made by no node", id="no-output"),
        pytest.param(
            graph_of("a: b", "b: a", "y: b"), "m: the graph has a cycle; nodes on or behind it: 0 'n0', 1 'n1', 2", id="cycle"
        ),
        pytest.param(graph_of("y: y"), "m: the graph has a cycle; nodes on or behind it: 0 'n0'", id="itself"),
    ],
)
def test_an_unsound_graph_is_named(graph: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        order_nodes(graph, "m")


def test_an_order_through_what_sub_graphs_read(tmp_path: Path) -> None:
    model = parsed(
        """g (float[4] x, bool flag) => (float[4] y) {
            y = If (flag) <
                then_branch = t () => (float[4] t_out) { t_out = Neg(a) },
                else_branch = e () => (float[4] e_out) { e_out = Abs(a) }
            >
            a = Exp(x)
        }"""
    )
    assert [node.op_type for node in open_model(saved(model, tmp_path / "m.onnx")).graph.node] == ["Exp", "If"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["a", "b"], ["a", "b"], id="kept"),
        pytest.param(["", ""], ["Op_0", "Op_1"], id="missing"),
        pytest.param(["a", "a", "a"], ["a", "Op_1", "Op_2"], id="repeated"),
        pytest.param(["", "Op_0"], ["Op_0_", "Op_0"], id="a-name-that-is-taken"),
        pytest.param(["Op_1", ""], ["Op_1", "Op_1_"], id="a-name-that-was-taken"),
    ],
)
def test_every_node_has_a_name_of_its_own(names: list[str], expected: list[str]) -> None:
    graph = graph_of(*("y: x" for _ in names))
    for node, name in zip(graph.node, names, strict=True):
        node.name = name
    name_nodes(graph)
    assert [node.name for node in graph.node] == expected


def test_constants_come_just_before_their_first_reader(tmp_path: Path) -> None:
    model = parsed(
        """g (float[4] x) => (float[4] y) {
            k = Constant<value_float = 2.0>()  m = Neg(k)  unread = Constant<value_float = 1.0>()
            a = Exp(x)  b = Tanh(a)  c = Mul(b, m)  y = Add(c, k)
        }"""
    )
    opened = open_model(saved(model, tmp_path / "m.onnx"))
    assert [node.output[0] for node in opened.graph.node] == ["a", "b", "k", "m", "c", "y", "unread"]
    assert opened.constants == {"k", "m", "unread"}


def test_a_long_chain_of_constants_does_not_exhaust_the_stack(tmp_path: Path) -> None:
    model = parsed("g (float[4] x) => (float[4] y) { y = Add(x, k3000) }", k0=noise(4))
    nodes = [helper.make_node("Neg", [f"k{number}"], [f"k{number + 1}"]) for number in range(3000)]
    model.graph.node.extend(reversed(nodes))
    opened = open_model(saved(model, tmp_path / "m.onnx"))
    assert [node.output[0] for node in opened.graph.node][-3:] == ["k2999", "k3000", "y"]


def test_names_bound_inside_a_sub_graph_are_not_captured() -> None:
    model = parsed(
        """g (float[4] x, int64 count, bool go) => (float[4] y) {
            y = Loop (count, go, x) <
                body = l (int64 i, bool on, float[4] state) => (bool next_on, float[4] next) {
                    next_on = Identity(on)  grown = Add(state, k)  next = Mul(grown, outside)
                }
            >
        }"""
    )
    body = model.graph.node[0].attribute[0].g
    body.initializer.append(numpy_helper.from_array(np.ones(4, dtype=np.float32), "k"))
    assert captures(model.graph.node[0]) == ("outside",)


def test_an_output_that_a_sub_graph_only_hands_on_is_captured() -> None:
    model = parsed(
        """g (float[4] x, bool flag) => (float[4] y) {
            y = If (flag) <
                then_branch = t () => (float[4] x) { unused = Neg(x) },
                else_branch = e () => (float[4] z) { }
            >
        }"""
    )
    assert captures(model.graph.node[0]) == ("x", "z")


def test_a_pipe_in_place_of_a_model_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="is no regular file, but a pipe or a device; expected an ONNX model"):
        open_model(tmp_path / "model.onnx")
