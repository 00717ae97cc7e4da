"""Archives of arrays: what fits is read, and what is hostile is refused before it is unpacked."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from multiedge.errors import ConfigError
from multiedge.graph import Tensor
from multiedge.onnx_io.npz import read_npz

FIXED = {"x": Tensor("x", "float32", (2, 3))}
DYNAMIC = {"x": Tensor("x", "float32", ("n", 3))}
FREE = {"x": Tensor("x", None, None)}


def header(text: str, version: bytes = b"\1\0") -> bytes:
    size = len(text).to_bytes(2 if version == b"\1\0" else 4, "little")
    return b"\x93NUMPY" + version + size + text.encode()


def described(shape: object, dtype: str = "<f4") -> str:
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n"


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return path


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_wrote_is_read_as_it_was(tmp_path: Path, order: str, save) -> None:
    array = np.asarray(np.arange(6, dtype=np.float32).reshape(2, 3), order=order)
    save(tmp_path / "a.npz", x=array)
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz", FIXED)["x"], array)


@pytest.mark.parametrize(
    ("inputs", "data", "line"),
    [
        (FIXED, header(described((2**62, 2**62))), "expected float32 [2, 3], got float32 [4611686018427387904, 461"),
        (DYNAMIC, header(described((2**62, 3))), "expected at most 1.0 GiB, got "),
        (DYNAMIC, header(described((10**40, 3))), "expected at most 1.0 GiB, got "),
        (DYNAMIC, header(described((2**20, 3))), "expected 12582912 bytes for float32 [1048576, 3], the file has other"),
        (DYNAMIC, header(described((1, 3))) + bytes(13), "expected 12 bytes for float32 [1, 3], the file has other content"),
        (DYNAMIC, header(described((-1, 3))), "expected an .npz"),
        (FREE, header(described((2,), "|O")), "expected an .npz"),
        (FREE, header(described((2**40,), "|V0")), "expected an .npz"),
        (FREE, header(described("(" * 2000 + ")" * 2000)), "expected an .npz"),
        (FREE, header(described(f"({'9' * 8000},)")), "expected an .npz"),
        (FREE, header(" " * 20_000), "expected an .npz"),
        (FREE, header(" ", b"\2\0")[:8] + b"\xff\xff\xff\xff", "expected an .npz"),
        (FREE, b"", "expected an .npz"),
    ],
)
def test_a_hostile_header_is_refused_in_one_line(tmp_path: Path, inputs, data: bytes, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_npz(archive(tmp_path / "a.npz", x=data), inputs)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("front", [header(described((2, 3))), header("", b"\2\0")[:8] + b"\xff\xff\xff\x0f"])
def test_an_archive_that_unpacks_to_gigabytes_takes_no_memory(tmp_path: Path, front: bytes) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("x.npy", "w") as member:
        member.write(front)
        for _ in range(64):
            member.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(ConfigError):
        read_npz(path, FIXED)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_other_members_are_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 3), np.float32))
    path = archive(tmp_path / "a.npz", x=buffer.getvalue())
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("x", b"text")
    with pytest.raises(ConfigError, match=r"expected one array 'x\.npy', got another member 'x'"):
        read_npz(path, FIXED)


def test_a_named_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(ConfigError, match=r"is no regular file; expected an \.npz"):
        read_npz(tmp_path / "a.npz", FIXED)
