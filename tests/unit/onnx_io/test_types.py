"""Shapes that are known stay known, however sizes are computed."""

import pytest

from multiedge.onnx_io import read_graph
from tests.builders.onnx_models import LIGHT


@pytest.mark.parametrize("path", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_models_of_the_first_ir_version_have_every_shape(path):
    graph = read_graph(path)
    unknown = [
        name for node in graph.nodes for name in node.writes if graph.tensors[name].nbytes is None and name in graph.consumers
    ]
    assert unknown == []
