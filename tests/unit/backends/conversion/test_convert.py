"""One conversion: what is kept, what its record says, and answers that are wrong."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from multiedge.backends.contract import Backend
from multiedge.backends.conversion.convert import convert_checked
from multiedge.backends.conversion.inputs import PartInputs
from multiedge.backends.conversion.record import Conversion, State, load_conversion
from multiedge.backends.conversion.samples import Sample
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.errors import ModelError
from tests.builders.conversions import ROWS, ApproximateDefective, Change, Defective
from tests.builders.onnx_models import noise, parsed, saved


@pytest.fixture
def model(tmp_path: Path) -> Path:
    weights = {"factor": np.float32(0.5), "w": noise(4, 6), "bias": noise(6, seed=1)}
    return saved(parsed(ROWS, **weights), tmp_path / "model.onnx")


def convert(model: Path, backend: Defective, *inputs: Sample) -> tuple[Conversion, Path]:
    folder = model.parent / "kept" / "key"
    folder.parent.mkdir(exist_ok=True)
    pending = Conversion(State.PENDING, str(model), "Defective", "1", "float32", {}, tolerance=1e-4)
    ended = convert_checked(backend, OnnxRuntimeBackend(), pending, folder, inputs)
    assert load_conversion(folder.with_name("key.json")) == ended
    return ended, folder


def weight_changed(name: str, change: Callable[[Any], Any]) -> Change:
    def changed(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name == name:
                tensor.CopyFrom(numpy_helper.from_array(np.asarray(change(numpy_helper.to_array(tensor)), np.float32), name))

    return changed


def test_what_is_right_is_kept_with_its_record(model: Path) -> None:
    ended, folder = convert(model, Defective())
    assert (ended.state, ended.reason, ended.worst_error) == (State.SUCCESS, "", 0.0)
    assert [each.sample for each in ended.errors][-2:] == ["batch 2", "equal dimensions"]
    assert ended.finished_s >= ended.started_s > 0
    assert ended.latency_ratio > 0
    assert [path.name for path in folder.iterdir()] == list(ended.artefact) == ["model.defect"]


def swapped_where_square(outputs: dict[str, Any]) -> dict[str, Any]:
    rows, columns = outputs["y"].shape
    return {"y": outputs["y"].T} if rows == columns else outputs


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(
            lambda outputs: {"y": np.repeat(outputs["y"][:1], len(outputs["y"]), axis=0)},
            "has relative error",
            id="each item of a batch is answered as the first",
        ),
        pytest.param(
            lambda outputs: {"y": outputs["y"][:1]}, "of sample 'batch 2' gives shape [1, 4], expected [2, 4]", id="one item"
        ),
        pytest.param(
            lambda outputs: {"y": outputs["y"].astype(np.float64)}, "gives float64, expected float32", id="another type"
        ),
        pytest.param(lambda outputs: {"y": outputs["y"] * np.nan}, "is not finite where it must be", id="no numbers"),
        pytest.param(lambda outputs: {}, "gives no such output", id="no output"),
        pytest.param(swapped_where_square, "of sample 'equal dimensions' has", id="swapped where sizes are equal"),
    ],
)
def test_wrong_answers_are_told_by_output_and_sample(tmp_path: Path, answer: Any, reason: str) -> None:
    model = saved(parsed("g (float[n, 4] x) => (float[n, 4] y) { [only] y = Tanh(x) }"), tmp_path / "model.onnx")
    ended, folder = convert(model, Defective(answer=answer))
    assert ended.state is State.FAILED
    assert "model.onnx: Defective gives wrong outputs: output 'y' of sample '" in ended.reason
    assert reason in ended.reason
    assert not folder.exists()


def test_sizes_that_the_model_refuses_need_inputs(tmp_path: Path) -> None:
    model = saved(parsed("g (float[n, m] x) => (float[n, 6] y) { y = MatMul(x, w) }", w=noise(4, 6)), tmp_path / "model.onnx")
    ended, _ = convert(model, Defective())
    assert "the reference cannot run sample 'random': " in ended.reason
    assert ended.reason.endswith("; give --inputs")
    real = Sample("real", {"x": noise(3, 4)})
    assert convert(model, Defective(), real)[0].state is State.SUCCESS
    assert convert(model, Defective(weight_changed("w", lambda w: w * 2)), real)[0].state is State.FAILED


def test_a_converter_that_refuses_leaves_its_reason(model: Path) -> None:
    def refuse(model: onnx.ModelProto) -> None:
        raise ValueError("operator\nunknown")

    ended, folder = convert(model, Defective(refuse))
    assert ended.reason.endswith("model.onnx: Defective cannot convert this file: ValueError: operator unknown")
    assert [path.name for path in folder.parent.iterdir()] == ["key.json"]


@pytest.mark.parametrize(
    ("cause", "is_final"),
    [
        pytest.param(ValueError("operator unknown"), True, id="refused"),
        pytest.param(FileNotFoundError(errno.ENOENT, "No such file"), True, id="no file"),
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), False, id="full disk"),
        pytest.param(OSError(errno.EMFILE, "Too many open files"), False, id="too many files"),
        pytest.param(MemoryError(), False, id="no memory"),
        pytest.param(subprocess.CalledProcessError(-9, "converter"), False, id="killed"),
        pytest.param(subprocess.CalledProcessError(-11, "converter"), True, id="crashed"),
        pytest.param(subprocess.CalledProcessError(1, "converter"), True, id="ended"),
    ],
)
@pytest.mark.parametrize("is_wrapped", [False, True], ids=["raised", "as the cause of a model error"])
def test_what_is_due_to_the_machine_as_it_is_now_is_tried_again(
    model: Path, cause: Exception, is_final: bool, is_wrapped: bool
) -> None:
    def fail(model: onnx.ModelProto) -> None:
        if is_wrapped:
            raise ModelError("cannot be converted") from cause
        raise cause

    ended, _ = convert(model, Defective(fail))
    assert (ended.state, ended.is_final) == (State.FAILED, is_final)


def test_a_comparison_without_enough_memory_is_tried_again(model: Path) -> None:
    def fail(tensors: Any) -> Any:
        raise MemoryError

    ended, _ = convert(model, Defective(running=lambda run: fail))
    assert ended.reason == "there is not enough memory to run sample 'random'"
    assert (ended.state, ended.is_final) == (State.FAILED, False)


def test_a_result_of_an_earlier_attempt_is_replaced(model: Path) -> None:
    folder = model.parent / "kept" / "key"
    folder.mkdir(parents=True)
    (folder / "model.defect").write_text("cut off")
    ended, _ = convert(model, Defective())
    assert ended.state is State.SUCCESS
    assert (folder / "model.defect").stat().st_size > 100


CLASSES = "g (float[1, 64] x) => (float[1, 10] y) { [product] y = MatMul(x, w) }"


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    return saved(parsed(CLASSES, w=noise(64, 10)), tmp_path / "classifier.onnx")


def converted_int8(model: Path, backend: Backend, kept: PartInputs | None) -> Conversion:
    folder = model.parent / "kept" / "int8"
    folder.parent.mkdir(exist_ok=True)
    pending = Conversion(State.PENDING, str(model), "any", "1", backend.numbers, {})
    return convert_checked(backend, OnnxRuntimeBackend(), pending, folder, kept=kept)


def test_an_approximate_precision_is_judged_by_agreement_and_accuracy_on_kept_inputs(classifier: Path) -> None:
    # Each input is like the weights of one class, so that neither 8 bits nor the 7 of older processors change the class.
    items = tuple({"x": noise(64, 10)[:, number : number + 1].T.copy()} for number in range(4))
    right = [int(OnnxRuntimeBackend().open(classifier).run(item)["y"].argmax()) for item in items]
    kept = PartInputs(items, (*right[:3], (right[3] + 1) % 10))
    ended = converted_int8(classifier, OnnxRuntimeBackend(precision="int8"), kept)
    assert (ended.state, ended.tolerance, ended.reason) == (State.SUCCESS, None, "")
    assert (ended.agreement, ended.accuracy, ended.reference_accuracy) == (1.0, 0.75, 0.75)
    assert [each.sample for each in ended.errors] == ["input 1", "input 2", "input 3", "input 4"]
    assert 0 < (ended.worst_error or 0) < 0.1
    assert load_conversion(classifier.parent / "kept" / "int8.json") == ended


def test_without_inputs_an_approximate_precision_is_compared_on_samples(classifier: Path) -> None:
    ended = converted_int8(classifier, OnnxRuntimeBackend(precision="int8"), None)
    assert (ended.state, ended.accuracy) == (State.SUCCESS, None)
    assert {each.sample for each in ended.errors} == {"random 1", "random 2", "random 3", "random 4"}


def test_approximate_outputs_that_have_nothing_to_do_with_the_right_ones_are_not_kept(classifier: Path) -> None:
    wrong = ApproximateDefective(answer=lambda outputs: {name: -2 * value for name, value in outputs.items()})
    ended = converted_int8(classifier, wrong, None)
    assert (ended.state, ended.is_final, ended.artefact) == (State.FAILED, True, {})
    assert "outputs of int8 that have nothing to do with the right ones" in ended.reason
    assert [path.name for path in (classifier.parent / "kept").iterdir()] == ["int8.json"]
