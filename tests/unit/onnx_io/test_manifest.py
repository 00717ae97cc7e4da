"""plan.json: what is written is read again, and a file that is not as written is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from multiedge.errors import MultiedgeError, PlanError
from multiedge.onnx_io.manifest import FILE_NAME, SCHEMA, digest_of, fingerprint, read_manifest, to_json, write_manifest
from multiedge.plan import CALLER, Manifest, Part, Transfer
from tests.builders.refusals import refusal, with_one_value_changed


def manifest_in(folder: Path) -> Manifest:
    """Two parts of made-up files: one digested, one of linked weights."""
    folder.mkdir(exist_ok=True)
    for name in ("a.onnx", "b.onnx", "weights.linked"):
        (folder / name).write_text(f"content of {name}")
        os.utime(folder / name, ns=(1, 1))
    parts = (
        Part(0, "a.onnx", "phone", ("x",), ("h",), {"a.onnx": digest_of(folder / "a.onnx")}, ("tablet",)),
        Part(
            1,
            "b.onnx",
            "laptop",
            ("h",),
            ("y",),
            {"b.onnx": digest_of(folder / "b.onnx"), "weights.linked": fingerprint(folder / "weights.linked")},
        ),
    )
    moves = (Transfer(CALLER, 0, ("x",), 16), Transfer(0, 1, ("h",), 8), Transfer(1, CALLER, ("y",), 4))
    return Manifest("model.onnx", "abc", ("x",), ("y",), parts, moves, "linked", str(folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_manifest(manifest_in(tmp_path / "parts"))
    return tmp_path / "parts"


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    change(data)
    (folder / FILE_NAME).write_text(json.dumps(data), encoding="utf-8")


def test_what_is_written_is_read_again(folder: Path) -> None:
    assert read_manifest(folder) == manifest_in(folder)
    assert read_manifest(str(folder)) == manifest_in(folder)


def test_a_folder_that_was_moved_is_read_where_it_is(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "elsewhere")
    assert read_manifest(tmp_path / "elsewhere").directory == str(tmp_path / "elsewhere")


def test_the_file_is_put_into_place_as_a_whole(folder: Path) -> None:
    write_manifest(manifest_in(folder))
    assert [path.name for path in folder.iterdir() if "plan" in path.name] == [FILE_NAME]


def test_the_schema_stands_first_and_its_name_is_fixed(folder: Path) -> None:
    data = to_json(manifest_in(folder))
    assert next(iter(data.items())) == ("schema", SCHEMA)
    assert SCHEMA == "multiedge.plan/1"


@pytest.mark.parametrize(
    ("damage", "violations"),
    [
        pytest.param(lambda f: (f / "a.onnx").unlink(), ["'a.onnx' is missing"], id="missing"),
        pytest.param(
            lambda f: (f / "a.onnx").write_text("content of b.onnx"),
            ["'a.onnx' has changed since the plan was written"],
            id="changed",
        ),
        pytest.param(
            lambda f: (f / "weights.linked").write_text("longer than it was before"),
            ["'weights.linked' has changed since the plan was written"],
            id="linked-weights-changed",
        ),
        pytest.param(
            lambda f: [path.unlink() for path in f.glob("*.onnx")],
            ["'a.onnx' is missing", "'b.onnx' is missing"],
            id="everything-wrong-is-listed",
        ),
        pytest.param(
            lambda f: edit(f, lambda data: data["parts"][0]["files"].update({"../secret": "xxh3:0"})),
            ["'../secret' leads out of the plan's folder"],
            id="out-of-the-folder",
        ),
        pytest.param(
            lambda f: edit(f, lambda data: data["parts"][0].update(file="c.onnx")),
            ["'c.onnx' is not among its part's files"],
            id="a-part-whose-file-has-no-digest",
        ),
        pytest.param(
            lambda f: ((f / "a.onnx").unlink(), (f / "a.onnx").mkdir()), ["'a.onnx' is missing"], id="a-folder-in-its-place"
        ),
    ],
)
def test_a_file_that_is_not_as_written_is_named(folder: Path, damage: Callable[[Path], Any], violations: list[str]) -> None:
    damage(folder)
    with pytest.raises(PlanError, match="write the parts again") as caught:
        read_manifest(folder)
    assert list(caught.value.violations) == violations
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        pytest.param(lambda data: data.pop("parts"), "parts", id="no-parts"),
        pytest.param(lambda data: data.update(parts={"a": 1}), "parts", id="parts-no-list"),
        pytest.param(lambda data: data["parts"][1].update(stage="first"), "parts[1].stage", id="stage-no-number"),
        pytest.param(lambda data: data["parts"][1].update(files=["b.onnx"]), "parts[1].files", id="files-no-mapping"),
        pytest.param(lambda data: data["parts"][0]["files"].update({"a.onnx": 5}), "files", id="digest-no-text"),
        pytest.param(lambda data: data["transfers"][0].update(nbytes="many"), "transfers[0].nbytes", id="bytes-no-number"),
        pytest.param(lambda data: data["transfers"][1].pop("tensors"), "transfers[1].tensors", id="no-tensors"),
        pytest.param(lambda data: data.update(inputs="x"), "inputs", id="inputs-no-list"),
        pytest.param(lambda data: data.pop("model_hash"), "model_hash", id="no-hash"),
    ],
)
def test_a_damaged_field_is_named_by_its_path(folder: Path, change: Callable[[dict[str, Any]], Any], place: str) -> None:
    edit(folder, change)
    with pytest.raises(MultiedgeError) as caught:
        read_manifest(folder)
    line = str(caught.value)
    assert line.startswith(f"{folder / FILE_NAME}: ")
    assert place in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="half"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"\xff\xfe", id="no-text"),
        pytest.param(b'{"schema": "multiedge.plan/99"}', id="another-schema"),
        pytest.param(b'{"model": "m"}', id="no-schema"),
    ],
)
def test_what_is_no_manifest_is_one_line(folder: Path, content: bytes) -> None:
    (folder / FILE_NAME).write_bytes(content)
    with pytest.raises(MultiedgeError, match=r"plan\.json") as caught:
        read_manifest(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_plan_says_how_to_make_one(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(PlanError, match=r"holds no plan\.json; make one with: multiedge plan MODEL"):
            read_manifest(place)
    (tmp_path / "file").touch()
    with pytest.raises(PlanError, match="is a file, expected the folder of a plan"):
        read_manifest(tmp_path / "file")


def test_a_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    for name, content in (("a", b"same"), ("b", b"same"), ("c", b"other"), ("empty", b""), ("large", bytes(3 << 20))):
        (tmp_path / name).write_bytes(content)
    digests = {name: digest_of(tmp_path / name) for name in ("a", "b", "c", "empty", "large")}
    assert digests["a"] == digests["b"]
    assert len(set(digests.values())) == 4
    assert digests["empty"] == "xxh3:99aa06d3014798d86001c324468d497f", "XXH3's published value for no bytes"


def test_a_fingerprint_follows_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"1234")
    os.utime(path, ns=(5, 7))
    assert fingerprint(path) == "stat:4:7"


def test_any_damaged_value_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    data = json.loads(json.dumps(to_json(manifest_in(folder))))

    @given(with_one_value_changed(data))
    def check(damaged: object) -> None:
        (folder / FILE_NAME).write_text(json.dumps(damaged, default=str), encoding="utf-8")
        message = refusal(lambda: read_manifest(folder), PlanError)
        assert message is None or (message.startswith(str(folder)) and "\n" not in message)

    check()


@pytest.mark.parametrize("name", ["a\nb", "../a\nb", "\ud800", "x" * 300])
def test_a_name_that_no_file_has_is_refused_in_one_line(folder: Path, name: str) -> None:
    edit(folder, lambda data: data["parts"][0]["files"].update({name: "xxh3:0"}))
    with pytest.raises(PlanError) as refused:
        read_manifest(folder)
    assert "\n" not in str(refused.value)
