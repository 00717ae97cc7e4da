"""Paddle Lite in a process of Python 3.10: values, names, and where it is not set up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multiedge.backends import paddle_lite as module
from multiedge.backends.automatic import installed_version
from multiedge.backends.conversion.ready import can_be_offline, converted
from multiedge.backends.conversion.record import State
from multiedge.backends.foreign.session import Adapter
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.backends.paddle_lite import PaddleLiteBackend
from multiedge.errors import ConfigError
from multiedge.fleet import Device
from tests.builders.onnx_models import noise, parsed, saved

BODY = """g (float[1, 3, 8, 8] x, float[1, 4, 1, 1] b) => (float[1, 4, 4, 4] p, float[1, 4, 1, 1] y) {
    c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w)
    r = Relu(c)
    p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)
    q = GlobalAveragePool(p)
    y = Add(q, b)
}"""


def test_the_names_of_the_file_are_kept_beside_what_is_made_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Adapter, "convert", lambda self, source, target, model: None)
    source = saved(parsed(BODY, w=noise(4, 3, 3, 3)), tmp_path / "model.onnx")
    PaddleLiteBackend().convert(source, tmp_path / "model.nb")
    assert (tmp_path / "model.nb.json").read_text() == '{"inputs": ["x", "b"], "outputs": ["p", "y"]}'


def test_without_an_interpreter_the_line_has_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^paddle-lite: option 'python': expected an interpreter of Python 3\.10 "):
        PaddleLiteBackend(python="/gone").prepare()


def test_threads_that_it_would_not_use_are_refused(tmp_path: Path) -> None:
    line = "device 'phone': backend 'paddle-lite' computes on 1 thread, and 2 are stated; change its threads or its backend"
    with pytest.raises(ConfigError, match=line):
        PaddleLiteBackend().open(tmp_path / "model.nb", Device("phone", threads=2))


def test_a_runtime_whose_environment_is_not_set_up_is_not_chosen_without_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert PaddleLiteBackend().version == module.VERSION
    assert installed_version("paddle-lite") == installed_version("mindspore-lite") == ""
    executable = PaddleLiteBackend().adapter.environment.executable
    executable.parent.mkdir(parents=True)
    executable.touch()
    assert installed_version("paddle-lite") == module.VERSION


@pytest.mark.slow
@pytest.mark.skipif(
    not PaddleLiteBackend().is_set_up,
    reason="its environment is not set up: multiedge convert MODEL --backend paddle-lite",
)
@pytest.mark.skipif(not can_be_offline(), reason="this system permits no process without a network")
def test_what_passes_the_comparison_gives_the_outputs_of_onnxruntime(tmp_path: Path) -> None:
    source = saved(parsed(BODY, w=noise(4, 3, 3, 3)), tmp_path / "model.onnx")
    record = converted(PaddleLiteBackend(), source, tmp_path / "kept")
    assert record.state is State.SUCCESS, record.reason
    (made,) = (tmp_path / "kept").glob("*/model.nb")
    session = PaddleLiteBackend().open(made)
    items = {"x": noise(1, 3, 8, 8), "b": noise(1, 4, 1, 1, seed=1)}
    expected, seen = OnnxRuntimeBackend().open(source).run(items), session.run(items)
    session.close()
    assert (session.inputs, session.outputs, session.provider.name) == (("x", "b"), ("p", "y"), f"CPU, Python {module.PYTHON}")
    for name in ("p", "y"):
        np.testing.assert_allclose(seen[name], expected[name], rtol=1e-4, atol=1e-5)
