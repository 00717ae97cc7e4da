"""PipeEdge's profiler_results.yml, written and read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from multiedge.errors import ProfileError
from multiedge.fleet import Device, Fleet
from multiedge.graph import Node
from profilers.engine.pipeedge import read_profiler_results, write_profiler_results
from profilers.static import StaticProfiler
from tests.builders.graphs import graph_of

IANVS = """
batch_size: 8
dtype: torch.float32
layers: 2
model_name: google/vit-base-patch16-224
profile_data:
- {layer: 2, memory: 18.5, shape_in: [[197, 768], [197, 768]], shape_out: [[1000]], time: 0.065}
- {layer: 1, memory: 26.0, shape_in: [[3, 224, 224]], shape_out: [[197, 768], [197, 768]], time: 0.369}
"""


def test_results_of_pipeedge_become_a_chain(tmp_path: Path) -> None:
    (tmp_path / "profiler_results.yml").write_text(IANVS)
    profile = read_profiler_results(tmp_path / "profiler_results.yml", "nano")
    assert profile.seconds_on("nano").tolist() == [0.369, 0.065]
    assert profile.cut_bytes.tolist() == [8 * 3 * 224 * 224 * 4, 2 * 8 * 197 * 768 * 4, 0]
    assert profile.parameter_bytes.tolist() == [26_000_000, 18_500_000]
    assert profile.graph.outputs == ("layer_2_out_0",)
    assert profile.uncounted != ()


@pytest.mark.parametrize(
    ("text", "message"),
    [("[]", "expected a list 'profile_data'"), ("profile_data: [{layer: 2}]", r"profile_data\[0\]: expected layer 1")],
)
def test_damage_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.yml").write_text(text)
    with pytest.raises(ProfileError, match=message):
        read_profiler_results(tmp_path / "p.yml")


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    nodes = (Node("a", "MatMul", ("x", "w"), ("h",)), Node("b", "Relu", ("h",), ("y",)))
    graph = graph_of(*nodes, tensors={"x": (2, 4), "h": (2, 8), "y": (2, 8)}, parameters={"w": (4, 8)})
    profile = StaticProfiler().profile(graph, Fleet((Device("d", speed=1.0),)))
    write_profiler_results(profile, "d", tmp_path / "p.yml")
    data = yaml.safe_load((tmp_path / "p.yml").read_text())
    assert set(data) == {"model_name", "dtype", "batch_size", "layers", "profile_data"}
    assert data["profile_data"][0]["shape_in"] == [[4]]
    assert data["profile_data"][1]["shape_out"] == [[8]]
    back = read_profiler_results(tmp_path / "p.yml", "d")
    assert back.seconds_on("d") == pytest.approx(profile.seconds_on("d"))
    assert back.cut_bytes.tolist() == profile.cut_bytes.tolist()
