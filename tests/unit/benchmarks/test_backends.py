"""What the benchmark of runtimes measures and says."""

from __future__ import annotations

from pathlib import Path

from benchmarks import backends
from benchmarks.record import Figure, Row
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from tests.builders.pipelines import small_model
from tests.builders.records import record


def test_every_runtime_that_opens_models_is_taken_and_the_reference_comes_first() -> None:
    made = backends.variants()
    names = [variant.name for variant in made]
    assert (made[0].name, made[0].precision) == ("onnxruntime", "float32")
    assert {"openvino", "mnn"} <= set(names)
    assert "synthetic" not in names
    assert len({(variant.name, variant.precision) for variant in made}) == len(made)


def test_a_model_gets_a_row_for_each_variant(tmp_path: Path, monkeypatch) -> None:
    plain = backends.Variant("onnxruntime", "float32", OnnxRuntimeBackend())
    other = backends.Variant("onnxruntime", "exact", OnnxRuntimeBackend(optimisation="disabled"))
    absent = backends.Variant("acme", "float32", None, "acme is not installed")
    monkeypatch.setattr(backends, "variants", lambda: [plain, absent, other])
    rows = backends.rows_of("small", "whole", small_model(tmp_path / "small.onnx"), [], budget_s=0.05)
    assert [row.case["backend"] for row in rows] == ["onnxruntime", "acme", "onnxruntime"]
    assert rows[1].failure == "acme is not installed"
    assert rows[0].median("ratio") == 1.0
    assert rows[2].median("ratio") > 0
    assert rows[0].median("peak_bytes") > 20 << 20


def test_the_section_gives_the_range_of_latencies_and_of_photographs() -> None:
    def row(backend: str, precision: str, ratio: float, right: float) -> Row:
        case = {"model": "m", "cut": "whole", "backend": backend, "precision": precision}
        return Row(case, {"ratio": Figure(ratio), "right": Figure(right), "error": Figure(2e-6)})

    rows = [row("onnxruntime", "float32", 1.0, 18), row("mnn", "float32", 1.2, 18), row("mnn", "int8", 0.4, 17)]
    shown = backends.section(record(rows, backends.BENCHMARK.measures))
    assert shown.startswith(
        "mnn, onnxruntime: in float32 one run takes 1.20 times as long as in onnxruntime. Of 20 photographs"
    )
    assert "EfficientNet-Lite0 gets 18 right" in shown
    assert "| m     | whole |         mnn |      int8 | 2.0e-06 |" in shown
