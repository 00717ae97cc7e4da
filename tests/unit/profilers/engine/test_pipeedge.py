"""PipeEdge's profiler_results.yml, written and read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given

from multiedge.errors import ProfileError
from multiedge.fleet import Device, Fleet
from multiedge.graph import Node
from profilers.engine.pipeedge import read_profiler_results, write_profiler_results
from profilers.static import StaticProfiler
from tests.builders.graphs import graph_of
from tests.builders.refusals import refusal, with_one_value_changed

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
    [
        ("[]", "expected a mapping with 'profile_data', got an empty list"),
        ("profile_data: [{layer: 2}]", r"profile_data\[0\]\.memory: missing"),
        (IANVS.replace("layer: 2", "layer: 3"), "profile_data: expected each layer from 1 to 2 once, got no layer 2"),
        (IANVS.replace("time: 0.065", "time: soon"), r"profile_data\[0\]\.time: expected a number such as 0.5, got 'soon'"),
        (IANVS.replace("[1000]", "[-1]"), r"profile_data\[0\]\.shape_out\[0\]\[0\]: expected a whole number from 0, got -1"),
        (IANVS.replace("float32", "floot"), "dtype: expected the name of a dtype such as torch.float32, got 'torch.floot'"),
        (IANVS.replace("size: 8", "size: 0"), "batch_size: expected a whole number from 1, got 0"),
    ],
)
def test_damage_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.yml").write_text(text)
    with pytest.raises(ProfileError, match=message):
        read_profiler_results(tmp_path / "p.yml")


def test_numbers_in_scientific_notation_are_read_though_yaml_takes_them_for_texts(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(IANVS.replace("time: 0.065", "time: 65e-3").replace("memory: 18.5", "memory: -3"))
    profile = read_profiler_results(tmp_path / "p.yml", "nano")
    assert profile.seconds_on("nano").tolist() == [0.369, 0.065]
    assert profile.parameter_bytes.tolist() == [26_000_000, 0]


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


def test_any_damaged_value_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("damaged") / "p.yml"

    @given(with_one_value_changed(yaml.safe_load(IANVS)))
    def check(damaged: object) -> None:
        path.write_text(yaml.safe_dump(damaged, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
        message = refusal(lambda: read_profiler_results(path), ProfileError)
        assert message is None or (message.startswith(str(path)) and "\n" not in message)

    check()
