"""The results file: there and back, damaged, and two runs compared."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from multiedge.errors import ConfigError
from multiedge.formats.fields import Field
from multiedge.graph import Graph, Node
from multiedge.measurements import HostLoad, Item
from multiedge.metrics import MetricValue
from multiedge.report.encode import measurements_to_json, plain_data, read_measurements
from multiedge.report.results import SCHEMA, from_json, load_results, make_result, save_results, to_json
from tests.builders.refusals import refusal, with_one_value_changed
from tests.builders.reports import plan, steady_run


def test_file_gives_back_what_was_saved(tmp_path):
    planned = plan("exact", (0.1, 0.2))
    result = make_result("one", steady_run(), plan=planned, configuration={"threads": 1})
    loaded = load_results(save_results(result, tmp_path / "new" / "one.json"))
    assert loaded.results == result.results
    assert loaded.measurements.items[5].done_s == pytest.approx(result.measurements.items[5].done_s, abs=1e-6)
    assert loaded.measurements.memory == result.measurements.memory
    assert loaded.measurements.faults == result.measurements.faults
    assert (loaded.name, loaded.configuration, loaded.plan) == ("one", {"threads": 1}, planned)
    assert loaded.validity == result.validity


def test_a_file_keeps_what_degraded_the_run_and_the_load_of_the_host(tmp_path):
    host = HostLoad(2, 10.0, 19.0, 1.0, 1.0, {"nano": 4.0})
    result = make_result("one", replace(steady_run(), host=host), plan=plan("exact", (0.1, 0.2)))
    loaded = load_results(save_results(result, tmp_path / "one.json"))
    assert loaded.measurements.host == host
    assert loaded.validity == result.validity
    assert loaded.validity.faults
    assert loaded.validity.moved
    assert loaded.validity.busy_share == pytest.approx(0.75)


def test_file_states_unit_and_direction_of_every_figure(tmp_path):
    path = save_results(make_result("one", steady_run()), tmp_path / "one.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["schema"] == SCHEMA
    for figure in data["results"].values():
        assert {"value", "unit", "direction", "description", "note", "method"} <= set(figure)
    assert data["results"]["energy_per_item_j"]["value"] is None


def test_long_runs_are_bounded_and_say_so():
    data = measurements_to_json(steady_run(50), max_events=20, max_items=30)
    assert data["left_out"] == {"items": 20, "events": 30}
    assert len(read_measurements(Field(data, "run")).events) == 20


def test_item_that_never_came_stays_so():
    run = replace(steady_run(2), items=(Item(0, 0.0, 0.0, math.inf),))
    text = json.dumps(measurements_to_json(run), allow_nan=False)
    assert read_measurements(Field(json.loads(text), "run")).items[0].done_s == math.inf


def test_plain_data_has_no_surprises():
    assert plain_data({"a": (np.float32(0.5), math.nan), 1: {"x"}}) == {"a": [0.5, None], "1": ["x"]}


def test_extra_figures_know_their_units():
    result = make_result("one", steady_run(), extra={"accuracy_top1": 0.8, "fidelity": MetricValue(1.0, "1", "higher", "own")})
    assert (result.results["accuracy_top1"].unit, result.results["accuracy_top1"].direction) == ("1", "higher")
    assert result.results["fidelity"].description == "own"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected a results file of schema"),
        ('{"schema": "other/9"}', "got 'other/9'"),
        (json.dumps({"schema": SCHEMA, "name": "x"}), r"bad\.json: results: missing; expected a mapping; run again"),
        (
            json.dumps({"schema": SCHEMA, "name": "x", "results": {"fps": {"wrong": 1}}}),
            r"results\.fps\.unit: missing; expected a text; run",
        ),
    ],
)
def test_damaged_file_is_named(tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        load_results(path)
    assert str(path) in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json: no such results file .*; write it with `multiedge run`"):
        load_results(tmp_path / "none.json")


def test_failed_write_leaves_no_draft(tmp_path):
    result = replace(make_result("one", steady_run()), configuration={"x": object()})
    save_results(result, tmp_path / "one.json")
    assert [path.name for path in tmp_path.iterdir()] == ["one.json"]


def test_json_round_trip_is_stable():
    data = to_json(make_result("one", steady_run()))
    assert to_json(from_json(json.loads(json.dumps(data)))) == data


GRAPH = Graph("m", (Node("a", "Relu", ("x",), ("y",)),), ("x",), ("y",), {})


def test_any_damaged_value_is_read_or_refused_in_one_line():
    result = make_result("one", steady_run(3), plan=plan("exact", (0.1, 0.2)), graph=GRAPH)
    data = json.loads(json.dumps(to_json(result)))

    @given(with_one_value_changed(data))
    def check(damaged):
        message = refusal(lambda: from_json(damaged, "run.json"), ConfigError)
        assert message is None or (message.startswith("run.json: ") and "\n" not in message)

    check()
