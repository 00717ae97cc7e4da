"""A model's structure by a scan of its bytes: what becomes a reference, what stays, and what is no message at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from multiedge.errors import ModelError
from multiedge.onnx_io.wire import LARGE_BYTES, fields, without_weights
from tests.builders.onnx_models import layers, noise, parsed

SIDE = 32
"""A float32 matrix of this side has 4096 bytes."""


def structure_of(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bytes]:
    """The model without its weights, and the bytes that the references point into."""
    data = model.SerializeToString()
    return onnx.ModelProto.FromString(without_weights(memoryview(data), "model.onnx")), data


def reference_of(tensor: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def with_initialiser(tensor: onnx.TensorProto) -> onnx.ModelProto:
    model = parsed("g (float[1,32] x) => (float[1,32] y) { y = Neg(x) }")
    model.graph.initializer.append(tensor)
    return model


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"\x08\x96\x01", [(1, 0, 1, 3)], id="varint"),
        pytest.param(b"\x11" + bytes(8), [(2, 1, 1, 9)], id="64-bit"),
        pytest.param(b"\x1a\x03abc", [(3, 2, 2, 5)], id="length-delimited"),
        pytest.param(b"\x1a\x00", [(3, 2, 2, 2)], id="empty"),
        pytest.param(b"\x25" + bytes(4), [(4, 5, 1, 5)], id="32-bit"),
        pytest.param(b"\x80\x08\x01", [(128, 0, 2, 3)], id="number-of-two-bytes"),
        pytest.param(b"\x08\x01\x12\x01x", [(1, 0, 1, 2), (2, 2, 4, 5)], id="two"),
    ],
)
def test_the_fields_of_a_message(data: bytes, numbers: list[tuple[int, int, int, int]]) -> None:
    scanned = [(field.number, field.wire_type, field.begin, field.stop) for field in fields(memoryview(data), 0, len(data))]
    assert scanned == numbers


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"\x0b", "byte 0 begins no protobuf field", id="a-group"),
        pytest.param(b"\x08\x01\x0f", "byte 2 begins no protobuf field", id="an-unknown-kind"),
        pytest.param(b"\x00\x01", "the field at byte 0 runs past its end", id="number-zero"),
        pytest.param(b"\x1a\x05abc", "the field at byte 0 runs past its end: the file is truncated", id="too-short"),
        pytest.param(b"\x11\x00", "runs past its end", id="64-bit-too-short"),
        pytest.param(b"\x25\x00", "runs past its end", id="32-bit-too-short"),
        pytest.param(b"\x08\xff", "has no end: the file is truncated", id="varint-too-short"),
        pytest.param(b"\x08" + b"\xff" * 11, "has no end", id="varint-too-long"),
        pytest.param(b"\x1a" + b"\xff" * 9 + b"\x01", "runs past its end", id="length-of-2**64"),
    ],
)
def test_damage_is_named_by_its_place(data: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        list(fields(memoryview(data), 0, len(data)))


def test_fields_of_a_part_stop_where_the_part_stops() -> None:
    data = memoryview(b"\x08\x01\x08\x02\x08\x03")
    assert [field.start for field in fields(data, 2, 4)] == [2]
    with pytest.raises(ModelError, match=r"runs past its end|has no end"):
        list(fields(data, 2, 5))


def test_large_weights_become_references_to_their_own_bytes() -> None:
    model = layers(3, SIDE)
    structure, data = structure_of(model)
    for kept, original in zip(structure.graph.initializer, model.graph.initializer, strict=True):
        place = reference_of(kept)
        assert (kept.name, kept.dims, kept.data_type) == (original.name, original.dims, original.data_type)
        assert (kept.data_location, kept.raw_data, place["location"]) == (TensorProto.EXTERNAL, b"", "model.onnx")
        start = int(place["offset"])
        assert data[start : start + int(place["length"])] == original.raw_data


def test_everything_but_weights_stays_as_it_was() -> None:
    model = layers(3, SIDE, activation="Tanh", skip=True)
    model.producer_name, model.doc_string = "tester", "about" * 1000
    helper.set_model_props(model, {"key": "value" * 1000})
    structure, _ = structure_of(model)
    for bare in (model, structure):
        del bare.graph.initializer[:]
    assert structure == model


def test_a_model_without_large_weights_is_unchanged() -> None:
    data = parsed("g (float[1,4] x) => (float[1,4] y) { y = MatMul(x, w) }", w=noise(4, 4)).SerializeToString()
    assert without_weights(memoryview(data), "model.onnx") == data


@pytest.mark.parametrize(("nbytes", "is_reference"), [(LARGE_BYTES - 4, False), (LARGE_BYTES, True)])
def test_small_weights_stay_where_shape_inference_finds_them(nbytes: int, is_reference: bool) -> None:
    structure, _ = structure_of(with_initialiser(numpy_helper.from_array(noise(nbytes // 4), "w")))
    assert (structure.graph.initializer[0].data_location == TensorProto.EXTERNAL) is is_reference


@pytest.mark.parametrize(
    ("tensor", "is_reference"),
    [
        pytest.param(helper.make_tensor("w", TensorProto.FLOAT, [SIDE, SIDE], noise(SIDE * SIDE).tolist()), True, id="floats"),
        pytest.param(helper.make_tensor("w", TensorProto.DOUBLE, [1024], noise(1024).tolist()), True, id="doubles"),
        pytest.param(helper.make_tensor("w", TensorProto.INT64, [1024], list(range(1024))), False, id="integers-are-varints"),
        pytest.param(helper.make_tensor("w", TensorProto.STRING, [400], [b"text"] * 400), False, id="strings"),
    ],
)
def test_typed_data_is_a_reference_where_its_bytes_are_those_of_raw_data(tensor: Any, is_reference: bool) -> None:
    structure, data = structure_of(with_initialiser(tensor))
    (kept,) = structure.graph.initializer
    assert (kept.data_location == TensorProto.EXTERNAL) is is_reference
    if is_reference:
        place = reference_of(kept)
        raw = data[int(place["offset"]) : int(place["offset"]) + int(place["length"])]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        np.testing.assert_array_equal(np.frombuffer(raw, dtype), numpy_helper.to_array(tensor).ravel())
    else:
        assert kept == tensor


def test_a_tensor_with_two_kinds_of_data_is_left_to_the_parser() -> None:
    tensor = numpy_helper.from_array(noise(SIDE, SIDE), "w")
    tensor.float_data.extend(noise(SIDE * SIDE).tolist())
    structure, _ = structure_of(with_initialiser(tensor))
    assert structure.graph.initializer[0] == tensor


def test_weights_of_nodes_and_of_the_bodies_in_them_become_references() -> None:
    weight = numpy_helper.from_array(noise(SIDE, SIDE), "w")
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, SIDE])
    body = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "body", [], [result], [weight])
    branch = helper.make_node("If", ["flag"], ["y"], then_branch=body, else_branch=body)
    constant = helper.make_node("Constant", [], ["w"], value=weight)
    structure, data = structure_of(helper.make_model(helper.make_graph([constant, branch], "g", [], [])))
    held, *inner = (attribute for node in structure.graph.node for attribute in node.attribute)
    tensors = [held.t, *(attribute.g.initializer[0] for attribute in inner)]
    assert len(tensors) == 3
    for tensor in tensors:
        start = int(reference_of(tensor)["offset"])
        assert data[start : start + int(reference_of(tensor)["length"])] == weight.raw_data


def test_bodies_deeper_than_any_model_are_left_to_the_parser() -> None:
    """Each level takes stack; protobuf itself stops at a depth of 100."""
    weight = numpy_helper.from_array(noise(SIDE, SIDE), "w")
    graph = helper.make_graph([], "innermost", [], [], [weight])
    for _ in range(22):
        graph = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=graph)], "g", [], [])
    data = helper.make_model(graph).SerializeToString()
    assert without_weights(memoryview(data), "m") == data


def test_a_graph_in_two_pieces_is_one() -> None:
    """Protobuf merges a message field that comes twice, and some writers rely on it."""
    first, second = layers(1, SIDE), onnx.ModelProto()
    second.graph.initializer.append(numpy_helper.from_array(noise(SIDE, SIDE), "more"))
    data = first.SerializeToString() + second.SerializeToString()
    structure = onnx.ModelProto.FromString(without_weights(memoryview(data), "m"))
    assert [tensor.name for tensor in structure.graph.initializer] == ["w1", "more"]
    place = reference_of(structure.graph.initializer[1])
    start = int(place["offset"])
    assert data[start : start + int(place["length"])] == second.graph.initializer[0].raw_data


def test_a_long_file_name_is_kept_whole() -> None:
    data = layers(1, SIDE).SerializeToString()
    name = "é" * 200 + ".onnx"
    structure = onnx.ModelProto.FromString(without_weights(memoryview(data), name))
    assert reference_of(structure.graph.initializer[0])["location"] == name


def test_a_damaged_graph_inside_a_sound_model_is_named() -> None:
    data = bytearray(layers(2, SIDE).SerializeToString())
    end = next(field for field in fields(memoryview(data), 0, len(data)) if field.number == 7)
    data[end.begin] = 0x0F
    with pytest.raises(ModelError, match=f"byte {end.begin} begins no protobuf field"):
        without_weights(memoryview(data), "m")
