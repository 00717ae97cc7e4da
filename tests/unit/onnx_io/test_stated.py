"""Of what a file is composed, as it states itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from multiedge.onnx_io import read_graph
from multiedge.onnx_io.stated import composition_in, is_composed
from tests.builders.composed import composed
from tests.builders.onnx_models import layers, saved


@pytest.mark.parametrize("content", [None, b"", b"\xff\xff not a model"])
def test_what_is_no_composed_file_is_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    assert not is_composed(path)


def test_a_model_of_its_own_is_not_composed(tmp_path: Path) -> None:
    path = saved(layers(2), tmp_path / "model.onnx")
    assert not is_composed(path)
    assert read_graph(path).composition is None
    whole = composed(tmp_path)
    assert is_composed(whole)
    assert composition_in(whole) == read_graph(whole).composition
