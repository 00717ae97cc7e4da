"""An executor from a package outside: registered by an entry point, with options and errors of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from multiedge import cli
from multiedge.errors import ConfigError
from multiedge.executors import EXECUTORS, open_pipeline
from multiedge.executors.flow.contract import Closing, Record, Result, RunOptions, Tensors
from multiedge.fleet import Fleet
from multiedge.plan import Manifest
from tests.builders.pipelines import item, small_plan, synthetic_chain, synthetic_fleet


@dataclass(frozen=True)
class Cluster:
    address: str = "here"
    nodes: int = 1


@dataclass(frozen=True)
class AgentsOptions(RunOptions):
    """`gain` is added to every input; `cluster` says where."""

    gain: float = 0.0
    cluster: Cluster = field(default_factory=Cluster)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gain < 0:
            raise ConfigError(f"gain: expected 0 or more, got {self.gain}")


class AgentsExecutor(Closing):
    """Answers each item with its inputs plus `gain`, under the names of the outputs."""

    options_type = AgentsOptions

    def __init__(self, manifest: Manifest, fleet: Fleet, options: AgentsOptions) -> None:
        self.manifest, self.options = manifest, options
        self.is_open, self.has_room = False, True
        self._ready: list[Result] = []

    def start(self) -> None:
        self.is_open = True

    @property
    def unanswered(self) -> int:
        return len(self._ready)

    def submit(self, number: int, tensors: Tensors) -> None:
        made = [array + self.options.gain for array in tensors.values()]
        self._ready.append(Result(number, dict(zip(self.manifest.outputs, made, strict=True))))

    def poll(self, timeout_s: float) -> list[Result]:
        ready, self._ready = self._ready, []
        return ready

    def mark(self) -> None:
        pass

    def record(self) -> Record:
        return Record(settings={**self.options.as_settings(), "executor": "agents"})

    def close(self) -> None:
        self.is_open = False


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("agents_package")
    vars(package)["AgentsExecutor"] = AgentsExecutor
    monkeypatch.setitem(sys.modules, "agents_package", package)
    point = SimpleNamespace(name="agents", value="agents_package:AgentsExecutor")
    monkeypatch.setattr("multiedge.registry.entry_points", lambda group: [point] if group == "multiedge.executors" else [])


def test_its_options_reach_it_and_the_results(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path, stages=1)
    options: dict[str, Any] = {"gain": 2.5, "cluster": {"nodes": 3}, "seed": 7}
    with open_pipeline(manifest, synthetic_fleet(1), "agents", **options) as pipeline:
        results, measured = pipeline.map([item(1)] * 3)
        assert pipeline.executor.is_open
    assert not pipeline.executor.is_open
    assert [result.require()["t1"][0] for result in results] == [3.5] * 3
    assert measured.warmup_items == 2
    assert measured.settings["gain"] == 2.5
    assert measured.settings["cluster"] == {"address": "here", "nodes": 3}
    assert measured.settings["seed"] == 7


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"gian": 1}, "executor 'agents' has no option 'gian'; did you mean 'gain'?"),
        ({"gain": "much"}, "executor 'agents', option 'gain': expected a number, got 'much'"),
        ({"gain": -1}, "gain: expected 0 or more, got -1"),
        ({"cluster": {"nodes": "all"}}, "executor 'agents', option 'cluster.nodes': expected a whole number, got 'all'"),
        ({"micro_batch": 2}, "executor 'agents' has no option 'micro_batch'; executors that have it: fleet, processes"),
        ({"warmup_items": -1}, "warmup_items: expected 0 or more, got -1"),
    ],
)
def test_its_options_are_checked_like_our_own(tmp_path: Path, options: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_pipeline(synthetic_chain(tmp_path, stages=1), synthetic_fleet(1), "agents", **options)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("options_type", "line"),
    [
        (None, "executor 'agents' declares no dataclass `options_type`; correct the package that it is from"),
        (Cluster, "executor 'agents': expected an `options_type` that extends .*RunOptions, got Cluster; correct the package"),
    ],
)
def test_a_class_that_breaks_the_contract_is_named(
    options_type: type | None, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AgentsExecutor, "options_type", options_type)
    with pytest.raises(ConfigError, match=line):
        open_pipeline(synthetic_chain(tmp_path, stages=1), synthetic_fleet(1), "agents")


def test_ours_name_it_where_it_alone_has_the_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="executor 'inline' has no option 'gain'; executors that have it: agents"):
        open_pipeline(synthetic_chain(tmp_path, stages=1), synthetic_fleet(1), "inline", gain=1)


def test_the_command_runs_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = small_plan(tmp_path)[0].directory
    words = ["run", parts, "--random", "3", "--executor", "agents"]
    assert cli.main([*words, "--option", "gain=2", "--option", "cluster={nodes: 2}", "--json"]) == 0
    assert '"nodes": 2' in capsys.readouterr().out
    assert cli.main([*words, "--trace", "nothing.yaml"]) == 1
    assert cli.main([*words, "--option", "gian=2"]) == 1
    assert capsys.readouterr().err.endswith("executor 'agents' has no option 'gian'; did you mean 'gain'?\n")


def test_its_name_is_listed_with_ours() -> None:
    assert EXECUTORS.names() == ("fleet", "inline", "processes", "ray", "remote", "agents")
