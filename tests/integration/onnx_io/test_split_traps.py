"""Every trap, cut at each of its boundaries and at all of them together, gives what the whole model gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from multiedge.check import check
from multiedge.onnx_io import random_inputs, read_graph
from tests.builders.onnx_traps import TRAPS
from tests.builders.parts import split_at

CLOSE = 1e-4
EMPTY = {"empty_tensors": {"x": [0, 4]}}
"""Sizes of 0 in a file are read as open; where an empty tensor is meant, its shape must be given."""
LOOSER = {
    # onnxruntime computes half precision on a CPU in single precision and rounds where a session ends, at every level.
    "half_precision_weights": ("disabled all", 2e-3),
    # Fused integer kernels replace groups of nodes that a cut can part; they differ by one step of the quantisation.
    "quantised_with_qdq": ("all", 1e-2),
    "four_bit_weights": ("all", 1e-2),
}


@pytest.fixture(params=sorted(TRAPS))
def trap(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    path = tmp_path / "model.onnx"
    onnx.save(TRAPS[request.param](), path)
    return request.param, path


@pytest.mark.parametrize(("copy_weights", "relay"), [(False, False), (True, True)], ids=["linked-direct", "copied-relay"])
def test_parts_equal_the_whole_wherever_the_cut(
    trap: tuple[str, Path], tmp_path: Path, copy_weights: bool, relay: bool
) -> None:
    name, path = trap
    count = len(read_graph(path).nodes)
    levels, tolerance = LOOSER.get(name, ("", CLOSE))
    for boundaries in [*([place] for place in range(1, count)), list(range(1, count))]:
        split_at(path, boundaries, tmp_path / "parts", copy_weights=copy_weights, relay=relay)
        exact = check(tmp_path / "parts", shapes=EMPTY.get(name))
        assert exact.bitwise or ("disabled" in levels and exact.passes(tolerance)), (boundaries, exact.outputs)
        used = check(tmp_path / "parts", shapes=EMPTY.get(name), options={})
        assert used.passes(tolerance if "all" in levels else CLOSE), (boundaries, used.outputs)


def test_plain_onnxruntime_opens_every_part(trap: tuple[str, Path], tmp_path: Path) -> None:
    _, path = trap
    count = len(read_graph(path).nodes)
    for copy_weights in (False, True):
        manifest = split_at(path, [count // 2], tmp_path / "parts", copy_weights=copy_weights)
        for part in manifest.parts:
            session = ort.InferenceSession(str(tmp_path / "parts" / part.file), providers=["CPUExecutionProvider"])
            assert tuple(value.name for value in session.get_inputs()) == part.inputs


def test_onnx_finds_no_fault_with_the_parts(trap: tuple[str, Path], tmp_path: Path) -> None:
    name, path = trap
    if name in ("custom_domain", "optional_outputs_left_out", "sparse_weights", "nodes_out_of_order"):
        pytest.skip("onnx.checker refuses or does not know the whole model either")
    manifest = split_at(path, [len(read_graph(path).nodes) // 2], tmp_path / "parts", copy_weights=True)
    for part in manifest.parts:
        onnx.checker.check_model(str(tmp_path / "parts" / part.file))


def test_metadata_is_kept(tmp_path: Path) -> None:
    whole = TRAPS["metadata_everywhere"]()
    onnx.save(whole, tmp_path / "model.onnx")
    for part in split_at(tmp_path / "model.onnx", [3], tmp_path / "parts").parts:
        kept = onnx.load(tmp_path / "parts" / part.file, load_external_data=False)
        for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string", "ir_version"):
            assert getattr(kept, field) == getattr(whole, field)
        assert [(entry.key, entry.value) for entry in kept.metadata_props] == [("classes", "cat,dog"), ("licence", "none")]
        assert list(kept.opset_import) == list(whole.opset_import)


def test_parts_hold_only_what_they_need(tmp_path: Path) -> None:
    onnx.save(TRAPS["functions_of_the_model"](), tmp_path / "model.onnx")
    manifest = split_at(tmp_path / "model.onnx", [2], tmp_path / "parts")
    functions = [{f.name for f in onnx.load(tmp_path / "parts" / part.file).functions} for part in manifest.parts]
    assert functions == [{"twice"}, {"twice", "outer"}]
    onnx.save(TRAPS["old_opset_with_weights_as_inputs"](), tmp_path / "old.onnx")
    first, second = split_at(tmp_path / "old.onnx", [1], tmp_path / "old").parts
    assert [t.name for t in onnx.load(tmp_path / "old" / first.file, load_external_data=False).graph.initializer] == ["w"]
    assert second.inputs == ("a",), "weights that IR 3 lists as inputs are no inputs of a part"


def test_indices_stay_within_their_table(tmp_path: Path) -> None:
    onnx.save(TRAPS["table_looked_up_by_index"](), tmp_path / "model.onnx")
    graph = read_graph(tmp_path / "model.onnx")
    drawn = np.concatenate([random_inputs(graph, seed)["ids"].ravel() for seed in range(20)])
    assert drawn.min() >= 0
    assert 8 <= drawn.max() < 11


def test_sizes_that_nodes_compute_are_those_of_a_run(tmp_path: Path) -> None:
    model = TRAPS["scalars_across_the_cut"]()
    onnx.save(model, tmp_path / "model.onnx")
    graph = read_graph(tmp_path / "model.onnx")
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in graph.tensors if name not in ("x", "y"))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = dict(zip([value.name for value in session.get_outputs()], session.run(None, random_inputs(graph)), strict=True))
    assert {name: value.shape for name, value in found.items()} == {name: graph.tensors[name].shape for name in found}
