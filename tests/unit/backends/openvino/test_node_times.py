"""Whose work each node of OpenVINO's compiled graph is, and times of nodes that add up to the latency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.openvino import OpenVinoBackend
from multiedge.backends.openvino.node_times import CompiledNode, assemble, owners
from multiedge.backends.timing import Accuracy, Timing, silent
from multiedge.errors import ProfileError
from multiedge.fleet import Device
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph
from tests.builders.onnx_models import noise, parsed, saved

BODY = """g (float[1, 3, 16, 16] x) => (float[1, 10] y, float[1, 10] z) {
    [conv] a = Conv<pads = [1, 1, 1, 1]>(x, w1)
    [norm] b = BatchNormalization(a, s, o, me, va)
    [relu] c = Relu(b)
    [back] d = Conv<pads = [1, 1, 1, 1]>(c, w2)
    [sum] e = Add(d, c)
    p = GlobalAveragePool(e)
    [flat] f = Flatten(p)
    [product] h = MatMul(f, w3)
    [bias] y = Add(h, b3)
    [soft] z = Softmax<axis = -1>(y)
}"""
COMPILED = (
    CompiledNode("x", ("x",), 0.0, readers=(1,)),
    CompiledNode("x_to_blocks", (), 1e-4, is_blocked=True, readers=(2,)),
    CompiledNode("Multiply_3557", ("Multiply_3557", "norm", "relu"), 5e-4, is_blocked=True, readers=(3, 4)),
    CompiledNode("back", ("back",), 3e-4, is_blocked=True, readers=(4,)),
    CompiledNode("sum", ("sum",), 1e-4, readers=(5,)),
    CompiledNode("p", ("p",), 1e-4, readers=(6,)),
    CompiledNode("flat", ("flat",), 0.0, readers=(7,)),
    CompiledNode("y", ("y",), 2e-4, readers=(8,)),
    CompiledNode("z", ("z",), 1e-4),
)


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "w3": (8, 10), "s": (8,), "o": (8,), "me": (8,), "b3": (10,)}
    weights = {name: noise(*shape) for name, shape in shapes.items()}
    return read_graph(saved(parsed(BODY, **weights, va=np.ones(8, np.float32)), tmp_path / "model.onnx"))


def timing(seconds: float) -> Timing:
    return Timing(np.full(9, seconds), np.full(9, seconds))


def test_nodes_are_found_by_name_by_output_and_by_the_node_that_reads_them(graph: Graph) -> None:
    known = owners(graph, COMPILED)
    assert [COMPILED[owner].name for owner in known.owner] == [
        *("Multiply_3557",) * 3,
        *("back", "sum", "p", "flat", "y", "y", "z"),
    ]
    assert known.group[1] == 2


def test_times_add_up_to_the_latency_and_fused_nodes_share_theirs_by_parameters(graph: Graph) -> None:
    times = assemble(graph, COMPILED, [timing(2e-3), timing(2.2e-3)], overhead_s=5e-4)
    assert times.seconds.sum() + times.overhead_s == pytest.approx(2e-3)
    assert times.kernel_sum_s == pytest.approx(1.4e-3)
    conv, norm, relu = times.seconds[:3]
    assert conv > norm > relu >= 0
    assert times.seconds[:3].sum() > times.seconds[3] > times.seconds[4]
    assert times.fused == {"a", "b", "h"}
    assert times.coverage.total == len(graph.nodes)
    assert (times.coverage.by_tensor, times.coverage.folded, times.coverage.attributed) == (3, 0, 1.0)
    assert times.blocked_share == pytest.approx(9 / 14, rel=0.05)


def test_a_model_is_timed_node_by_node(graph: Graph) -> None:
    pytest.importorskip("openvino", reason="pip install 'multi-edge-bench[openvino]'")
    accuracy = Accuracy(relative=0.1, budget_s=0.1, least=5, most=20)
    feed = {"x": noise(1, 3, 16, 16)}
    timer = OpenVinoBackend().node_timer()
    times = timer.measure(graph, Path(graph.path), feed, Device("d"), accuracy, 1e-5, silent)
    assert times.seconds.sum() + times.overhead_s == pytest.approx(times.plain.median_s)
    assert times.coverage.total == len(graph.nodes)
    assert times.coverage.folded == 0
    assert {"a", "b", "h"} <= times.fused
    with pytest.raises(ProfileError, match="OpenVINO writes no profile that can be read"):
        timer.read(graph, Path("profile.json"))
