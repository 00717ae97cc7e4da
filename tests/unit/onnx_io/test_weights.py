"""External data: references that are checked before anything follows them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto

from multiedge.errors import ModelError
from multiedge.onnx_io.weights import Reference, inline, is_external, refer, reference


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with `w.bin` of 100 bytes and what must not be reached, in a folder of its own."""
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    (home / "w.bin").write_bytes(bytes(range(100)))
    (home / "data/deep.bin").write_bytes(b"deep")
    (tmp_path / "secret").write_bytes(b"secret")
    (home / "link").symlink_to(tmp_path / "secret")
    (home / "out").symlink_to(tmp_path)
    (home / "inner").symlink_to(home / "data/deep.bin")
    os.mkfifo(home / "pipe")
    return home


def external(location: str | None, **entries: object) -> Any:
    tensor = TensorProto(name="w", data_location=TensorProto.EXTERNAL)
    named = entries if location is None else {"location": location, **entries}
    for key, value in named.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


@pytest.mark.parametrize(
    ("tensor", "place"),
    [
        pytest.param(external("w.bin"), ("w.bin", 0, 100), id="the-whole-file"),
        pytest.param(external("w.bin", offset=40), ("w.bin", 40, 60), id="to-the-end"),
        pytest.param(external("w.bin", offset=40, length=8), ("w.bin", 40, 8), id="a-range"),
        pytest.param(external("w.bin", offset=100, length=0), ("w.bin", 100, 0), id="nothing-at-the-end"),
        pytest.param(external("./data/../w.bin".replace("data/../", "")), ("w.bin", 0, 100), id="dot"),
        pytest.param(external("data/deep.bin"), ("data/deep.bin", 0, 4), id="a-folder-below"),
        pytest.param(external("inner"), ("data/deep.bin", 0, 4), id="a-link-that-stays-inside"),
        pytest.param(external("w.bin", checksum="abc"), ("w.bin", 0, 100), id="unknown-entries"),
    ],
)
def test_a_sound_reference(folder: Path, tensor: Any, place: tuple[str, int, int]) -> None:
    name, offset, length = place
    assert reference(tensor, folder) == Reference((folder / name).resolve(), offset, length)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        pytest.param(external(None), "must lie in the model's folder, got ''", id="no-location"),
        pytest.param(external("../secret"), "must lie in the model's folder", id="parent"),
        pytest.param(external("data/../../secret"), "must lie in the model's folder", id="parent-in-the-middle"),
        pytest.param(external("/etc/hostname"), "must lie in the model's folder", id="absolute"),
        pytest.param(external("a\0b"), "must lie in the model's folder", id="zero-byte"),
        pytest.param(external("link"), "leads out of the model's folder by a symbolic link", id="link-out"),
        pytest.param(external("out/secret"), "leads out of the model's folder by a symbolic link", id="folder-link-out"),
        pytest.param(external("."), "leads out of the model's folder", id="the-folder-itself"),
        pytest.param(external("data"), "expected external data in a file, but 'data' is a folder", id="a-folder"),
        pytest.param(external("pipe"), "expected external data in a file, but 'pipe' is a folder, a pipe", id="a-pipe"),
        pytest.param(external("absent"), "file 'absent' cannot be read: No such file or directory", id="absent"),
        pytest.param(external("n" * 300), "cannot be read: File name too long", id="too-long"),
        pytest.param(external("w.bin", offset=-1), "bytes -1 to 100 lie outside 'w.bin', which has 100", id="negative"),
        pytest.param(external("w.bin", length=-1), "lie outside", id="negative-length"),
        pytest.param(external("w.bin", offset=60, length=41), "bytes 60 to 101 lie outside", id="past-the-end"),
        pytest.param(external("w.bin", offset=1 << 70), "lie outside", id="far-past-the-end"),
        pytest.param(external("w.bin", offset="ten"), "expected offset and length as numbers", id="no-number"),
        pytest.param(external("w.bin", length=""), "expected offset and length as numbers", id="empty-number"),
        pytest.param(external("w.bin", length="9" * 5000), "expected offset and length as numbers", id="5000-digits"),
    ],
)
def test_a_reference_that_is_not_followed(folder: Path, tensor: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        reference(tensor, folder)
    assert str(caught.value).startswith("initialiser 'w': ")
    assert "\n" not in str(caught.value)


def test_a_file_is_looked_up_once_for_all_its_tensors(folder: Path) -> None:
    files: dict[str, tuple[Path, int]] = {}
    first = reference(external("w.bin", offset=0, length=10), folder, files)
    (folder / "w.bin").unlink()
    second = reference(external("w.bin", offset=10, length=10), folder, files)
    assert (first.file, first.offset, second.offset) == (second.file, 0, 10)


def test_data_is_put_inside_a_tensor(folder: Path) -> None:
    tensor = external("w.bin", offset=3, length=4)
    inline(tensor, reference(tensor, folder))
    assert (tensor.raw_data, is_external(tensor), len(tensor.external_data)) == (b"\x03\x04\x05\x06", False, 0)


def test_a_tensor_refers_to_one_place_only(folder: Path) -> None:
    tensor = external("elsewhere", offset=9, length=9, checksum="abc")
    refer(tensor, "w.bin", 8, 16)
    assert is_external(tensor)
    assert reference(tensor, folder) == Reference((folder / "w.bin").resolve(), 8, 16)
    assert [entry.key for entry in tensor.external_data] == ["location", "offset", "length"]
