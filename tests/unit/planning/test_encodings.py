"""Links that encode tensors: what plans count, record and refuse, and that the audit agrees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import multiedge as me
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.check import check, run_parts
from multiedge.errors import ConfigError, PlanError
from multiedge.fleet import Device, Encoding, Fleet, Link
from multiedge.formats.fields import Field
from multiedge.formats.plan import plan_to_json, read_transfers
from multiedge.plan import Plan, Stage
from multiedge.verification.audit import Finding, Verdict, audit
from tests.builders.pipelines import small_model, vectors

SLOW_LINK = 1e4
OTHERS = ["inline", "ray", "remote"]


def fleet(encoding: Encoding, source: str | None = "a") -> Fleet:
    link = Link(SLOW_LINK, 0.001, encoding=encoding)
    devices = tuple(Device(name, speed=1.0, flops_per_s=1e9) for name in "abc")
    return Fleet(
        devices, {("a", "b"): link, ("b", "c"): Link(SLOW_LINK, 0.001), ("a", "c"): Link(SLOW_LINK, 0.001)}, source=source
    )


def plan_of(folder: Path, on: Fleet) -> tuple[me.Graph, me.Profile, Plan]:
    graph = me.read_graph(small_model(folder / "small.onnx"))
    profile = me.profile_model(graph, on)
    half = len(graph.nodes) // 2
    stages = [Stage.span("a", 0, half), Stage.span("b", half, len(graph.nodes))]
    return graph, profile, me.plan_by_hand(profile, on, stages)


def refused(plan: Plan, profile: me.Profile, on: Fleet) -> list[Finding]:
    return [finding for finding in audit(plan, profile, on) if finding.verdict is Verdict.WRONG]


def test_a_float16_link_is_half_as_long_in_use_and_a_zstd_link_counts_whole_tensors(tmp_path: Path) -> None:
    bottleneck = {each: plan_of(tmp_path, fleet(each))[2].estimate.bottleneck_s for each in Encoding}
    assert bottleneck[Encoding.FLOAT16] == pytest.approx(bottleneck[Encoding.NONE] / 2)
    assert bottleneck[Encoding.ZSTD] == bottleneck[Encoding.NONE]


@pytest.mark.parametrize("encoding", Encoding)
def test_a_plan_keeps_the_encoding_of_the_links_that_its_transfers_take(tmp_path: Path, encoding: Encoding) -> None:
    plan = plan_of(tmp_path, fleet(encoding))[2]
    between = {(move.source, move.target): move.encoding for move in plan.transfers}
    assert between == {(-1, 0): Encoding.NONE, (0, 1): encoding, (1, -1): encoding}
    data = plan_to_json(plan)["transfers"]
    assert read_transfers(Field(data, "plan"), 2) == plan.transfers
    assert [entry.get("encoding", "") for entry in data] == ["", encoding.value, encoding.value]


def test_a_plan_says_what_its_encoding_means(tmp_path: Path) -> None:
    for encoding, text in ((Encoding.FLOAT16, "outputs differ"), (Encoding.ZSTD, "before compression")):
        assert text in plan_of(tmp_path, fleet(encoding))[2].notes[-1]


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("strategy", ["throughput", "exact", "latency", "flow"])
def test_the_audit_confirms_plans_over_encoding_links_and_no_other_encoding(
    tmp_path: Path, encoding: Encoding, strategy: str
) -> None:
    on = fleet(encoding)
    profile = me.profile_model(me.read_graph(small_model(tmp_path / "small.onnx")), on)
    plan = me.plan_model(profile, on, strategy)
    assert not refused(plan, profile, on)
    by_count = plan_of(tmp_path, on)[2]
    wrong = replace(by_count, transfers=tuple(replace(move, encoding=Encoding.NONE) for move in by_count.transfers))
    assert bool(refused(wrong, profile, on)) == (encoding is not Encoding.NONE)


def test_float16_refuses_tensors_of_other_types(tmp_path: Path) -> None:
    on = fleet(Encoding.FLOAT16)
    graph, profile, plan = plan_of(tmp_path, on)
    tensors = {name: replace(tensor, dtype="int64") for name, tensor in graph.tensors.items()}
    with pytest.raises(PlanError, match=r"stage 0 to stage 1 sends float16, and '.*' is of type int64, not float32: remove"):
        me.plan_by_hand(replace(profile, graph=replace(graph, tensors=tensors)), on, plan.stages)


def test_replicas_behind_links_of_different_encodings_are_refused(tmp_path: Path) -> None:
    graph, profile, _ = plan_of(tmp_path, on := fleet(Encoding.FLOAT16))
    stages = [Stage.span("a", 0, 3), Stage.span("b", 3, len(graph.nodes), ("c",))]
    with pytest.raises(PlanError, match="different encodings: declare the same one"):
        me.plan_by_hand(profile, on, stages)


@pytest.mark.parametrize("executor", OTHERS)
def test_executors_that_do_not_encode_refuse_the_plan(tmp_path: Path, executor: str) -> None:
    on = fleet(Encoding.ZSTD)
    graph, _, plan = plan_of(tmp_path, on)
    manifest = me.write_parts(graph, plan, tmp_path / "parts")
    assert me.read_manifest(tmp_path / "parts").transfers == manifest.transfers
    with pytest.raises(
        ConfigError, match=f"sends zstd between devices, which executor '{executor}' does not; use 'processes' or 'fleet'"
    ):
        me.open_pipeline(manifest, on, executor)


def test_check_measures_what_float16_changes(tmp_path: Path) -> None:
    apart = {}
    for encoding in Encoding:
        graph, _, plan = plan_of(tmp_path, fleet(encoding))
        me.write_parts(graph, plan, tmp_path / encoding.name)
        report = check(tmp_path / encoding.name)
        assert report.passes()
        assert report.is_lossy == (encoding is Encoding.FLOAT16)
        apart[encoding] = report.max_rel
    assert apart[Encoding.NONE] == apart[Encoding.ZSTD] == 0
    assert 0 < apart[Encoding.FLOAT16] < np.finfo(np.float16).eps * 4


@pytest.mark.parametrize("encoding", Encoding)
def test_processes_send_what_check_computes(tmp_path: Path, encoding: Encoding) -> None:
    on = fleet(encoding)
    graph, _, plan = plan_of(tmp_path, on)
    manifest = me.write_parts(graph, plan, tmp_path / "parts")
    inputs = vectors(20)
    with me.open_pipeline(manifest, on, "processes", warmup_items=0) as pipeline:
        results, measured = pipeline.map(inputs)
    for result, tensors in zip(results, inputs, strict=True):
        np.testing.assert_array_equal(result.require()["y"], run_parts(OnnxRuntimeBackend(), manifest, tensors)["y"])
    move = next(move for move in plan.transfers if (move.source, move.target) == (0, 1))
    sizes = {event.nbytes for event in measured.events if (event.kind, event.peer) == ("transfer", "b")}
    if encoding is not Encoding.ZSTD:
        assert sizes == {move.known_bytes * encoding.sent_share}
