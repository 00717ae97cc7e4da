"""The program that converts: where it is ended, that is told apart from a refusal."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from multiedge.backends.ncnn.convert import convert
from multiedge.errors import ModelError
from tests.builders.onnx_models import parsed, saved


@pytest.mark.parametrize(
    ("ending", "said", "cause"),
    [
        ("kill -9 $$", r"pnnx was stopped by signal 9", subprocess.CalledProcessError),
        ("echo unknown operator >&2; exit 3", r"pnnx cannot convert this file: unknown operator", type(None)),
    ],
    ids=["killed", "refused"],
)
def test_a_converter_that_was_killed_has_not_refused(tmp_path: Path, ending: str, said: str, cause: type) -> None:
    program = tmp_path / "lib" / "python3" / "site-packages" / "pnnx" / "pnnx"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{ending}\n")
    program.chmod(0o755)
    source = saved(parsed("g (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }"), tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=rf"a\.onnx: {said}$") as caught:
        convert(tmp_path / "bin" / "python", source, tmp_path / "a.param")
    assert isinstance(caught.value.__cause__, cause)
