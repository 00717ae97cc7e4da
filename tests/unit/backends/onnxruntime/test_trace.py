"""Reading what onnxruntime's profiler writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from multiedge.backends.onnxruntime.fusion import OptimisedNode
from multiedge.backends.onnxruntime.node_times import match_optimised, with_seen_shapes
from multiedge.backends.onnxruntime.trace import (
    KernelTimes,
    at_one_pace,
    match_own_nodes,
    own_times,
    read_trace,
    times_of_trace,
)
from multiedge.errors import ProfileError
from multiedge.fleet import Device
from multiedge.graph import Node, Tensor
from profilers.engine.merge import profile_of_trace
from tests.builders.graphs import graph_of
from tests.builders.refusals import refusal, with_one_value_changed


def kernel(name: str, op_type: str, index: int, ts: int, dur: int) -> dict[str, Any]:
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "ts": ts,
        "dur": dur,
        "args": {"op_name": op_type, "node_index": str(index)},
    }


def write(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps([{"cat": "Session", "name": "model_run", "ts": 0, "dur": 999, "args": {}}, *events]))
    return path


def test_runs_of_a_node_are_kept_in_order(tmp_path: Path) -> None:
    events = [
        kernel("a", "Add", 0, 0, 5),
        kernel("b", "Mul", 1, 6, 7),
        kernel("a", "Add", 0, 20, 4),
        kernel("b", "Mul", 1, 25, 6),
    ]
    first, second = read_trace(write(tmp_path / "t.json", events))
    assert (first.name, first.op_type, first.index) == ("a", "Add", 0)
    assert first.seconds.tolist() == pytest.approx([5e-6, 4e-6])
    assert second.without(1).tolist() == pytest.approx([6e-6])


def test_nodes_inside_a_body_count_for_the_node_that_holds_it(tmp_path: Path) -> None:
    events = [kernel("inner", "Add", 0, 2, 3), kernel("loop", "Loop", 4, 1, 10), kernel("next", "Mul", 5, 11, 2)]
    assert [found.name for found in read_trace(write(tmp_path / "t.json", events))] == ["loop", "next"]


@pytest.mark.parametrize("text", ["{", "[]", "3", '[{"cat": "Node"}]'])
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ProfileError, match=r"t\.json"):
        read_trace(tmp_path / "t.json")


def test_any_damaged_value_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("damaged") / "t.json"
    event = kernel("a", "Add", 0, 0, 5)
    event["args"]["output_type_shape"] = [{"float": [1, 4]}]

    @given(with_one_value_changed([event, kernel("b", "Mul", 1, 6, 7)]))
    def check(damaged: object) -> None:
        path.write_text(json.dumps(damaged, default=str))
        message = refusal(lambda: read_trace(path), ProfileError)
        assert message is None or (message.startswith(str(path)) and "\n" not in message)

    check()


def test_nameless_nodes_are_found_by_their_place_among_their_kind(tmp_path: Path) -> None:
    graph = graph_of(
        Node("Constant_0", "Constant", (), ("c",)),
        Node("Add_1", "Add", ("x", "c"), ("a",)),
        Node("Relu_2", "Relu", ("a",), ("b",)),
        Node("named", "Mul", ("b", "b"), ("d",)),
    )
    events = [kernel("", "Add", 0, 0, 5), kernel("", "Relu", 1, 6, 7), kernel("named", "Mul", 2, 14, 9)]
    found = own_times(match_own_nodes(graph, read_trace(write(tmp_path / "t.json", events))), warmup=0)
    assert found.tolist() == pytest.approx([0.0, 5e-6, 7e-6, 9e-6])


def test_a_trace_of_a_device_becomes_its_profile(tmp_path: Path) -> None:
    graph = graph_of(Node("a", "Relu", ("x",), ("h",)), Node("b", "Relu", ("h",), ("y",)))
    events = [kernel(name, "Relu", i, 10 * i + run * 100, 3 + run) for run in (0, 1, 2) for i, name in enumerate("ab")]
    profile = profile_of_trace(graph, write(tmp_path / "t.json", events), Device("nano"))
    assert profile.seconds_on("nano").tolist() == pytest.approx([4.5e-6, 4.5e-6])
    assert "t.json" in profile.sources["nano"]
    other = graph_of(Node("z", "Relu", ("x",), ("y",)))
    with pytest.raises(ProfileError, match="no time for 1 of 1 nodes, first 'z'"):
        profile_of_trace(other, tmp_path / "t.json", Device("nano"))


def test_optimised_nodes_are_matched_by_name_where_the_order_differs(tmp_path: Path) -> None:
    events = [kernel("a", "Add", 0, 0, 5), kernel("b", "Mul", 1, 6, 7)]
    kernels = read_trace(write(tmp_path / "t.json", events))
    nodes = [
        OptimisedNode("b", "Mul", (), ("y",)),
        OptimisedNode("a", "Add", (), ("x",)),
        OptimisedNode("c", "Sub", (), ("z",)),
    ]
    assert match_optimised(nodes, kernels) == [kernels[1], kernels[0], None]


def test_a_constant_does_not_shift_the_times_of_nameless_nodes(tmp_path: Path) -> None:
    graph = graph_of(
        Node("Constant_0", "Constant", (), ("c",)),
        Node("Relu_1", "Relu", ("x",), ("a",)),
        Node("Relu_2", "Relu", ("a",), ("b",)),
    )
    events = [kernel("Relu_0", "Relu", 0, 0, 5), kernel("Relu_1", "Relu", 1, 6, 7)]
    found = times_of_trace(graph, read_trace(write(tmp_path / "t.json", events)), warmup=0)
    assert found.tolist() == pytest.approx([0.0, 5e-6, 7e-6])


def test_optimised_nodes_without_a_name_are_matched_though_the_profile_names_them(tmp_path: Path) -> None:
    events = [kernel("Relu_7", "Relu", 7, 0, 5), kernel("Gemm_9", "Gemm", 9, 6, 7), kernel("Relu_3", "Relu", 3, 14, 2)]
    kernels = read_trace(write(tmp_path / "t.json", events))
    nodes = [OptimisedNode("", "Relu", ("x",), ("a",)), OptimisedNode("", "Gemm", ("a",), ("b",))]
    assert match_optimised([*nodes, OptimisedNode("", "Relu", ("b",), ("y",))], kernels) == kernels
    assert match_optimised([*nodes, OptimisedNode("Relu_3", "Relu", ("b",), ("y",))], kernels) == kernels


def test_shapes_that_inference_left_open_are_learnt_from_the_run(tmp_path: Path) -> None:
    graph = graph_of(Node("a", "Conv", ("x", "w"), ("h",)), Node("b", "Relu", ("h",), ("y",)))
    open_shapes = {"h": Tensor("h", "float32", ("n", 4), None), "y": Tensor("y", "float32", (1, 4), 16)}
    events = [kernel("a", "Conv", 0, 0, 5), kernel("b", "Relu", 1, 6, 7)]
    events[0]["args"]["output_type_shape"] = [{"float": [2, 4]}]
    events[1]["args"]["output_type_shape"] = [{"float": [9, 9]}]
    graph = replace(graph, tensors=open_shapes)
    kernels = match_own_nodes(graph, read_trace(write(tmp_path / "t.json", events)))
    seen = with_seen_shapes(graph, kernels)
    assert seen.tensors["h"] == Tensor("h", "float32", (2, 4), 32)
    assert seen.tensors["y"] == open_shapes["y"]


def test_runs_at_another_pace_do_not_mix_the_medians() -> None:
    shares = np.array([1.0, 5.0, 2.0, 8.0])
    pace = np.array([9.0, 1.0, 1.5, 1.0, 1.5])
    kernels = [KernelTimes(index, f"n{index}", "Op", share * pace) for index, share in enumerate(shares)]
    found = np.array([np.median(values) for values in at_one_pace(kernels, warmup=1)])
    np.testing.assert_allclose(found / found.sum(), shares / shares.sum())
    assert found.sum() == pytest.approx(1.25 * shares.sum())


def test_nodes_that_ran_unequally_often_are_left_as_they_are() -> None:
    kernels = [KernelTimes(0, "a", "Op", np.array([1.0, 2.0])), KernelTimes(1, "b", "Op", np.array([3.0]))]
    assert [values.tolist() for values in at_one_pace(kernels, warmup=0)] == [[1.0, 2.0], [3.0]]
