import pytest

from benchmarks.plan import FLEETS, chosen, fleet_of, mean_ratios, rows_of, section
from benchmarks.record import Figure, Measure, Row
from multiedge.errors import ConfigError
from tests.builders.records import record

MEASURES = {name: Measure("1", name) for name in ("gap", "seconds", "to_best_throughput")}


def row(model, fleet, strategy, ratio, gap=None):
    figures = {"to_best_throughput": Figure(ratio), "seconds": Figure(0.5), **({} if gap is None else {"gap": Figure(gap)})}
    return Row({"model": model, "nodes": 9, "fleet": fleet, "strategy": strategy}, figures)


ROWS = [
    row("a", "two", "throughput", 1.0, gap=0.0),
    row("b", "two", "throughput", 1.0, gap=0.02),
    row("a", "two", "memory_matching", 1.2),
    row("b", "two", "memory_matching", 1.6),
    row("b", "four", "memory_matching", 3.0),
]


def test_ratios_are_averaged_over_the_models_of_a_fleet():
    assert mean_ratios(record(ROWS, MEASURES), "memory_matching") == pytest.approx({"two": 1.4, "four": 3.0})


def test_models_that_a_strategy_could_not_plan_are_not_in_its_mean():
    failed = Row({"model": "b", "nodes": 9, "fleet": "two", "strategy": "latency"}, failure="no plan fits")
    assert mean_ratios(record([row("a", "two", "latency", 2.0), failed], MEASURES), "latency") == {"two": 2.0}


def test_the_section_counts_proofs_and_calls_the_others_unproven():
    shown = section(record(ROWS, MEASURES))
    assert "optimal for 1 of 2 pairs" in shown
    assert "| throughput      |     2 |         1 |      1.00% |       2.00% |     0.50 |      0.50 |" in shown
    assert "| memory_matching |     3 |  unproven |          - |           - |     0.50 |      0.50 |" in shown


def test_the_ratio_of_the_optimal_strategy_to_itself_is_one():
    best, baseline = rows_of("chain_20", "two", ["throughput", "equal_flops"], exact_s=1.0)
    assert best.median("to_best_throughput") == 1.0
    assert best.median("gap") == 0.0
    assert baseline.median("to_best_throughput") >= 1.0
    assert baseline.median("gap") is None


def test_energy_is_recorded_in_joules():
    (energy,) = rows_of("chain_20", "two", ["energy"], exact_s=1.0)
    assert {"value_j", "bound_j"} <= set(energy.figures)
    assert "value_s" not in energy.figures


@pytest.mark.parametrize("name", FLEETS)
def test_devices_of_a_fleet_have_names_of_their_own(name):
    assert len(set(fleet_of(name).names)) == sum(FLEETS[name].values())


def test_a_misspelt_name_is_refused_with_the_near_one():
    with pytest.raises(ConfigError, match="--fleets: 'eigth' is not known; did you mean 'eight'"):
        chosen("two,eigth", tuple(FLEETS), "--fleets")
