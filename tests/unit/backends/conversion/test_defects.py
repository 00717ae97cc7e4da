"""Seeded defects of conversions: none becomes ready, and the node that is wrong is named where there is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from multiedge.backends.contract import Tensors
from multiedge.backends.conversion.convert import convert_checked
from multiedge.backends.conversion.record import Conversion, State, load_conversion
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from tests.builders.conversions import ROWS, Change, Defective, Run
from tests.builders.onnx_models import noise, parsed, saved

SQUARE = """g (float[4, 4] x) => (float[4, 6] y) {
    [positive] r = Relu(x)
    [turned] t = Transpose<perm = [1, 0]>(r)
    [product] y = MatMul(t, w)
}"""
BRANCHES = """g (float[n, 4] x) => (float[n, 4] a, float[n, 4] b) {
    [scaled] s = Mul(x, factor)
    [one] a = Tanh(s)
    [other] b = Relu(s)
}"""
WEIGHTS = {"factor": np.float32(0.5), "w": noise(4, 6), "bias": noise(6, seed=1)}


def converted(folder: Path, body: str, backend: Defective) -> Conversion:
    model = saved(parsed(body, **WEIGHTS), folder / "model.onnx")
    kept = folder / "kept"
    kept.mkdir()
    pending = Conversion(State.PENDING, str(model), "Defective", "1", "float32", {}, tolerance=1e-4)
    ended = convert_checked(backend, OnnxRuntimeBackend(), pending, kept / "key")
    assert load_conversion(kept / "key.json") == ended
    return ended


def becomes(name: str, *lines: str) -> Change:
    """Other nodes, in ONNX's text form, in place of the node of this name."""

    def changed(model: onnx.ModelProto) -> None:
        for place, node in enumerate(model.graph.node):
            if node.name == name:
                del model.graph.node[place]
                for each in reversed(lines):
                    model.graph.node.insert(place, onnx.parser.parse_node(each))
                return

    return changed


def weight(name: str, change: Callable[[Any], Any]) -> Change:
    def changed(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name == name:
                tensor.CopyFrom(numpy_helper.from_array(np.asarray(change(numpy_helper.to_array(tensor)), np.float32), name))

    return changed


def without_bits(count: int) -> Callable[[Any], Any]:
    """Weights with the last bits cut off: 16 leave bfloat16, 13 the precision of float16."""
    mask = np.uint32((0xFFFFFFFF << count) & 0xFFFFFFFF)
    return lambda w: (w.view(np.uint32) & mask).view(np.float32)


SOFTMAX_OF_ALL = (
    "most = ReduceMax<keepdims = 1>(r)",
    "less = Sub(r, most)",
    "e = Exp(less)",
    "total = ReduceSum<keepdims = 1>(e)",
    "q = Div(e, total)",
)
SOFTMAX_OF_SMALL_VALUES = (
    "e = Exp(r)",
    "axes = Constant<value_ints = [1]>()",
    "total = ReduceSum<keepdims = 1>(e, axes)",
    "q = Div(e, total)",
)
NOISY_PRODUCT = ("exact = MatMul(s, w)", "noise = RandomNormalLike<scale = 0.05>(exact)", "p = Add(exact, noise)")


@pytest.mark.parametrize(
    ("body", "change", "node"),
    [
        pytest.param(ROWS, becomes("back", "b = Transpose<perm = [0, 1]>(t)"), "'back' (Transpose)", id="swapped transpose"),
        pytest.param(ROWS, weight("w", without_bits(16)), "'product' (MatMul)", id="bfloat16 by default"),
        pytest.param(SQUARE, weight("w", without_bits(13)), "'product' (MatMul)", id="weights rounded to float16"),
        pytest.param(ROWS, becomes("spread", *SOFTMAX_OF_ALL), "'spread' (Softmax)", id="wrong for a batch of 2"),
        pytest.param(ROWS, becomes("spread", *SOFTMAX_OF_SMALL_VALUES), "'spread' (Softmax)", id="no numbers for large values"),
        pytest.param(ROWS, weight("factor", lambda value: value * 1.01), "'scaled' (Mul)", id="constant folded wrong"),
        pytest.param(SQUARE, becomes("turned", "t = Identity(r)"), "'turned' (Transpose)", id="another axis of equal size"),
        pytest.param(ROWS, becomes("spread", "q = Softmax<axis = 0>(r)"), "'spread' (Softmax)", id="another axis"),
        pytest.param(ROWS, becomes("product", *NOISY_PRODUCT), "'product' (MatMul)", id="another result in each run"),
        pytest.param(ROWS, weight("w", lambda w: w[:, ::-1]), "'product' (MatMul)", id="weights in another order"),
        pytest.param(ROWS, weight("w", np.zeros_like), "'product' (MatMul)", id="weights lost"),
        pytest.param(ROWS, becomes("positive", "r = Identity(p)"), "'positive' (Relu)", id="activation dropped"),
        pytest.param(ROWS, becomes("positive", "r = Elu(p)"), "'positive' (Relu)", id="another activation"),
        pytest.param(ROWS, becomes("last", "y = Sub(b, bias)"), "'last' (Add)", id="another sign"),
    ],
)
def test_a_wrong_model_never_becomes_ready_and_its_node_is_named(tmp_path: Path, body: str, change: Change, node: str) -> None:
    ended = converted(tmp_path, body, Defective(change))
    assert (ended.state, ended.is_final, dict(ended.artefact)) == (State.FAILED, True, {})
    assert f"first wrong node {node}, also alone" in ended.reason
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["key.json"]


def test_exchanged_outputs_are_named_and_no_node_is(tmp_path: Path) -> None:
    def exchanged(model: onnx.ModelProto) -> None:
        becomes("one", "b = Tanh(s)")(model)
        becomes("other", "a = Relu(s)")(model)

    ended = converted(tmp_path, BRANCHES, Defective(exchanged))
    assert ended.state is State.FAILED
    (worst,) = [error for error in ended.errors if error.relative == ended.worst_error]
    assert {worst.output, worst.exchanged_with} == {"a", "b"}
    assert ended.reason.endswith(
        f"output '{worst.output}' of sample '{worst.sample}' has the values of output '{worst.exchanged_with}'"
    )


def first_answer_kept(run: Run) -> Run:
    answers: list[dict[str, Any]] = []

    def kept(tensors: Tensors) -> dict[str, Any]:
        answers.append(answers[0] if answers else run(tensors))
        return answers[0]

    return kept


def kept_by_place(run: Run) -> Run:
    """Inputs that lie in the same memory as others before them get the same answer."""
    answers: dict[int, dict[str, Any]] = {}

    def kept(tensors: Tensors) -> dict[str, Any]:
        return answers.setdefault(tensors["x"].__array_interface__["data"][0], run(tensors))

    return kept


def memory_used_again(run: Run) -> Run:
    places: dict[tuple[int, ...], Any] = {}

    def placed(tensors: Tensors) -> dict[str, Any]:
        made = run(tensors)["y"]
        place = places.setdefault(made.shape, np.empty_like(made))
        place[...] = made
        return {"y": place}

    return placed


def wrong_after_a_while(run: Run) -> Run:
    count = [0]

    def counted(tensors: Tensors) -> dict[str, Any]:
        count[0] += 1
        made = run(tensors)
        return made if count[0] < 8 else {"y": made["y"] + 1}

    return counted


@pytest.mark.parametrize(
    ("running", "reason"),
    [
        pytest.param(first_answer_kept, "", id="the first answer is kept"),
        pytest.param(kept_by_place, "has relative error", id="answers are kept by the memory of inputs"),
        pytest.param(memory_used_again, "changes when the session runs again", id="outputs lie in memory that is used again"),
        pytest.param(wrong_after_a_while, "differs when the sample is run again", id="later runs are wrong"),
    ],
)
def test_a_session_that_keeps_something_is_found_and_no_node_is_named(
    tmp_path: Path, running: Callable[[Run], Run], reason: str
) -> None:
    ended = converted(tmp_path, ROWS, Defective(running=running))
    assert ended.state is State.FAILED
    assert reason in ended.reason
    assert ended.reason.endswith("; no node is wrong: this sample alone is right in a new session")


def test_a_session_that_writes_to_its_inputs_is_found(tmp_path: Path) -> None:
    def writing(run: Run) -> Run:
        def written(tensors: Tensors) -> dict[str, Any]:
            made = run(tensors)
            tensors["x"][...] = 0
            return made

        return written

    ended = converted(tmp_path, ROWS, Defective(running=writing))
    assert "changes its input 'x', which others may read" in ended.reason
