"""Real architectures, a quantised model and models above 2 GB: parts equal the whole, in both forms."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from multiedge.check import check
from multiedge.onnx_io import read_graph, read_manifest, write_parts
from multiedge.onnx_io.cuts import boundaries_for
from tests.builders import models
from tests.builders.onnx_models import noise, parsed
from tests.builders.parts import plan_of, random_boundaries, spans

ROOT = Path(__file__).parents[3]
LARGE = pytest.param(models.vit_b16, marks=pytest.mark.slow)
REAL = (models.deit_tiny, models.minilm, models.efficientnet_lite0, models.resnet50, LARGE)
WIDE = 16384
"""A square matrix of this width in single precision takes 1 GiB."""


@pytest.mark.parametrize("export", REAL, ids=lambda export: export.__name__)
def test_real_models(export: Callable[[], Path], tmp_path: Path) -> None:
    path = export()
    graph = read_graph(path)
    assert all(tensor.nbytes is not None for tensor in graph.tensors.values()), "fixed shapes leave no size open"
    count = len(graph.nodes)
    even = plan_of(graph, spans(count, boundaries_for(graph, 3)), relay=True)
    write_parts(graph, even, tmp_path / "parts")
    assert check(tmp_path / "parts").bitwise
    assert check(tmp_path / "parts", options={}).passes()
    random = plan_of(graph, spans(count, random_boundaries(count, 5, np.random.default_rng(0))))
    write_parts(graph, random, tmp_path / "parts", copy_weights=True)
    assert check(tmp_path / "parts", seed=1).bitwise


def test_self_contained_parts_hold_each_byte_once(tmp_path: Path) -> None:
    graph = read_graph(models.minilm())
    count = len(graph.nodes)
    write_parts(graph, plan_of(graph, spans(count, boundaries_for(graph, 3))), tmp_path, copy_weights=True)
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert written < 1.02 * models.minilm().stat().st_size
    assert not list(tmp_path.glob("*.linked"))


def test_linked_parts_are_small(tmp_path: Path) -> None:
    graph = read_graph(models.vit_b16())
    write_parts(graph, plan_of(graph, spans(len(graph.nodes), boundaries_for(graph, 3))), tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.glob("sub_model_*.onnx")) < 200_000


def test_reading_and_linking_take_little_memory(tmp_path: Path) -> None:
    """In a process of its own, since another test's memory must not count."""
    code = (
        "import sys; from pathlib import Path; from tests.builders.parts import split_at;"
        "split_at(Path(sys.argv[1]), [100, 300], Path(sys.argv[2]));"
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell a process's peak of memory")
    command = [sys.executable, "-c", code, str(models.vit_b16()), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) * 1024 < 200e6


def test_quantised_model(tmp_path: Path) -> None:
    """A convolutional network quantised by onnxruntime's own tool, static, per channel, in QDQ form."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Noise(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [{"x": noise(1, 3, 16, 16, seed=seed)} for seed in range(4)]

        def get_next(self) -> dict[str, object] | None:
            return self.left.pop() if self.left else None

    onnx.save(_small_network(), tmp_path / "model.onnx")
    quantize_static(tmp_path / "model.onnx", tmp_path / "int8.onnx", Noise(), QuantFormat.QDQ, per_channel=True)
    graph = read_graph(tmp_path / "int8.onnx")
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in graph.nodes}
    for place in range(1, len(graph.nodes)):
        write_parts(graph, plan_of(graph, spans(len(graph.nodes), [place])), tmp_path / "parts")
        assert check(tmp_path / "parts").bitwise
    # With optimisations on, integer kernels replace groups that a cut can part: some values are one step off.
    assert check(tmp_path / "parts", options={}).passes(0.05)


def _small_network() -> onnx.ModelProto:
    return parsed(
        """g (float[1,3,16,16] x) => (float[1,10] y) {
            a = Conv<pads = [1,1,1,1]>(x, w1, b1)  b = Relu(a)  c = Conv<pads = [1,1,1,1]>(b, w2)  d = Add(c, b)
            e = Relu(d)  f = GlobalAveragePool(e)  h = Flatten(f)  y = Gemm(h, w3, b3)
        }""",
        w1=noise(8, 3, 3, 3),
        b1=noise(8),
        w2=noise(8, 8, 3, 3),
        w3=noise(8, 10),
        b3=noise(10),
    )


def _wide_model(folder: Path) -> Path:
    """Three matrices of 1 GiB in one external file that is all holes but for a few rows."""
    size = WIDE * WIDE * 4
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(3 * size)
        for number in range(3):
            file.seek(number * size)
            file.write(noise(4, WIDE, seed=number).tobytes())
    model = parsed(
        """g (float[1,16384] x) => (float[1,16384] y) {
            a = MatMul(x, w0)  b = Tanh(a)  c = MatMul(b, w1)  d = Tanh(c)  e = MatMul(d, w2)  y = Tanh(e)
        }"""
    )
    for number in range(3):
        tensor = TensorProto(name=f"w{number}", data_type=TensorProto.FLOAT, dims=[WIDE, WIDE])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights.bin"), ("offset", number * size), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        model.graph.initializer.append(tensor)
    onnx.save(model, folder / "wide.onnx")
    return folder / "wide.onnx"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_more_than_two_gigabytes_in_external_data(tmp_path: Path) -> None:
    path = _wide_model(tmp_path)
    graph = read_graph(path)
    assert graph.parameter_bytes == 3 << 30
    for copy_weights in (False, True):
        write_parts(graph, plan_of(graph, spans(6, [2, 4])), tmp_path / "parts", copy_weights=copy_weights)
        assert check(tmp_path / "parts").bitwise


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_more_than_two_gigabytes_in_one_file(tmp_path: Path) -> None:
    """No protobuf library reads such a file. Ours does, and its parts run; so the whole is run as one part."""
    path = tmp_path / "single.onnx"
    _write_in_one_file(path)
    graph = read_graph(path)
    assert path.stat().st_size > 3 << 30
    write_parts(graph, plan_of(graph, spans(6, [2, 4])), tmp_path / "parts")
    assert len(read_manifest(tmp_path / "parts").parts) == 3
    assert check(tmp_path / "parts").bitwise


def _write_in_one_file(path: Path) -> None:
    """The wide model with its weights within, written field by field, holes again."""
    size = WIDE * WIDE * 4
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1,16384] x) => (float[1,16384] y) {
        a = MatMul(x, w0)  b = Tanh(a)  c = MatMul(b, w1)  d = Tanh(c)  e = MatMul(d, w2)  y = Tanh(e)
    }"""
    bare = onnx.parser.parse_model(text)
    rest = bare.graph.SerializeToString()
    bare.ClearField("graph")
    heads = []
    for number in range(3):
        head = TensorProto(name=f"w{number}", data_type=TensorProto.FLOAT, dims=[WIDE, WIDE]).SerializeToString()
        head += b"\x4a" + _varint(size)
        heads.append(b"\x2a" + _varint(len(head) + size) + head)
    total = len(rest) + sum(len(head) + size for head in heads)
    with path.open("wb") as file:
        file.write(bare.SerializeToString() + b"\x3a" + _varint(total) + rest)
        for number, head in enumerate(heads):
            file.write(head)
            start = file.tell()
            file.write(noise(4, WIDE, seed=number).tobytes())
            file.seek(start + size)
        file.truncate()


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
