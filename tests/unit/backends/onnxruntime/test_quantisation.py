"""ONNX files of another precision: what becomes of a model's operators, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from multiedge.backends.loading import load_backend
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.backends.onnxruntime.quantisation import first_convolutions, is_static
from multiedge.errors import ConfigError, ModelError
from tests.builders.onnx_models import layers, noise, parsed, saved

CONVOLUTION = """g (float[1, 8, 8, 8] x) => (float[1, 4, 8, 8] y) {
    [product] c = Conv<pads = [1, 1, 1, 1]>(x, w)
    [positive] y = Relu(c)
}"""
IMAGE = """g (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) {
    [stem] a = Conv<pads = [1, 1, 1, 1]>(x, w1)
    [stem_relu] b = Relu(a)
    [second] c = Conv<pads = [1, 1, 1, 1], group = 8>(b, w2)
    [second_relu] d = Relu(c)
    [third] y = Conv<pads = [1, 1, 1, 1]>(d, w3)
}"""


@pytest.fixture
def convolution(tmp_path: Path) -> Path:
    return saved(parsed(CONVOLUTION, w=noise(4, 8, 3, 3)), tmp_path / "convolution.onnx")


@pytest.fixture
def products(tmp_path: Path) -> Path:
    return saved(layers(2, 64), tmp_path / "products.onnx")


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_convolutions_get_static_and_products_dynamic_quantisation(convolution: Path, products: Path) -> None:
    backend = OnnxRuntimeBackend(precision="int8")
    assert (is_static(backend, convolution), is_static(backend, products)) == (True, False)
    assert is_static(OnnxRuntimeBackend(precision="int8", quantisation="static"), products)


def test_static_int8_is_near_the_model_on_what_calibrated_it(convolution: Path, tmp_path: Path) -> None:
    backend, item = OnnxRuntimeBackend(precision="int8"), {"x": noise(1, 8, 8, 8)}
    backend.convert_calibrated(convolution, tmp_path / "int8.onnx", [item])
    assert "QuantizeLinear" in operators(tmp_path / "int8.onnx")
    whole, rounded = (OnnxRuntimeBackend().open(path).run(item)["y"] for path in (convolution, tmp_path / "int8.onnx"))
    assert 0 < np.abs(whole - rounded).max() < 0.05 * np.abs(whole).max()


def test_the_first_two_convolutions_of_an_image_stay_float(tmp_path: Path) -> None:
    model = parsed(IMAGE, w1=noise(8, 3, 3, 3), w2=noise(8, 1, 3, 3), w3=noise(4, 8, 3, 3))
    assert first_convolutions(saved(model, tmp_path / "image.onnx")) == ["stem", "second"]


def test_dynamic_int8_needs_no_inputs(products: Path, tmp_path: Path) -> None:
    OnnxRuntimeBackend(precision="int8").convert(products, tmp_path / "int8.onnx")
    assert operators(tmp_path / "int8.onnx").count("MatMulInteger") == 2


def test_float16_keeps_the_types_of_inputs_and_outputs(products: Path, tmp_path: Path) -> None:
    OnnxRuntimeBackend(precision="float16").convert(products, tmp_path / "half.onnx")
    item = {"x": noise(1, 64)}
    whole, rounded = (OnnxRuntimeBackend().open(path).run(item)["y"] for path in (products, tmp_path / "half.onnx"))
    assert rounded.dtype == np.float32
    assert 0 < np.abs(whole - rounded).max() < 0.01 * np.abs(whole).max()


def test_int4_packs_the_weights_of_products(products: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx_ir", reason="pip install 'multi-edge-bench[int4]'")
    OnnxRuntimeBackend(precision="int4").convert(products, tmp_path / "int4.onnx")
    assert operators(tmp_path / "int4.onnx").count("MatMulNBits") == 2
    assert (tmp_path / "int4.onnx").stat().st_size < products.stat().st_size / 2


def test_a_file_is_opened_as_it_is_only_with_its_own_numbers(products: Path) -> None:
    assert OnnxRuntimeBackend().opens(products)
    assert not OnnxRuntimeBackend(precision="int8").opens(products)
    assert OnnxRuntimeBackend(precision="int8").opens(products.with_suffix(".ort"))


def test_what_has_no_effect_is_refused(convolution: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no operator whose weights can be int8"):
        OnnxRuntimeBackend(precision="int8", quantisation="dynamic").convert(convolution, tmp_path / "int8.onnx")
    with pytest.raises(ModelError, match="static quantisation needs calibration inputs; give --inputs"):
        OnnxRuntimeBackend(precision="int8").convert(convolution, tmp_path / "int8.onnx")
    with pytest.raises(ConfigError, match="quantisation: 'static' has an effect with precision int8 only"):
        OnnxRuntimeBackend(quantisation="static")
    with pytest.raises(ConfigError, match=r"option 'precision': expected"):
        load_backend("onnxruntime", {"precision": "int9"})
