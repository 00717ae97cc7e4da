"""Which options each executor has: what it does not act on is refused, by name and with those that act on it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from multiedge.errors import ConfigError
from multiedge.executors import EXECUTORS, open_pipeline
from multiedge.executors.flow.contract import RunOptions
from multiedge.executors.flow.stage_clock import StageDeadlines
from multiedge.executors.inline import InlineOptions
from multiedge.executors.workers.options import Deadlines, Emulation, ProcessesOptions
from multiedge.options import build_options, option_names
from multiedge.trace import Trace
from tests.builders.pipelines import synthetic_chain, synthetic_fleet

COMMON = {"seed", "warmup_items", "record_events"}
OWN = {
    "inline": {"backends"},
    "processes": {
        "depth",
        "micro_batch",
        "transport",
        "emulation",
        "deadlines",
        "trace",
        "fallbacks",
        "replan",
        "backends",
        "in_order",
        "otel",
        "identities",
        "registered_functions",
    },
    "fleet": {
        "depth",
        "micro_batch",
        "deadlines",
        "trace",
        "fallbacks",
        "replan",
        "backends",
        "hub",
        "nodes",
        "identity",
        "silence_s",
        "plan",
        "in_order",
        "otel",
        "reports",
    },
    "ray": {"depth", "deadlines", "load_s", "backends"},
    "remote": {"depth", "deadlines", "endpoints", "connect_s", "patience_s", "fallbacks", "direct"},
}
VALUES: dict[str, Any] = {
    "depth": 3,
    "micro_batch": 2,
    "transport": "pipe",
    "emulation": Emulation.none(),
    "deadlines": None,
    "trace": Trace(name="quiet"),
    "fallbacks": {0: ("d1",)},
    "replan": lambda fleet: None,
    "backends": {},
    "load_s": 1.0,
    "endpoints": {"d0": "h:1"},
    "connect_s": 1.0,
    "patience_s": 1.0,
    "direct": True,
    "hub": "h:1",
    "nodes": {"d0": "h:1"},
    "identity": "folder",
    "silence_s": 1.0,
}
REFUSED = [(name, option) for name in OWN for option in sorted(set(VALUES) - OWN[name])]


@pytest.mark.parametrize("name", OWN)
def test_an_executor_declares_what_it_acts_on(name: str) -> None:
    assert set(option_names(EXECUTORS, name)) == COMMON | OWN[name]


@pytest.mark.parametrize("name", OWN)
def test_options_are_frozen_and_build_on_what_the_pipeline_acts_on(name: str) -> None:
    kind = EXECUTORS.load(name).options_type
    assert issubclass(kind, RunOptions)
    assert {field.name for field in fields(RunOptions)} == {"seed", "warmup_items"}
    with pytest.raises(AttributeError):
        kind().seed = 3


@pytest.mark.parametrize(("name", "option"), REFUSED)
def test_what_it_does_not_act_on_is_refused_before_anything_starts(name: str, option: str, tmp_path: Path) -> None:
    owners = ", ".join(other for other in EXECUTORS.names() if option in OWN.get(other, ()))
    with pytest.raises(ConfigError) as caught:
        open_pipeline(tmp_path / "no plan here", synthetic_fleet(1), name, **{option: VALUES[option]})
    assert str(caught.value) == f"executor '{name}' has no option '{option}'; executors that have it: {owners}"


def test_deadlines_of_one_executor_are_not_those_of_another() -> None:
    """Deadlines of workers, heartbeats and links would have no effect on servers."""
    assert build_options(EXECUTORS, "remote", {"deadlines": StageDeadlines(first_s=3)}).deadlines.first_s == 3
    for name, given in (("remote", Deadlines()), ("ray", Deadlines()), ("processes", StageDeadlines())):
        with pytest.raises(ConfigError, match=f"executor '{name}', option 'deadlines': expected a"):
            build_options(EXECUTORS, name, {"deadlines": given})


def test_deadlines_and_emulation_may_be_mappings() -> None:
    values = {"deadlines": {"first_s": 3, "rejoin": False}, "emulation": {"speed": False}, "fallbacks": {1: ["d2"]}}
    made = build_options(EXECUTORS, "processes", values)
    assert made == ProcessesOptions(
        deadlines=Deadlines(first_s=3, rejoin=False), emulation=Emulation(speed=False), fallbacks={1: ("d2",)}
    )


@pytest.mark.parametrize(
    ("name", "values", "line"),
    [
        ("processes", {"depth": 0}, "depth: expected 1 or more, got 0"),
        ("processes", {"micro_batch": 0}, "micro_batch: expected 1 or more, got 0"),
        ("remote", {"depth": 0}, "depth: expected 1 or more, got 0"),
        ("inline", {"warmup_items": -1}, "warmup_items: expected 0 or more, got -1"),
        ("processes", {"depth": "many"}, "executor 'processes', option 'depth': expected a whole number, got 'many'"),
        ("processes", {"trace": "t.yaml"}, "executor 'processes', option 'trace': expected a Trace, got 't.yaml'"),
        ("processes", {"replan": True}, "executor 'processes', option 'replan': expected a function, got True"),
        (
            "processes",
            {"emulation": {"namespaces": True, "links": False}},
            "namespaces: expected links to be emulated, got links=False; emulate them, or leave namespaces off",
        ),
        ("inlne", {}, "unknown executor 'inlne'; did you mean 'inline'?"),
    ],
)
def test_a_wrong_value_is_one_line(name: str, values: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_options(EXECUTORS, name, values)
    assert str(caught.value) == line


def test_options_given_as_a_value_are_changed_by_names(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, stages=1)
    with open_pipeline(manifest, synthetic_fleet(1), "inline", options=InlineOptions(seed=3), warmup_items=0) as pipeline:
        assert pipeline.options == InlineOptions(seed=3, warmup_items=0)
        assert pipeline.executor.record().settings["seed"] == 3


def test_options_of_another_executor_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="executor 'inline', options: expected InlineOptions, got ProcessesOptions"):
        open_pipeline(synthetic_chain(tmp_path), synthetic_fleet(3), "inline", options=ProcessesOptions())


def test_results_hold_options_as_plain_data() -> None:
    settings = ProcessesOptions(trace=Trace(name="tunnel"), replan=lambda fleet: None, fallbacks={1: ("d2",)}).as_settings()
    assert settings["trace"] == "tunnel"
    assert settings["replan"] is True
    assert settings["fallbacks"] == {"1": ["d2"]}
    assert settings["deadlines"]["first_s"] == 60.0
    assert ProcessesOptions().as_settings()["trace"] is None


@pytest.mark.parametrize("name", ["processes", "remote"])
@pytest.mark.parametrize(
    ("fallbacks", "message"),
    [
        ({3: ("d0",)}, "fallbacks: expected a stage from 0 to 2, got 3"),
        ({-1: ("d0",)}, "fallbacks: expected a stage from 0 to 2, got -1"),
        ({1: ("d7",)}, "device 'd7' is not in"),
    ],
)
def test_fallbacks_of_no_stage_or_device_are_refused(
    name: str, fallbacks: dict[int, tuple[str, ...]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        open_pipeline(synthetic_chain(tmp_path), synthetic_fleet(3), name, fallbacks=fallbacks)
