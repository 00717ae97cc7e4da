"""int8 of OpenVINO: what is quantised and what is not, and what is said where it cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino", reason="pip install 'multi-edge-bench[openvino]'")

from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.backends.openvino import OpenVinoBackend
from multiedge.backends.openvino.quantisation import first_convolutions
from multiedge.backends.openvino.session import TELEMETRY, load_core
from multiedge.errors import MissingDependencyError, ModelError
from tests.builders.onnx_models import noise, parsed, saved

NETWORK = """g (float[1, 3, 16, 16] x) => (float[1, 10] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w1)
    low = Constant<value = float {0.0}>()
    high = Constant<value = float {6.0}>()
    b = Clip(a, low, high)
    c = Conv<pads = [1, 1, 1, 1], group = 16>(b, w2)
    d = Relu(c)
    e = Conv<pads = [1, 1, 1, 1]>(d, w3)
    f = Relu(e)
    p = GlobalAveragePool(f)
    q = Flatten(p)
    y = Gemm(q, w4)
}"""
INT8 = OpenVinoBackend(precision="int8")
ITEMS = [{"x": noise(1, 3, 16, 16, seed=seed)} for seed in range(8)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = {"w1": noise(16, 3, 3, 3), "w2": noise(16, 1, 3, 3), "w3": noise(32, 16, 3, 3), "w4": noise(32, 10)}
    return saved(parsed(NETWORK, **weights), tmp_path_factory.mktemp("int8") / "model.onnx")


def test_the_convolution_of_an_image_and_the_one_after_it_are_not_quantised(model: Path) -> None:
    read = load_core().read_model(str(model))
    kinds = {node.get_friendly_name(): node.get_type_name() for node in read.get_ops()}
    assert [kinds[name] for name in first_convolutions(read)] == ["Convolution", "GroupConvolution"]


def test_a_sum_of_two_branches_ends_what_follows_an_image(tmp_path: Path) -> None:
    body = """g (float[1, 3, 8, 8] x) => (float[1, 8, 8, 8] y) {
        a = Conv<pads = [1, 1, 1, 1]>(x, w1)
        b = Conv<pads = [1, 1, 1, 1]>(x, w1)
        s = Add(a, b)
        y = Conv<pads = [1, 1, 1, 1]>(s, w2)
    }"""
    path = saved(parsed(body, w1=noise(8, 3, 3, 3), w2=noise(8, 8, 3, 3)), tmp_path / "sum.onnx")
    assert len(first_convolutions(load_core().read_model(str(path)))) == 2


def test_without_inputs_the_remedy_is_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^model\.onnx: static quantisation needs calibration inputs; give --inputs$"):
        INT8.convert(model, tmp_path / "model.xml")


def test_without_its_package_the_line_has_the_install_command(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingDependencyError, match="openvino-int8"):
        INT8.convert_calibrated(model, tmp_path / "model.xml", ITEMS)


@pytest.mark.slow
def test_a_quantised_model_answers_nearly_as_the_model(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nncf", reason="pip install 'multi-edge-bench[openvino-int8]'")
    INT8.convert_calibrated(model, tmp_path / "model.xml", ITEMS)
    assert capfd.readouterr().out == ""
    kinds = [node.get_type_name() for node in load_core().read_model(str(tmp_path / "model.xml")).get_ops()]
    assert kinds.count("FakeQuantize") >= 2
    assert TELEMETRY not in sys.modules or sys.modules[TELEMETRY] is not None
    session, reference = INT8.open(tmp_path / "model.xml"), OnnxRuntimeBackend().open(model)
    made = [session.run(item)["y"] for item in ITEMS]
    expected = [reference.run(item)["y"] for item in ITEMS]
    session.close()
    assert max(np.abs(a - b).max() for a, b in zip(made, expected, strict=True)) < 0.1 * np.abs(expected).max()
    assert INT8.node_timer() is None
