"""Parts as files: weights linked or copied, an earlier plan replaced, and no half a plan left behind."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from multiedge.errors import ModelError, PlanError
from multiedge.graph import Graph
from multiedge.onnx_io.manifest import digest_of, read_manifest
from multiedge.onnx_io.reader import read_graph
from multiedge.onnx_io.weight_files import ALIGNMENT
from multiedge.onnx_io.writer import write_parts
from multiedge.plan import CALLER, Manifest
from tests.builders.onnx_models import layers, noise, parsed, saved
from tests.builders.parts import plan_of, spans

SIDE = 64
"""A float32 matrix of this side has 16 KiB."""


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return read_graph(saved(layers(3, SIDE), tmp_path / "model.onnx"))


def write(graph: Graph, folder: Path, boundaries: list[int], **options: Any) -> Manifest:
    return write_parts(graph, plan_of(graph, spans(len(graph.nodes), boundaries)), folder, **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def references_of(folder: Path, file: str) -> dict[str, dict[str, str]]:
    model = onnx.load(folder / file, load_external_data=False)
    return {tensor.name: {entry.key: entry.value for entry in tensor.external_data} for tensor in model.graph.initializer}


def weights_of(folder: Path, file: str) -> dict[str, bytes]:
    """The bytes of a part's weights by name; onnx's own loader follows no hard links."""
    read = {}
    for name, place in references_of(folder, file).items():
        start = int(place["offset"])
        read[name] = (folder / place["location"]).read_bytes()[start : start + int(place["length"])]
    return read


def test_linked_parts_share_the_models_own_bytes(graph: Graph, tmp_path: Path) -> None:
    manifest = write(graph, tmp_path / "parts", [1, 2])
    assert names(tmp_path / "parts") == [
        "plan.json",
        "sub_model_1.onnx",
        "sub_model_2.onnx",
        "sub_model_3.onnx",
        "weights_1.linked",
    ]
    assert (tmp_path / "parts/weights_1.linked").samefile(tmp_path / "model.onnx")
    assert manifest.weights == "linked"
    assert max((tmp_path / "parts" / part.file).stat().st_size for part in manifest.parts) < 2000


def test_copied_parts_hold_their_own_weights_and_no_others(graph: Graph, tmp_path: Path) -> None:
    manifest = write(graph, tmp_path / "parts", [1], copy_weights=True)
    assert manifest.weights == "copied"
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "parts").glob("*.weights")}
    assert sizes == {"sub_model_1.weights": 4 * SIDE**2, "sub_model_2.weights": 8 * SIDE**2}
    assert list(weights_of(tmp_path / "parts", "sub_model_1.onnx")) == ["w1"]


@pytest.mark.parametrize("copy_weights", [False, True])
def test_weights_of_parts_are_those_of_the_model(graph: Graph, tmp_path: Path, copy_weights: bool) -> None:
    write(graph, tmp_path / "parts", [2], copy_weights=copy_weights)
    whole = {tensor.name: tensor.raw_data for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer}
    parts = weights_of(tmp_path / "parts", "sub_model_1.onnx") | weights_of(tmp_path / "parts", "sub_model_2.onnx")
    assert parts == whole


def test_copied_weights_begin_at_whole_pages(tmp_path: Path) -> None:
    """The first weight has 1,200 bytes, so that the second would begin at no multiple of anything."""
    model = parsed(
        "g (float[1,64] x) => (float[1,64] y, float z) { a = MatMul(x, w)  z = ReduceMax<keepdims = 0>(a, odd)  y = Neg(a) }",
        odd=noise(300),
        w=noise(64, 64),
    )
    model.graph.node[1].input[:] = ["odd"]
    graph = read_graph(saved(model, tmp_path / "model.onnx"))
    write_parts(graph, plan_of(graph, [range(len(graph.nodes))]), tmp_path / "parts", copy_weights=True)
    places = references_of(tmp_path / "parts", "sub_model_1.onnx")
    offsets = sorted(int(place["offset"]) for place in places.values() if place)
    assert offsets == [0, ALIGNMENT]


def test_weights_that_share_their_bytes_are_stored_once(tmp_path: Path) -> None:
    """Two names for one range of a file of weights, as some exporters tie embeddings."""
    model = parsed(
        "g (float[1,64] x) => (float[1,64] y) { a = MatMul(x, w)  y = MatMul(a, v) }", w=noise(64, 64), v=noise(64, 64)
    )
    (tmp_path / "w.bin").write_bytes(noise(64, 64).tobytes())
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="w.bin")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    graph = read_graph(tmp_path / "model.onnx")
    write_parts(graph, plan_of(graph, [[0, 1]]), tmp_path / "parts", copy_weights=True)
    assert (tmp_path / "parts/sub_model_1.weights").stat().st_size == 4 * 64 * 64
    places = references_of(tmp_path / "parts", "sub_model_1.onnx")
    assert places["w"] == places["v"]


def test_a_model_without_large_weights_needs_no_weights_file(tmp_path: Path) -> None:
    graph = read_graph(saved(layers(2, 4), tmp_path / "model.onnx"))
    for number, copy_weights in enumerate((False, True)):
        write(graph, tmp_path / str(number), [1], copy_weights=copy_weights)
        assert names(tmp_path / str(number)) == ["plan.json", "sub_model_1.onnx", "sub_model_2.onnx"]


def test_where_files_cannot_be_linked_weights_are_copied(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    manifest = write(graph, tmp_path / "parts", [1])
    assert manifest.weights == "copied"
    assert not list((tmp_path / "parts").glob("*.linked"))
    read_manifest(tmp_path / "parts")


@pytest.mark.parametrize("copy_weights", [False, True])
def test_digests_are_those_of_the_files(graph: Graph, tmp_path: Path, copy_weights: bool) -> None:
    manifest = write(graph, tmp_path / "parts", [1], copy_weights=copy_weights)
    for part in manifest.parts:
        for name, known in part.files.items():
            if known.startswith("xxh3:"):
                assert digest_of(tmp_path / "parts" / name) == known
    assert read_manifest(tmp_path / "parts").parts == manifest.parts


def test_the_manifest_says_what_moves_and_where(graph: Graph, tmp_path: Path) -> None:
    manifest = write(graph, tmp_path / "parts", [1, 2])
    assert [(part.stage, part.file, part.device, part.inputs, part.outputs) for part in manifest.parts] == [
        (0, "sub_model_1.onnx", "device_0", ("x",), ("h1",)),
        (1, "sub_model_2.onnx", "device_1", ("h1",), ("h2",)),
        (2, "sub_model_3.onnx", "device_2", ("h2",), ("y",)),
    ]
    assert {(move.source, move.target, move.tensors, move.nbytes) for move in manifest.transfers} == {
        (CALLER, 0, ("x",), 256),
        (0, 1, ("h1",), 256),
        (1, 2, ("h2",), 256),
        (2, CALLER, ("y",), 256),
    }
    assert (manifest.inputs, manifest.outputs, manifest.model_hash) == (("x",), ("y",), graph.model_hash)
    assert manifest.model == str(tmp_path / "model.onnx")


def test_an_output_that_no_node_makes_comes_from_the_first_stage(tmp_path: Path) -> None:
    model = parsed("g (float[4] x) => (float[4] y, float[4] k) { a = Exp(x)  y = Neg(a) }", k=noise(4))
    graph = read_graph(saved(model, tmp_path / "model.onnx"))
    manifest = write(graph, tmp_path / "parts", [1])
    assert [part.outputs for part in manifest.parts] == [("a", "k"), ("y",)]
    assert [move.nbytes for move in manifest.transfers if move.tensors == ("k",)] == [16]


def test_outputs_come_in_the_order_in_which_they_are_made(tmp_path: Path) -> None:
    model = parsed(
        "g (float[4] x) => (float[4] y, float[4] b, float[4] a) { a = Exp(x)  b = Neg(a)  c = Abs(b)  y = Add(c, a) }"
    )
    graph = read_graph(saved(model, tmp_path / "model.onnx"))
    assert [part.outputs for part in write(graph, tmp_path / "parts", [2]).parts] == [("a", "b"), ("y",)]


def test_a_new_plan_takes_the_place_of_the_old_one_and_of_nothing_else(graph: Graph, tmp_path: Path) -> None:
    write(graph, tmp_path / "parts", [1, 2], copy_weights=True)
    (tmp_path / "parts/.sub_model_9.partial").write_bytes(b"left by a run that was killed")
    (tmp_path / "parts/notes.txt").write_text("mine")
    write(graph, tmp_path / "parts", [1])
    assert names(tmp_path / "parts") == ["notes.txt", "plan.json", "sub_model_1.onnx", "sub_model_2.onnx", "weights_1.linked"]


def test_parts_may_be_written_beside_the_model(graph: Graph, tmp_path: Path) -> None:
    write(graph, tmp_path, [1])
    write(graph, tmp_path, [2])
    assert read_graph(tmp_path / "model.onnx").model_hash == graph.model_hash
    assert len(read_manifest(tmp_path).parts) == 2


def test_a_graph_that_was_not_read_from_a_file_is_refused(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="layers: this graph was not read from a file, so there is nothing to cut"):
        write(replace(graph, path=None), tmp_path / "parts", [1])


def test_a_model_that_has_changed_is_refused_before_anything_is_written(graph: Graph, tmp_path: Path) -> None:
    saved(layers(4, SIDE), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"model\.onnx: has changed since it was read; read it again and plan anew"):
        write(graph, tmp_path / "parts", [1])
    assert not (tmp_path / "parts").exists()


def test_a_folder_that_cannot_be_written_is_named(graph: Graph, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlanError, match=r"file/parts: cannot be written: .*Not a directory"):
        write(graph, tmp_path / "file" / "parts", [1])


def test_a_weights_file_that_ends_early_is_no_plan(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is cut short after it was opened, while its weights are being copied."""
    from multiedge.onnx_io import weight_files

    genuine = weight_files._copy

    def shortened(path: Path, offsets: Any) -> str:
        os.truncate(tmp_path / "model.onnx", 100)
        return genuine(path, offsets)

    monkeypatch.setattr(weight_files, "_copy", shortened)
    with pytest.raises(ModelError, match="the weights file ended while it was being copied; write the parts again"):
        write(graph, tmp_path / "parts", [1], copy_weights=True)
    assert not (tmp_path / "parts/plan.json").exists()
