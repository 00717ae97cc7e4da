"""MindSpore Lite in a process of Python 3.7: values and names, and what its converter refuses without need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from multiedge.backends import mindspore_lite as module
from multiedge.backends.foreign.session import Adapter
from multiedge.backends.mindspore_lite import MindSporeLiteBackend
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.errors import ConfigError
from tests.builders.onnx_models import noise, parsed, saved

BODY = """g (float[1, 3, 8, 8] x) => (float[1, 4, 4, 4] p, float[1, 4, 1, 1] y) {
    c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w)
    p = MaxPool<kernel_shape = [2, 2], strides = [2, 2], dilations = [1, 1]>(c)
    y = GlobalAveragePool(p)
}"""


def test_the_converter_gets_the_defaults_that_it_needs_and_names_are_kept_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[onnx.ModelProto] = []
    monkeypatch.setattr(Adapter, "convert", lambda self, source, target, model: given.append(onnx.load(source)))
    source = saved(parsed(BODY, w=noise(4, 3, 3, 3)), tmp_path / "model.onnx")
    MindSporeLiteBackend().convert(source, tmp_path / "model.mindir")
    (pooling,) = [node for node in given[0].graph.node if node.op_type == "MaxPool"]
    assert {attribute.name for attribute in pooling.attribute} == {"kernel_shape", "strides"}
    (convolution,) = [node for node in given[0].graph.node if node.op_type == "Conv"]
    assert {"strides", "dilations"} <= {attribute.name for attribute in convolution.attribute}
    assert (tmp_path / "model.mindir.json").read_text() == '{"inputs": ["x"], "outputs": ["p", "y"]}'


def test_without_an_interpreter_the_line_has_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^mindspore-lite: option 'python': expected an interpreter of Python 3\.7 "):
        MindSporeLiteBackend(python="/gone").prepare()


@pytest.mark.skipif(
    not MindSporeLiteBackend().adapter.environment.executable.exists(),
    reason="its environment is not set up: multiedge convert MODEL --backend mindspore-lite",
)
def test_outputs_are_those_of_onnxruntime(tmp_path: Path) -> None:
    source = saved(parsed(BODY, w=noise(4, 3, 3, 3)), tmp_path / "model.onnx")
    MindSporeLiteBackend().convert(source, tmp_path / "model.mindir")
    session = MindSporeLiteBackend().open(tmp_path / "model.mindir")
    x = noise(1, 3, 8, 8)
    expected, made = OnnxRuntimeBackend().open(source).run({"x": x}), session.run({"x": x})
    session.close()
    assert (session.inputs, session.outputs, session.provider.name) == (("x",), ("p", "y"), f"CPU, Python {module.PYTHON}")
    for name in ("p", "y"):
        np.testing.assert_allclose(made[name], expected[name], rtol=1e-4, atol=1e-5)
