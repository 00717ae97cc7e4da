"""Outputs that onnxruntime writes to memory that it is given, and those that it cannot write there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.backends.onnxruntime.session import OnnxRuntimeSession
from multiedge.errors import ModelError
from multiedge.onnx_io import read_graph, write_parts
from multiedge.transports.message import ArraySpec
from tests.builders.onnx_models import LIGHT, layers, noise, parsed, saved
from tests.builders.parts import plan_of


def opened(model: object, tmp_path: Path) -> OnnxRuntimeSession:
    return OnnxRuntimeBackend().open(saved(model, tmp_path / "model.onnx"))  # type: ignore[arg-type]


def places_for(session: OnnxRuntimeSession) -> dict[str, np.ndarray]:
    return {name: np.full(spec.shape, 77, spec.dtype) for name, spec in session.fixed.items()}


def test_the_outputs_whose_shape_the_file_states_are_fixed(tmp_path: Path) -> None:
    fixed, free = layers(1), layers(1, rows="rows")
    assert opened(fixed, tmp_path).fixed == {"y": ArraySpec(np.dtype(np.float32), (1, 16))}
    assert opened(free, tmp_path).fixed == {}


def test_texts_are_not_fixed(tmp_path: Path) -> None:
    model = parsed("texts (string[2] x, float[2] z) => (string[2] y, float[2] w) { y = Identity(x) w = Abs(z) }")
    assert opened(model, tmp_path).fixed.keys() == {"w"}


def test_an_input_that_is_an_output_too_comes_as_it_is(tmp_path: Path) -> None:
    """onnxruntime writes nothing to a place that is bound to it."""
    session = opened(parsed("both (float[4] x) => (float[4] x, float[4] y) { y = Neg(x) }"), tmp_path)
    assert session.fixed.keys() == {"y"}
    for number in range(3):
        x, places = noise(4, seed=number), places_for(session)
        for made in (session.run({"x": x}), session.run_into({"x": x}, places)):
            np.testing.assert_array_equal(made["x"], x)
            np.testing.assert_array_equal(made["y"], -x)


def test_from_the_second_run_on_outputs_are_written_to_their_places(tmp_path: Path) -> None:
    session = opened(layers(2), tmp_path)
    for number in range(3):
        x, places = noise(1, 16, seed=number), places_for(session)
        x.flags.writeable = False
        made = session.run_into({"x": x}, places)
        assert (made["y"] is places["y"]) == (number > 0)
        assert made["y"].tobytes() == session.run({"x": x})["y"].tobytes()


def test_outputs_without_a_place_are_made_beside_those_with_one(tmp_path: Path) -> None:
    model = parsed("two (float[4] x) => (float[4] a, float[4] b, float[4] c) { a = Neg(x) b = Abs(x) c = Exp(x) }")
    session, x = opened(model, tmp_path), noise(4)
    place = np.zeros(4, dtype=np.float32)
    for _ in range(2):
        made = session.run_into({"x": x}, {"b": place})
    assert made["b"] is place
    np.testing.assert_array_equal(made["a"], -x)
    np.testing.assert_array_equal(place, np.abs(x))
    np.testing.assert_array_equal(made["c"], session.run({"x": x})["c"])


def test_other_places_and_other_inputs_make_other_outputs_and_leave_earlier_ones(tmp_path: Path) -> None:
    session = opened(layers(1), tmp_path)
    feeds = [{"x": noise(1, 16, seed=seed)} for seed in range(4)]
    session.run_into(feeds[0], places_for(session))
    made = [session.run_into(feed, places_for(session))["y"] for feed in feeds]
    for feed, y in zip(feeds, made, strict=True):
        np.testing.assert_array_equal(y, session.run(feed)["y"])


def lying() -> object:
    """A model whose output is not of the shape that its file states."""
    model = parsed("lie (float[n] x) => (float[m] y) { y = Abs(x) }")
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [3]))
    return model


def test_an_output_that_is_not_of_the_stated_shape_comes_as_in_an_ordinary_run(tmp_path: Path) -> None:
    session = opened(lying(), tmp_path)
    for size in (5, 4, 3):
        made = session.run_into({"x": np.arange(size, dtype=np.float32)}, {"y": np.zeros(3, dtype=np.float32)})
        assert made["y"].tolist() == list(range(size))


def test_a_shape_that_holds_at_first_and_not_later_ends_writing_to_places(tmp_path: Path) -> None:
    session = opened(lying(), tmp_path)
    for size in (3, 3, 5, 3):
        made = session.run_into({"x": np.arange(size, dtype=np.float32)}, {"y": np.zeros(3, dtype=np.float32)})
        assert made["y"].tolist() == list(range(size))
    assert session.fixed == {}


def test_an_item_that_the_runtime_refuses_has_the_error_of_an_ordinary_run(tmp_path: Path) -> None:
    session = opened(layers(1), tmp_path)
    session.run_into({"x": noise(1, 16)}, places_for(session))
    with pytest.raises(Exception, match="Got invalid dimensions for input: x"):
        session.run_into({"x": noise(1, 3)}, places_for(session))
    with pytest.raises(ModelError, match="input 'x' was not given"):
        session.run_into({}, places_for(session))
    assert session.run_into({"x": noise(1, 16)}, places_for(session))["y"].shape == (1, 16)


def test_three_parts_of_squeezenet_give_the_same_bits_both_ways(tmp_path: Path) -> None:
    graph = read_graph(LIGHT / "light_squeezenet.onnx")
    third = len(graph.nodes) // 3
    sets = [range(third), range(third, 2 * third), range(2 * third, len(graph.nodes))]
    manifest = write_parts(graph, plan_of(graph, sets, relay=True), tmp_path)
    sessions = [OnnxRuntimeBackend().open(tmp_path / part.file) for part in manifest.parts]
    assert all(session.fixed for session in sessions)
    for seed in range(3):
        shape = sessions[0].raw.get_inputs()[0].shape
        ordinary = straight = {manifest.inputs[0]: noise(*shape, seed=seed)}
        for session in sessions:
            places = places_for(session)
            straight = {**straight, **session.run_into(straight, places)}
            ordinary = {**ordinary, **session.run(ordinary)}
            assert seed == 0 or all(straight[name] is places[name] for name in places)
        for name in manifest.outputs:
            assert straight[name].tobytes() == ordinary[name].tobytes()


RUNS = """
import json, sys
from pathlib import Path
import numpy as np
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.meters.memory import read_memory

session = OnnxRuntimeBackend().open(Path(sys.argv[1]))
loaded = read_memory().anonymous_bytes
for _ in range(3):
    session.run({"x": np.ones((256, 1024), np.float32)})
print(json.dumps((read_memory().anonymous_bytes - loaded) / (1 << 20)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kinds of memory are Linux's")
def test_the_pieces_of_the_first_run_do_not_stay_beside_the_block_of_those_that_follow(tmp_path: Path) -> None:
    """Each piece is larger than all before it, so that none is taken twice, and the block has no room in one that is free."""
    model = parsed("""pieces (float[256, 1024] x) => (float y) {
        a = Concat <axis: int = 0> (x, x, x, x)
        b = Concat <axis: int = 0> (a, a)
        c = Concat <axis: int = 0> (b, b)
        d = Concat <axis: int = 0> (c, c)
        y = ReduceSum <keepdims: int = 0> (d)
    }""")
    command = [sys.executable, "-c", RUNS, str(saved(model, tmp_path / "model.onnx"))]
    grown_mib = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    pieces_mib = 4 + 8 + 16 + 32
    assert pieces_mib / 2 < grown_mib < 1.5 * pieces_mib
