"""`multiedge plan` from words on the command line to what it prints, with the model and its costs faked."""

from __future__ import annotations

import io
import json
import re
from contextlib import contextmanager
from dataclasses import replace

import pytest
from rich.console import Console

from multiedge.cli import build_parser
from multiedge.commands import plan as command
from multiedge.errors import ConfigError
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile

FLEET = synthetic_fleet((1, 1, 1), seed=3)
GRAPH = synthetic_graph(30, seed=1)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch):
    monkeypatch.setattr(command, "read_fleet", lambda path: FLEET)
    monkeypatch.setattr(command._options, "read_sized", lambda args, profile=None: GRAPH)
    monkeypatch.setattr(command, "node_costs", lambda graph, fleet, *words: synthetic_profile(graph, fleet, seed=2))


def plan(*words: str) -> int:
    return command.run(build_parser("plan").parse_args(["plan", "model.onnx", "--devices", "devices.yaml", *words]))


def test_json_holds_the_plan(capsys):
    assert plan("--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["strategy"] == data["objective"] == "throughput"
    assert data["gap"] == 0
    assert data["stages"][0]["first_node"] == 0
    assert sum(stage["last_node"] - stage["first_node"] + 1 for stage in data["stages"]) == 30


def test_the_table_names_devices_nodes_and_proof():
    profile = synthetic_profile(GRAPH, FLEET, seed=2)
    found = command.plan_model(profile, FLEET, "throughput")
    console = Console(width=160, record=True, file=io.StringIO())
    command.show(found, GRAPH, console)
    text = "\n".join([console.export_text(), *command.plan_lines(found)])
    assert "gap 0.00% among contiguous plans" in text
    assert "items/s, limited by" in text
    assert all(name in text for name in FLEET.names)


def test_the_table_fits_80_columns_and_the_first_line_says_what_the_plan_gains():
    console = Console(width=80, record=True, file=io.StringIO())
    command.show(command.plan_model(synthetic_profile(GRAPH, FLEET, seed=2), FLEET), GRAPH, console)
    text = console.export_text()
    table = text.split("throughput: ")[0]
    assert all(len(line) <= 80 for line in table.splitlines())
    assert all(name in table for name in FLEET.names)
    assert re.match(r"\d\.\d\d x the best single device \(\w+\), [\d.]+ against [\d.]+ items/s, estimated\n", text)


def test_the_source_has_a_row_so_that_the_times_of_a_chain_add_up():
    fleet = replace(FLEET, source=FLEET.names[-1])
    found = command.plan_model(synthetic_profile(GRAPH, fleet, seed=2), fleet)
    expected = found.estimate
    assert expected.source is not None
    sending = expected.source.transfer_s + sum(stage.transfer_s for stage in expected.stages)
    assert sending + sum(stage.compute_s for stage in expected.stages) == pytest.approx(expected.latency_s)
    assert expected.source.sent_bytes + sum(stage.sent_bytes for stage in expected.stages) == expected.network_bytes
    console = Console(width=80, record=True, file=io.StringIO())
    command.show(found, GRAPH, console)
    assert f"{fleet.source}: inputs" in console.export_text()


@pytest.mark.parametrize("objective", ["throughput", "latency", "energy"])
def test_an_objective_picks_the_strategy_of_its_name(objective, capsys):
    plan("--objective", objective, "--json")
    assert json.loads(capsys.readouterr().out)["strategy"] == objective


def test_a_plan_from_times_taken_on_a_busy_machine_has_that_beside_its_figures(monkeypatch, capsys):
    host = {"1": {"latency_s": 0.056, "cpu_s": 0.007, "threads": 1}}
    busy = replace(synthetic_profile(GRAPH, FLEET, seed=2), settings={"host": host})
    monkeypatch.setattr(command, "node_costs", lambda *words: busy)
    assert plan() == 0
    assert "took 56 ms but only 7 ms of" in capsys.readouterr().out


def test_an_objective_is_passed_to_a_strategy_that_takes_one(capsys):
    plan("--strategy", "single", "--objective", "latency", "--json")
    data = json.loads(capsys.readouterr().out)
    assert (data["strategy"], data["objective"]) == ("single", "latency")


def test_options_are_passed_typed(capsys):
    plan("--strategy", "random", "--option", "seed=7", "--json")
    assert json.loads(capsys.readouterr().out)["notes"] == ["seed 7"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strategy", "latency", "--objective", "throughput"], "has one objective only; use strategy 'throughput'"),
        (["--strategy", "latncy"], "unknown partitioner 'latncy'; did you mean 'latency'"),
        (["--strategy", "random", "--option", "sed=7"], "has no option 'sed'; did you mean 'seed'"),
        (["--option", "seed"], "--option: expected KEY=VALUE"),
        (["--option", "seed=[1"], r"--option seed: expected a number, a word, true or false, got '\[1'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words, message):
    with pytest.raises(ConfigError, match=message):
        plan(*words)


def test_timing_segments_shows_its_steps(monkeypatch, capsys):
    steps: list[tuple[str, float]] = []

    @contextmanager
    def bar(title):
        yield lambda step, share: steps.append((step, share))

    def costs(graph, fleet, strategy, options, progress, sequences):
        progress("timing", 0.5)
        return synthetic_profile(graph, fleet, seed=2)

    monkeypatch.setattr(command, "share_bar", bar)
    monkeypatch.setattr(command, "segment_costs", costs)
    assert plan("--time-segments", "--json") == 0
    assert steps == [("timing", 0.5), ("searching", 1.0)]
