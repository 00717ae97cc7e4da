"""Profiles of real models: what published figures say, and what the clock says."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from multiedge.backends.timing import Accuracy
from multiedge.cli import main
from multiedge.errors import ModelError, PlanError, ProfileError
from multiedge.fleet import Device, Fleet
from multiedge.formats.profile import load_profile, require_fits
from multiedge.onnx_io import read_graph
from profilers.engine import cutting
from profilers.engine.host import Host
from profilers.engine.macs import count_work, product_macs
from profilers.measured import MeasuredProfiler, host_name
from profilers.segments import SegmentTimer, refine
from profilers.static import StaticProfiler
from tests.builders import models
from tests.builders.onnx_models import layers, saved
from tests.builders.open_models import OPEN_MODELS

FLEET = Fleet((Device("phone", speed=0.25), Device("laptop", speed=1.0)), name="two")


def build(path: Path, side: int = 64, count: int = 4, tail: str = "Relu") -> Path:
    """A chain of products and activations."""
    weights = [np.full((side, side), 1 / side, np.float32)] * count
    return saved(onnx.shape_inference.infer_shapes(layers(count, side, rows=32, activation=tail, weights=weights)), path)


@pytest.mark.parametrize(
    ("export", "gmacs", "parameters_m"),
    [(models.vit_b16, 17.58, 86.6), (models.resnet50, 4.1, 25.6), (models.efficientnet_lite0, 0.4, 4.7)],
    ids=["vit_b16", "resnet50", "efficientnet_lite0"],
)
def test_static_counts_agree_with_published_figures(export: Callable[[], Path], gmacs: float, parameters_m: float) -> None:
    graph = read_graph(export())
    began = time.perf_counter()
    profile = StaticProfiler().profile(graph, FLEET)
    assert time.perf_counter() - began < 2.0
    assert profile.uncounted == ()
    assert product_macs(graph, count_work(graph)) / 1e9 == pytest.approx(gmacs, rel=0.04)
    assert profile.span().parameter_bytes / 4e6 == pytest.approx(parameters_m, rel=0.02)


@pytest.mark.parametrize("name", ["ocr", "siamese-minus-one", "voice"])
def test_nodes_without_names_are_timed(name: str, tmp_path: Path) -> None:
    model = OPEN_MODELS[name]
    graph = read_graph(saved(model.make(), tmp_path / "model.onnx"), model.shapes)
    profile = MeasuredProfiler(budget_s=0.3).profile(graph, Fleet((Device("host"),)))
    seconds = dict(zip((node.op_type for node in graph.nodes), profile.seconds_on("host"), strict=True))
    assert all(seconds[op_type] > 0 for op_type in {"Conv", "Gemm", "GRU"} & seconds.keys())


def test_a_model_whose_padding_is_computed_is_counted_and_attributed_whole() -> None:
    graph = read_graph(models.efficientnet_lite0())
    profile = MeasuredProfiler(budget_s=0.5).profile(graph, Fleet((Device("host"),)))
    assert profile.uncounted == ()
    assert profile.macs.sum() / 1e9 == pytest.approx(0.4, rel=0.1)
    assert profile.span().parameter_bytes / 4e6 == pytest.approx(4.65, rel=0.02)
    assert profile.settings["host"]["1"]["coverage"]["attributed"] == pytest.approx(1.0)


@pytest.mark.timing
@pytest.mark.parametrize("export", [models.minilm, models.deit_tiny], ids=["minilm", "deit_tiny"])
def test_all_time_is_attributed_and_adds_up(export: Callable[[], Path]) -> None:
    graph = read_graph(export())
    profile = MeasuredProfiler(budget_s=1.0).profile(graph, FLEET)
    host = profile.settings["host"]["1"]
    coverage = host["coverage"]
    assert sum(coverage[key] for key in ("by_name", "by_tensor", "fused", "folded")) == len(graph.nodes)
    assert coverage["attributed"] == pytest.approx(1.0)
    total = profile.seconds[host_name(1)].sum() + host["overhead_s"]
    assert total == pytest.approx(host["latency_s"], rel=0.02)
    np.testing.assert_allclose(profile.seconds_on("phone"), 4 * profile.seconds_on("laptop"))
    assert host["cpu_s"] <= 1.2 * host["latency_s"]


@pytest.mark.timing
def test_strategies_cut_a_real_cnn_between_fused_nodes_and_a_cut_has_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    from partitioners import PARTITIONERS

    longer = cutting.longer_in_parts
    seen = []
    monkeypatch.setattr(cutting, "longer_in_parts", lambda *given: seen.append(longer(*given)) or 0.2)
    graph = read_graph(models.efficientnet_lite0())
    profile = MeasuredProfiler(budget_s=0.5).profile(graph, FLEET)
    host = profile.settings["host"]["1"]
    assert all(-0.5 < share < 0.5 for share in seen)
    assert len(seen) == 1
    assert host["cut_cost_s"] == pytest.approx((0.2 * host["latency_s"] - 3 * host["overhead_s"]) / 4)
    assert profile.overhead_s[host_name(1)] == pytest.approx(host["overhead_s"] + host["cut_cost_s"])
    fused = [graph.nodes[graph.producer[name]].op_type for name in profile.fused]
    assert {"Conv", "Shape"} < set(fused)
    for strategy in ("throughput", "latency", "exact", "branches", "mincut", "equal_flops", "random"):
        plan = PARTITIONERS.load(strategy)().plan(profile, FLEET)
        home = {node: stage for stage in plan.stages for node in stage.nodes}
        for name in profile.fused:
            assert len({home[node].device for node in (graph.producer[name], *graph.consumers[name])}) == 1, (strategy, name)


def test_a_model_that_cannot_be_cut_is_profiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PlanError("not here")

    monkeypatch.setattr(cutting, "write_parts", refuse)
    profile = MeasuredProfiler(budget_s=0.3).profile(read_graph(models.efficientnet_lite0()), FLEET)
    assert profile.settings["host"]["1"]["cut_cost_s"] == 0.0
    assert "what a cut costs is not known" in caplog.text


def test_a_model_without_new_layouts_pays_nothing_for_a_cut(tmp_path: Path) -> None:
    graph = read_graph(build(tmp_path / "chain.onnx", side=256, count=6))
    profile = MeasuredProfiler(budget_s=0.3).profile(graph, FLEET)
    assert profile.settings["host"]["1"]["cut_cost_s"] == 0.0


def test_segments_of_a_real_file_are_timed_and_remembered(tmp_path: Path) -> None:
    from partitioners import PARTITIONERS

    graph = read_graph(build(tmp_path / "chain.onnx", side=256, count=6))
    profile = MeasuredProfiler(budget_s=0.3).profile(graph, FLEET)
    timer = SegmentTimer(tmp_path / "cache", Accuracy(budget_s=0.2))
    refined, plan, history = refine(profile, FLEET, PARTITIONERS.load("throughput")(), timer, rounds=3)
    assert history
    assert plan.value <= min(turn.value for turn in history) + 1e-12
    assert "segments timed" in refined.sources["phone"]
    kept = sorted((tmp_path / "cache").glob("*.json"))
    assert kept
    again = SegmentTimer(tmp_path / "cache")
    known = again.times(graph, plan, [Host()] * len(plan.stages))
    assert len(sorted((tmp_path / "cache").glob("*.json"))) == len(kept)
    assert all(seconds > 0 for seconds in known)


def test_a_model_that_the_runtime_refuses(tmp_path: Path) -> None:
    path = build(tmp_path / "odd.onnx")
    model = onnx.load(str(path))
    model.graph.node[1].domain = "acme"
    model.opset_import.append(onnx.helper.make_opsetid("acme", 1))
    onnx.save(model, str(path))
    with pytest.raises(ModelError, match=r"odd\.onnx: onnxruntime cannot load this file"):
        MeasuredProfiler(budget_s=0.1).profile(read_graph(path), FLEET)


def test_an_input_that_is_too_large(tmp_path: Path) -> None:
    helper = onnx.helper
    value = helper.make_tensor_value_info
    size = [1 << 20, 1 << 20]
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="relu")]
    graph = helper.make_graph(nodes, "huge", [value("x", 1, size)], [value("y", 1, size)])
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), str(tmp_path / "h.onnx"))
    with pytest.raises(ProfileError, match=r"activations take 4\.0 TiB together .* profile with smaller shapes"):
        MeasuredProfiler(budget_s=0.1).profile(read_graph(tmp_path / "h.onnx"), FLEET)


def test_a_device_without_speed_data(tmp_path: Path) -> None:
    fleet = Fleet((Device("phone", speed=0.5), Device("unknown")))
    with pytest.raises(ProfileError, match="device 'unknown' states no speed, flops or freq"):
        MeasuredProfiler(budget_s=0.1).profile(read_graph(build(tmp_path / "c.onnx")), fleet)


def test_the_command_writes_a_profile_that_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, output = build(tmp_path / "chain.onnx"), tmp_path / "profile.json"
    (tmp_path / "devices.yaml").write_text("devices:\n  - {name: phone, speed: 0.5}\n  - {name: laptop, speed: 1}\n")
    words = ["profile", str(model), "--devices", str(tmp_path / "devices.yaml"), "-o", str(output)]
    assert main([*words, "--pipeedge", str(tmp_path / "profiler_results.yml")]) == 0
    shown = capsys.readouterr().out
    assert "Costliest nodes on phone" in shown
    assert "8 nodes" in shown
    profile = load_profile(output)
    require_fits(profile, read_graph(model), Fleet((Device("phone", speed=0.5), Device("laptop", speed=1.0))))
    assert (tmp_path / "profiler_results.yml").exists()
    assert main([*words, "--profiler", "measured", "--budget-s", "0.2", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["devices"]["phone"]["source"] == "measured with 1 thread, scaled by speed 0.5"
    assert data["macs"] == 4 * 32 * 64 * 64


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--profiler", "mesured"], "unknown profiler 'mesured'; did you mean 'measured'?"),
        (["--shape", "t0"], "--shape: expected INPUT=1,3,224,224, got 't0'"),
        (["--shape", "t0=a"], "--shape: expected whole numbers"),
        (["--budget-s", "3"], "profiler 'static' has no option 'budget_s'; profilers that have it: measured, segments"),
        (["--profiler", "measured", "--budget-s", "0"], "budget_s: expected more than 0 seconds"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(["profile", str(build(tmp_path / "c.onnx")), *words]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error.splitlines()[-1]


@pytest.mark.slow
def test_calibrate_prints_lines_that_devices_yaml_takes(tmp_path: Path) -> None:
    from multiedge.formats.devices import read_fleet

    command = [sys.executable, "-m", "multiedge.cli", "calibrate", "--name", "mine"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (tmp_path / "devices.yaml").write_text(done.stdout)
    device = read_fleet(tmp_path / "devices.yaml").device("mine")
    assert device.flops_per_s is not None
    assert device.flops_per_s > 1e8
    assert device.memory_bytes_per_s is not None
    assert device.memory_bytes_per_s > 1e8
    assert "a hop between two processes takes" in done.stdout


def test_calibrate_refuses_more_threads_than_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--threads", "100000"]) == 1
    assert "--threads: expected 1 to" in capsys.readouterr().err
