"""A plan in lines: what it promises, what is proven, and what is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.formats.plan import plan_from_json, plan_to_json
from multiedge.measurements import RanStage
from multiedge.plan import Baseline, DeviceMemory, Runtime, Stage
from multiedge.planning.baseline import best_single
from multiedge.quantity import Knowledge
from multiedge.report.plan_text import SharedRate, gain_line, plan_lines, ran_lines, value_text
from tests.builders.fleets import fleet_of
from tests.builders.graphs import chain_graph
from tests.builders.plans import paths_plan, relay_plan, spans
from tests.builders.profiles import profile_of
from tests.builders.reports import plan

PLAN = plan("exact", (0.05, 0.04, 0.03))


@pytest.mark.parametrize(
    ("objective", "text"),
    [("throughput", "12.5 ms per item"), ("latency", "12.5 ms"), ("energy", "0.0125 J per item")],
)
def test_a_value_has_the_unit_of_its_objective(objective: str, text: str) -> None:
    assert value_text(objective, 0.0125) == text


def test_objective_and_proof_come_first() -> None:
    first = plan_lines(PLAN)[0]
    assert first == "throughput: 48 ms per item; bound 48 ms per item, gap 0.00% among contiguous plans; solved in 0.01 s"


def test_what_ran_is_told_where_it_is_not_the_reference_with_float32() -> None:
    usual = RanStage(0, "a", "onnxruntime", "1.31.1", "float32", "CPUExecutionProvider")
    assert ran_lines([usual]) == []
    assert ran_lines([RanStage(1, "b", "openvino", "2026.4", "bfloat16", "CPU"), usual, replace(usual, stage=2)]) == [
        "runtime: onnxruntime 1.31.1 float32 CPUExecutionProvider on a (stage 1), a (stage 3)",
        "runtime: openvino 2026.4 bfloat16 CPU on b (stage 2)",
    ]


def test_runtimes_are_told_where_one_is_not_the_reference() -> None:
    usual, other = Runtime("onnxruntime", "1.31.1", "float32"), Runtime("openvino", "", "bfloat16")
    lines = plan_lines(replace(PLAN, runtimes={"a": usual, "b": other, "c": usual}))
    assert [line for line in lines if line.startswith("runtime")] == [
        "runtime: onnxruntime 1.31.1 float32 on a, c",
        "runtime: openvino bfloat16 on b",
    ]
    assert not any(line.startswith("runtime") for line in plan_lines(replace(PLAN, runtimes={"a": usual})))


def test_without_a_bound_nothing_is_proven() -> None:
    assert "; no bound proven; " in plan_lines(replace(PLAN, lower_bound=None))[0]


def test_the_expected_rate_comes_before_the_bound() -> None:
    known = replace(PLAN, known=Knowledge.MEASURED)
    tiny = replace(known.estimate, expected_s=1e-4, bottleneck_s=2e-5, bottleneck="device 'a'", expected_latency_s=0.25)
    lines = plan_lines(replace(known, estimate=tiny), SharedRate(3333.3, 3, 2))
    assert lines[1].startswith(
        "expected 3,333 items/s with 3 devices and the caller on this machine's 2 processors, 10,000 items/s on machines of"
        " their own; at most 50,000 items/s, limited by device 'a'; one item takes 250 ms, "
    )
    assert plan_lines(known, SharedRate(20.9, 3, 2))[1].startswith("at most 20.83 items/s, limited by")


def test_the_gain_is_that_of_expected_rates() -> None:
    baseline = Baseline("a", 0.002, Knowledge.MEASURED, expected_s=0.003)
    tiny = replace(PLAN.estimate, expected_s=0.0025)
    line = gain_line(replace(PLAN, value=0.0005, baseline=baseline, estimate=tiny, known=Knowledge.MEASURED))
    assert line == "1.20 x the best single device (a), 400 against 333 items/s, from measured costs"


def test_energy_that_is_not_known_is_not_zero() -> None:
    assert plan_lines(PLAN)[1].endswith("3.1 J per item")
    unknown = replace(PLAN, estimate=replace(PLAN.estimate, energy_j=None))
    assert plan_lines(unknown)[1].endswith("energy not known (a device declares no power)")


def test_the_margin_is_stated_where_memory_is_limited() -> None:
    def lines(*margins: float, limit_bytes: int | None = 100) -> list[str]:
        memory = tuple(DeviceMemory(f"d{margin}", 50, limit_bytes, margin) for margin in margins)
        return plan_lines(replace(PLAN, estimate=replace(PLAN.estimate, memory=memory)))[2:]

    assert lines(0.12, 0.12) == ["memory: each figure plus 12% fits its limit (memory_margin)"]
    assert lines(0.3, 0.05, 0.12) == ["memory: each figure plus 5% to 30% fits its limit (memory_margin)"]
    assert lines(0.0) == lines(0.12, limit_bytes=None) == lines() == []


def test_devices_left_out_and_notes_come_last() -> None:
    lines = plan_lines(replace(PLAN, left_out={"phone": "too slow"}, notes=("seed 7",)))
    assert lines[2:] == ["left out: phone: too slow", "note: seed 7"]


@pytest.mark.parametrize(
    ("known", "word"), [(None, "estimated "), (Knowledge.DERIVED, "at most "), (Knowledge.MEASURED, "at most ")]
)
def test_a_rate_is_a_bound_only_where_times_were_measured(known: Knowledge | None, word: str) -> None:
    profile = profile_of(chain_graph(2), {"a": 0.5, "b": 0.5}, known=dict.fromkeys("ab", known) if known else {})
    plan = relay_plan(profile, fleet_of("a", "b"), *spans(("a", 1), ("b", 1)))
    assert f"{word}2 items/s" in "\n".join(plan_lines(plan))
    back = plan_from_json(plan_to_json(plan))
    assert back.known is (known or Knowledge.ESTIMATED)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        pytest.param(Knowledge.MEASURED, Knowledge.MEASURED, "from measured costs", id="measured"),
        pytest.param(Knowledge.MEASURED, Knowledge.DERIVED, "derived from measured costs", id="derived"),
        pytest.param(Knowledge.MEASURED, Knowledge.ESTIMATED, "estimated", id="one-estimated"),
    ],
)
def test_the_first_line_says_how_its_costs_are_known(a: Knowledge, b: Knowledge, words: str) -> None:
    profile = profile_of(chain_graph(2), {"a": 0.5, "b": 0.5}, known={"a": a, "b": b})
    fleet = fleet_of("a", "b")
    plan = relay_plan(profile, fleet, *spans(("a", 1), ("b", 1)))
    compared = plan_from_json(plan_to_json(replace(plan, baseline=best_single(profile, fleet, "throughput"))))
    assert (gain_line(compared) or "").endswith(f"2 against 1 items/s, {words}")
    alone = replace(plan, known=Knowledge.MEASURED, baseline=Baseline("b", 1.0, b))
    assert (gain_line(alone) or "").endswith(f", {words}")


def test_an_estimated_plan_says_what_speed_1_was_taken_for() -> None:
    kept = plan_from_json(plan_to_json(replace(PLAN, reference="this machine, 1 thread: 155 GFLOP/s")))
    assert "estimated with speed 1 as this machine, 1 thread: 155 GFLOP/s" in plan_lines(kept)
    assert not any("speed 1" in line for line in plan_lines(replace(kept, known=Knowledge.MEASURED)))


def test_a_plan_with_one_estimated_device_is_estimated() -> None:
    profile = profile_of(chain_graph(2), {"a": 0.5, "b": 0.5}, known={"a": Knowledge.MEASURED})
    assert relay_plan(profile, fleet_of("a", "b"), *spans(("a", 1), ("b", 1))).known is Knowledge.ESTIMATED


def test_the_paths_of_items_are_listed_with_their_shares_the_widest_first() -> None:
    profile = profile_of(chain_graph(3, sizes=10), {"a": 1.0, "b": 3.0})
    rest = [Stage.span("a", 1, 2), Stage.span("a", 2, 3)]
    several = paths_plan(
        profile, fleet_of("a", "b"), (0.25, [Stage.span("b", 0, 1), *rest]), (0.75, [Stage.span("a", 0, 1), *rest])
    )
    lines = [line for line in plan_lines(several) if line.startswith("path: ")]
    assert lines == ["path: 75% of all items (0.75 items/s): a 0..2", "path: 25% of all items (0.25 items/s): b 0..0, a 1..2"]


def test_of_many_paths_the_widest_are_listed_and_the_others_counted() -> None:
    names = [f"d{number}" for number in range(15)]
    profile = profile_of(chain_graph(1, sizes=10), dict.fromkeys(names, 1.0))
    several = paths_plan(profile, fleet_of(*names), *((1.0, [Stage.span(name, 0, 1)]) for name in names))
    assert plan_lines(several)[-1] == "path: 3 more, listed by --json"
