"""Every runtime that is installed, from an ONNX file to outputs: converted with proof, in batches, without a packet sent."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.contract import Backend
from multiedge.backends.conversion.ready import converted
from multiedge.backends.conversion.record import State
from multiedge.backends.loading import load_backend
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.backends.stages import open_part
from multiedge.errors import MultiedgeError
from tests.builders.onnx_models import noise, parsed, saved
from tests.builders.packets import obstacle, packets_sent

CONVERTING = ("litert", "mnn", "ncnn", "openvino")
ELSEWHERE = ("mindspore-lite", "paddle-lite")
"""Runtimes of another Python. Their environments are not set up for a test."""
SET_UP_S = 900
"""The environments of the converters to litert and ncnn are set up on first use, which takes minutes."""
BODY = """g (float[n, 3, 8, 8] image, float[n, 4, 4, 4] skip) => (float[n, 4, 4, 4] kept, float[n, 5] y) {
    c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]>(image, w, b)
    r = Relu(c)
    kept = Add(r, skip)
    pooled = GlobalAveragePool(kept)
    flat = Flatten(pooled)
    y = Gemm(flat, v, z)
}"""
"""Convolutions whose inputs and outputs, in another layout, would have other shapes or, where sizes are equal, other values."""


def usable(name: str) -> Backend:
    """The backend; the test is skipped with the reason where it, or what it converts with, cannot be had."""
    backend = load_backend(name)
    if not backend.is_set_up:
        pytest.skip(f"its environment is not set up: multiedge convert MODEL --backend {name}")
    try:
        assert backend.version
        backend.prepare()
    except MultiedgeError as error:
        pytest.skip(str(error))
    return backend


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = {"w": noise(4, 3, 3, 3), "b": noise(4, seed=1), "v": noise(4, 5, seed=2), "z": noise(5, seed=3)}
    return saved(parsed(BODY, **weights), tmp_path_factory.mktemp("runtimes") / "model.onnx")


@pytest.mark.slow
@pytest.mark.timeout(SET_UP_S)
@pytest.mark.parametrize("name", CONVERTING)
def test_names_layouts_and_batches_are_those_of_the_model(model: Path, tmp_path: Path, name: str) -> None:
    backend = usable(name)
    record = converted(backend, model, tmp_path)
    assert record.state is State.SUCCESS, record.reason
    assert "batch 2" in [each.sample for each in record.errors]
    session, reference = open_part(backend, model, keep=tmp_path), OnnxRuntimeBackend().open(model)
    assert (set(session.inputs), set(session.outputs)) == (set(reference.inputs), set(reference.outputs))
    for count in (1, 3):
        feed = {"image": noise(count, 3, 8, 8, seed=count), "skip": noise(count, 4, 4, 4, seed=count)}
        outputs = session.run(feed)
        for output, expected in reference.run(feed).items():
            np.testing.assert_allclose(outputs[output], expected, rtol=1e-3, atol=1e-4)
    session.close()


@pytest.mark.slow
@pytest.mark.timeout(SET_UP_S)
@pytest.mark.parametrize("name", [*CONVERTING, *ELSEWHERE])
def test_a_conversion_sends_no_packet_where_it_could(model: Path, tmp_path: Path, name: str) -> None:
    if obstacle():
        pytest.skip(obstacle())
    backend = usable(name)
    target = tmp_path / f"model{backend.formats[0]}"
    code = f"""
from pathlib import Path
from multiedge.backends.loading import load_backend
backend = load_backend({name!r})
backend.convert(Path({str(model)!r}), Path({str(target)!r}))
backend.open(Path({str(target)!r}))
"""
    assert packets_sent([sys.executable, "-c", code]) == 0
    assert target.is_file()


def test_packets_are_counted() -> None:
    if obstacle():
        pytest.skip(obstacle())
    code = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.sendto(b'x', ('198.51.100.1', 9))"
    assert packets_sent([sys.executable, "-c", code]) == 1
    assert packets_sent([sys.executable, "-c", "print(1)"]) == 0
