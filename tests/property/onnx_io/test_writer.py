"""Random graphs with fan-out, skips and several outputs: parts chained equal the whole, wherever they are cut."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from multiedge.check import check
from multiedge.onnx_io import read_graph, write_parts
from multiedge.onnx_io.cuts import boundaries_for
from tests.builders.parts import plan_of, spans

WIDTH = 16
ONE_INPUT = ("Relu", "Tanh", "Neg", "Sigmoid")
TWO_INPUTS = ("Add", "Mul", "Sub", "MatMul")


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    """2 to 14 nodes over square matrices; each reads any tensors made before it, inputs and shared weights."""
    inputs = [f"x{number}" for number in range(draw(st.integers(1, 3)))]
    weights = [f"w{number}" for number in range(draw(st.integers(0, 2)))]
    known, nodes = [*inputs, *weights], []
    for number in range(draw(st.integers(2, 14))):
        operator = draw(st.sampled_from(ONE_INPUT + TWO_INPUTS))
        read = [draw(st.sampled_from(known)) for _ in range(1 + (operator in TWO_INPUTS))]
        nodes.append(helper.make_node(operator, read, [f"t{number}"], name=f"n{number}"))
        known.append(f"t{number}")
    made = [node.output[0] for node in nodes]
    outputs = draw(st.lists(st.sampled_from([*made, *inputs]), min_size=1, max_size=4, unique=True))
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    values = [generator.standard_normal((WIDTH, WIDTH)).astype(np.float32) / WIDTH for _ in weights]
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [WIDTH, WIDTH]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [WIDTH, WIDTH]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in zip(weights, values, strict=True)],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(model=models(), data=st.data())
def test_parts_chained_equal_the_whole(model: onnx.ModelProto, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / "model.onnx")
        graph = read_graph(folder / "model.onnx")
        count = len(graph.nodes)
        boundaries = sorted(data.draw(st.sets(st.integers(1, count - 1), min_size=1, max_size=4), label="boundaries"))
        relay = data.draw(st.booleans(), label="relay")
        plan = plan_of(graph, spans(count, boundaries), relay=relay)
        write_parts(graph, plan, folder / "parts", copy_weights=data.draw(st.booleans(), label="copy_weights"))
        assert check(folder / "parts", seed=data.draw(st.integers(0, 9), label="seed")).bitwise


@settings(max_examples=60, deadline=None, derandomize=True)
@given(model=models(), data=st.data())
def test_parts_need_not_be_contiguous(model: onnx.ModelProto, data: st.DataObject) -> None:
    """Any assignment in which no node is in an earlier part than one that it reads from."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / "model.onnx")
        graph = read_graph(folder / "model.onnx")
        home: list[int] = []
        for index in range(len(graph.nodes)):
            sources = [home[graph.producer[tensor]] for tensor in graph.activations_read(index) if tensor in graph.producer]
            home.append(data.draw(st.integers(max(sources, default=0), 3), label=f"part of node {index}"))
        node_sets = [[index for index, part in enumerate(home) if part == number] for number in sorted(set(home))]
        plan = plan_of(graph, node_sets)
        write_parts(graph, plan, folder / "parts")
        assert check(folder / "parts").bitwise


@settings(max_examples=100, deadline=None, derandomize=True)
@given(model=models(), parts=st.integers(1, 5))
def test_even_parts_hold_every_node_once(model: onnx.ModelProto, parts: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        onnx.save(model, Path(name) / "model.onnx")
        graph = read_graph(Path(name) / "model.onnx")
        if parts > len(graph.nodes):
            return
        boundaries = boundaries_for(graph, parts)
        node_sets = spans(len(graph.nodes), boundaries)
        assert len(boundaries) == parts - 1
        assert all(len(nodes) > 0 for nodes in node_sets)
        assert [index for nodes in node_sets for index in nodes] == list(range(len(graph.nodes)))
