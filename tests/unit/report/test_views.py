"""What a page shows of each run, as plain values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from multiedge.measurements import Energy, Event, Memory, RanStage
from multiedge.metrics import MetricValue
from multiedge.plan import CALLER, Transfer
from multiedge.report import views
from multiedge.report.results import RunResult
from multiedge.report.views import RunView, colours_of, graphs, view
from tests.builders.reports import MIB, pipeline, sample

RESULT = sample("exact", (0.04, 0.05), seed=1)


def shown(result: RunResult = RESULT) -> RunView:
    return view(1, result, 1)


def with_run(**changes: Any) -> RunResult:
    """The sample with other measurements."""
    assert RESULT.measurements is not None
    return replace(RESULT, measurements=replace(RESULT.measurements, **changes))


def figures(**values: MetricValue) -> RunResult:
    return RunResult("bare", values)


def seconds(value: float | None, **rest: Any) -> MetricValue:
    return MetricValue(value, "s", "lower", "", **rest)


def test_predictions_meet_what_was_seen():
    rows = {row.what: row for row in view(1, sample("exact", (0.04, 0.05), seed=1), 1).predictions}
    assert rows["stage 2 on raspberry-pi"].expected == "48.0 ms"
    assert rows["stage 2 on raspberry-pi"].error == pytest.approx(0.04, abs=0.02)
    assert "mean latency" not in rows  # all due at the start: items wait for each other, which the plan's latency leaves out


def test_a_device_shows_what_computed_its_stages() -> None:
    run = RESULT.measurements
    assert run is not None
    assert not shown().has_runtimes
    first, second = run.devices[:2]
    ran = [
        RanStage(0, first, "openvino", "2026.4", "bfloat16", "CPU"),
        RanStage(1, second, "mnn", "3.6", "float32", "CPU"),
        RanStage(2, second, "onnxruntime", "1.31", "float32", "CPUExecutionProvider"),
    ]
    rows = {row.name: row.runtimes for row in shown(with_run(runtimes=tuple(ran))).devices}
    assert rows[first] == ["openvino 2026.4 bfloat16 CPU"]
    assert rows[second] == ["stage 2: mnn 3.6 float32 CPU", "stage 3: onnxruntime 1.31 float32 CPUExecutionProvider"]


def test_model_is_drawn_and_there_is_room_for_some(monkeypatch):
    drawn = graphs([sample("a", (0.1, 0.2)), sample("b", (0.1, 0.2))])
    assert [drawing.count('class="node"') for drawing in drawn] == [202, 202]
    assert "586 KiB" in drawn[0].replace("585.9", "586")
    monkeypatch.setattr(views, "GRAPH_CHARACTERS", len(drawn[0]) + 1)
    assert [bool(drawing) for drawing in graphs([sample("a", (0.1, 0.2)), sample("b", (0.1, 0.2))])] == [True, False]


def test_a_run_of_figures_alone_has_no_pictures() -> None:
    bare = shown(figures(fps=MetricValue(2.0, "items/s", "higher", "")))
    assert (bare.stages, bare.lanes, bare.gantts, bare.devices, bare.predictions) == ([], [], [], [], [])
    assert (bare.throughput, bare.cdf, bare.strategy, bare.entering) == ("", "", "", "")
    assert [(tile.label, tile.number, tile.unit) for tile in bare.tiles] == [("throughput", "2", "items/s")]


@pytest.mark.parametrize(
    ("figure", "tile"),
    [
        pytest.param(seconds(0.0412), ("mean latency", "41.2", "ms", ""), id="measured"),
        pytest.param(seconds(0.05, note="over 3 s"), ("mean latency", "50.0", "ms", "over 3 s"), id="with-a-note"),
        pytest.param(seconds(0.05, method="modelled"), ("mean latency", "50.0", "ms", "modelled"), id="modelled"),
        pytest.param(
            seconds(0.05, method="modelled", note="data sheet"),
            ("mean latency", "50.0", "ms", "modelled; data sheet"),
            id="both",
        ),
        pytest.param(seconds(None), ("mean latency", "–", "", "not measured"), id="not-measured"),
        pytest.param(
            seconds(None, note="no item was answered"),
            ("mean latency", "–", "", "not measured: no item was answered"),
            id="not-measured-and-why",
        ),
    ],
)
def test_a_figure_in_large(figure: MetricValue, tile: tuple[str, str, str, str]) -> None:
    (made,) = shown(figures(latency_mean_s=figure)).tiles
    assert (made.label, made.number, made.unit, made.note) == tile


def test_the_name_of_a_figure_in_large_has_no_unit_even_if_it_was_not_measured() -> None:
    (made,) = shown(figures(energy_per_item_j=seconds(None))).tiles
    assert made.label == "energy per item"


def test_a_figure_from_elsewhere_that_was_not_measured_has_no_tile() -> None:
    assert shown(figures(accuracy_top1=seconds(None))).tiles == []


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (seconds(0.25), "250 ms"),
        (seconds(None, samples_needed=662, note="n<662: 80 samples do not back a p99"), "n<662"),
        (seconds(None, note="no item was answered"), "no item was answered"),
        (seconds(None), "not measured"),
    ],
    ids=["measured", "too-few", "none", "unknown"],
)
def test_a_quantile_or_why_there_is_none(figure: MetricValue, text: str) -> None:
    assert shown(figures(latency_p99_s=figure)).quantiles == [("p99", text)]


def test_stages_say_what_they_hold_and_send() -> None:
    first, second = shown().stages
    assert (first.number, first.devices, first.nodes, first.compute) == (1, "jetson-orin", "100 nodes", "38.4 ms")
    assert first.sends == ("586 KiB",)
    assert second.sends == ("586 KiB",), "the last stage sends to the caller without saying so"
    assert shown().entering == "588 KiB"


def test_a_tensor_that_skips_a_stage_says_where_it_goes() -> None:
    plan = sample("three", (0.1, 0.1, 0.1)).plan
    assert plan is not None
    moves = (*plan.transfers, Transfer(0, 2, ("skip",), 1024), Transfer(1, CALLER, ("early",), 2048))
    first, second, _ = shown(replace(RESULT, plan=replace(plan, transfers=moves))).stages
    assert first.sends == ("586 KiB", "1.00 KiB to stage 3")
    assert second.sends == ("586 KiB", "2.00 KiB to the caller")


def test_replicas_stand_beside_their_stages_device() -> None:
    plan = RESULT.plan
    assert plan is not None
    stages = (replace(plan.stages[0], replicas=("spare",)), plan.stages[1])
    assert shown(replace(RESULT, plan=replace(plan, stages=stages))).stages[0].devices == "jetson-orin, spare"


def test_colours_follow_the_plan_and_then_the_run() -> None:
    extra = Event("compute", 0, 5, "newcomer", 0.0, 0.1)
    assert RESULT.measurements is not None
    colours = colours_of(with_run(events=(*RESULT.measurements.events, extra)))
    assert colours == {"jetson-orin": 0, "raspberry-pi": 1, "newcomer": 2}
    assert colours_of(RunResult("bare", {})) == {}


@pytest.mark.parametrize(
    ("memory", "texts", "shares"),
    [
        pytest.param(
            Memory("jetson-orin", 300 * MIB, 100 * MIB, 200 * MIB, None, 240 * MIB, 600 * MIB, "VmHWM"),
            ("300 MiB", "of 600 MiB", "100 MiB anonymous, 200 MiB file, VmHWM"),
            (0.5, 0.4),
            id="whole",
        ),
        pytest.param(
            Memory("jetson-orin", 300 * MIB, None, None, None, 240 * MIB, None, "VmHWM"),
            ("300 MiB", "no limit declared", "VmHWM"),
            (1.0, 0.8),
            id="without-a-limit-the-larger-of-peak-and-plan-is-full",
        ),
        pytest.param(
            Memory("jetson-orin", None, None, None, None, 240 * MIB, 600 * MIB, "not measured"),
            ("not measured", "of 600 MiB", "not measured"),
            (None, 0.4),
            id="not-measured",
        ),
        pytest.param(
            Memory("jetson-orin", None), ("not measured", "no limit declared", "not measured"), (None, None), id="nothing-known"
        ),
    ],
)
def test_a_devices_memory(memory: Memory, texts: tuple[str, str, str], shares: tuple[float | None, float | None]) -> None:
    row = shown(with_run(memory=(memory,))).devices[0]
    assert (row.memory, row.limit, row.memory_parts) == texts
    assert (row.memory_share, row.planned_share) == shares


@pytest.mark.parametrize(
    ("energy", "text", "note"),
    [
        pytest.param(
            Energy("jetson-orin", 12.0, 9.5, 4.0, "measured", "RAPL", window_s=1.0),
            "12 J",
            "measured, RAPL, peak 9.50 W over 1 s",
            id="measured",
        ),
        pytest.param(Energy("jetson-orin", 12.5, None, 4.0, "modelled"), "12.5 J", "modelled", id="modelled"),
        pytest.param(
            Energy("jetson-orin", None, None, None, "none", "no watts declared"), "not measured", "no watts declared", id="none"
        ),
    ],
)
def test_a_devices_energy(energy: Energy, text: str, note: str) -> None:
    row = shown(with_run(energy=(energy,))).devices[0]
    assert (row.energy, row.energy_note) == (text, note)


def test_a_device_that_only_holds_memory_has_no_share_of_time() -> None:
    rows = {row.name: row for row in shown(with_run(memory=(Memory("spare", MIB),))).devices}
    assert rows["spare"].busy_share is None
    assert rows["jetson-orin"].busy_share is not None


def test_the_mean_latency_is_predicted_for_one_item_at_a_time_only() -> None:
    single = {row.what: row for row in shown(with_run(settings={"scenario": "SingleStream"})).predictions}
    assert single["mean latency"].expected == "90.0 ms"


def test_what_was_not_measured_has_no_error() -> None:
    rows = {row.what: row for row in shown(with_run(memory=(Memory("jetson-orin", None, planned_bytes=MIB),))).predictions}
    row = rows["memory of jetson-orin"]
    assert (row.expected, row.seen, row.error) == ("1.00 MiB", "not measured", None)


def test_settings_of_the_run_come_after_those_that_were_asked_for() -> None:
    made = shown(with_run(settings={"strategy": "other", "seed": 3}))
    assert list(made.settings) == ["model", "devices", "strategy", "seed"]
    assert made.settings["strategy"] == "other"


def test_only_the_fastest_runs_of_a_page_have_gantt_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "DRAWN_RUNS", 2)
    assert [bool(view(number, RESULT, 3).gantts) for number in (1, 2, 3)] == [True, True, False]


def test_more_runs_share_the_bars_of_a_page() -> None:
    alone, crowded = (view(1, replace(RESULT, measurements=pipeline((0.01,) * 3, items=400)), runs) for runs in (1, 12))
    assert alone.gantts[0][1].count("<title>item") > crowded.gantts[0][1].count("<title>item") > 0
