"""Damaged, hostile and stale files: one clear error, no crash, and nothing outside the folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from multiedge.check import check
from multiedge.errors import CutError, ModelError, MultiedgeError, PlanError
from multiedge.onnx_io import read_graph, read_manifest, write_parts
from tests.builders.onnx_models import noise, parsed
from tests.builders.onnx_traps import TRAPS
from tests.builders.parts import plan_of, spans, split_at

SEEDED = ("skip_connections", "branches_that_capture", "functions_of_the_model", "quantised_with_qdq", "sparse_weights")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(chain(), path)
    return path


def chain() -> onnx.ModelProto:
    return parsed(
        "g (float[1,64] x) => (float[1,64] y) { a = MatMul(x, w)  b = Tanh(a)  c = MatMul(b, v)  y = Tanh(c) }",
        w=noise(64, 64),
        v=noise(64, 64, seed=1),
    )


def external(path: Path, location: str, **entries: object) -> None:
    """Saves the chain with `w` said to lie at `location`."""
    proto = chain()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    path.write_bytes(proto.SerializeToString())


@pytest.mark.parametrize("name", SEEDED)
@pytest.mark.parametrize("damage", ["truncate", "flip", "overwrite"])
def test_damaged_models_never_crash(tmp_path: Path, name: str, damage: str) -> None:
    """Either the damage is noticed, with one of our errors, or what is left is a model that can be read and written."""
    raw = TRAPS[name]().SerializeToString()
    generator = np.random.default_rng(len(raw))
    refusals = []
    for _ in range(60):
        path = tmp_path / "model.onnx"
        path.write_bytes(_damaged(raw, damage, generator))
        try:
            graph = read_graph(path)
            write_parts(graph, plan_of(graph, spans(len(graph.nodes), [1])), tmp_path / "parts")
        except MultiedgeError as error:
            refusals.append(str(error).strip())
    assert refusals
    assert all(refusals)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"model.onnx", "parts"}


def _damaged(raw: bytes, damage: str, generator: np.random.Generator) -> bytes:
    data = bytearray(raw)
    place = int(generator.integers(len(data)))
    if damage == "truncate":
        del data[place:]
    elif damage == "flip":
        data[place] ^= 1 << int(generator.integers(8))
    else:
        data[place : place + 16] = generator.bytes(16)
    return bytes(data)


@pytest.mark.parametrize(
    "location",
    ["../" * 10 + "etc/hostname", "/etc/hostname", "", "sub/../../secret", "link", "folder/secret", "absent.bin", "."],
)
def test_weights_are_never_taken_from_elsewhere(tmp_path: Path, location: str) -> None:
    home = tmp_path / "a/b/c"
    home.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret" * 10000)
    (home / "link").symlink_to(tmp_path / "secret")
    (home / "folder").symlink_to(tmp_path)
    external(home / "model.onnx", location)
    with pytest.raises(ModelError, match="'w'"):
        read_graph(home / "model.onnx")


def test_weights_already_outside_the_file(tmp_path: Path) -> None:
    """With an offset, without a length, and in a folder below."""
    folder = tmp_path / "model" / "data"
    folder.mkdir(parents=True)
    weights = noise(64, 64)
    (folder / "w.bin").write_bytes(b"\0" * 4096 + weights.tobytes())
    external(tmp_path / "model" / "model.onnx", "data/w.bin", offset=4096)
    for copy_weights in (False, True):
        split_at(tmp_path / "model" / "model.onnx", [1, 3], tmp_path / "parts", copy_weights=copy_weights)
        assert check(tmp_path / "parts").bitwise


def test_two_functions_of_one_name_leave_types_open_and_are_no_traceback(tmp_path: Path) -> None:
    proto = TRAPS["functions_of_the_model"]()
    proto.functions.append(proto.functions[0])
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    assert read_graph(tmp_path / "model.onnx").nodes


def test_stale_parts_are_never_used(model: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    for copy_weights in (False, True):
        split_at(model, [2], parts, copy_weights=copy_weights)
        for name in sorted(entry.name for entry in parts.iterdir()):
            if name == "plan.json" or name.endswith(".linked"):
                continue
            kept = (parts / name).read_bytes()
            (parts / name).write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
            with pytest.raises(PlanError, match=f"'{name}' has changed"):
                read_manifest(parts)
            (parts / name).unlink()
            with pytest.raises(PlanError, match=f"'{name}' is missing"):
                read_manifest(parts)
            (parts / name).write_bytes(kept)
        read_manifest(parts)


def test_linked_weights_that_change_are_noticed(model: Path, tmp_path: Path) -> None:
    split_at(model, [2], tmp_path / "parts")
    with model.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    os.utime(model, ns=(1, 1))
    with pytest.raises(PlanError, match="has changed"):
        read_manifest(tmp_path / "parts")


def test_a_replaced_model_leaves_the_parts_sound_and_the_check_says_so(model: Path, tmp_path: Path) -> None:
    split_at(model, [2], tmp_path / "parts")
    proto = chain()
    proto.graph.node[1].op_type = "Sigmoid"
    onnx.save(proto, tmp_path / "new.onnx")
    os.replace(tmp_path / "new.onnx", model)
    read_manifest(tmp_path / "parts")
    with pytest.raises(ModelError, match="has changed"):
        check(tmp_path / "parts")


def test_a_failed_write_leaves_no_plan(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tmp_path / "parts"
    split_at(model, [1, 2], parts)
    calls = iter(range(100))
    genuine = os.replace

    def failing(source: str, target: str) -> None:
        if next(calls) == 1:
            raise OSError(28, "No space left on device")
        genuine(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(PlanError, match="no space left"):
        split_at(model, [2], parts)
    with pytest.raises(PlanError, match=r"holds no plan\.json"):
        read_manifest(parts)
    monkeypatch.setattr(os, "replace", genuine)
    split_at(model, [2], parts)
    assert sorted(entry.name for entry in parts.iterdir()) == [
        "plan.json",
        "sub_model_1.onnx",
        "sub_model_2.onnx",
        "weights_1.linked",
    ]


def test_a_cut_through_an_unknown_type_is_refused_by_name(tmp_path: Path) -> None:
    text = "g (float[4] x) => (float[4] y) { a = Exp(x)  b = nowhere.Strange(a)  c = nowhere.Stranger(b)  y = Neg(c) }"
    onnx.save(parsed(text, opsets='"" : 17, "nowhere" : 1'), tmp_path / "model.onnx")
    with pytest.raises(CutError, match=r"'b'.*Strange"):
        split_at(tmp_path / "model.onnx", [2], tmp_path / "parts")
    split_at(tmp_path / "model.onnx", [1], tmp_path / "parts")
