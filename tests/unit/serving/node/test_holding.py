"""Assignments: fetched, loaded once, tried again when they fail, and released when they are not assigned any more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from multiedge.errors import ChangedError, ConfigError, NetworkError, PipelineError
from multiedge.network.records import Assignment, HeldStage
from multiedge.serving.node import fetch
from multiedge.serving.node.folder import LocalStages, PlanFolders
from multiedge.serving.node.holding import AGAIN_S, LONGEST_AGAIN_S, Held, Holding, failed, next_due, reassigned
from tests.builders.pool import FakePool, split_layers

FIRST, SECOND = Assignment("vit", "a" * 64, (0,)), Assignment("bert", "b" * 64, (1, 2))


def test_what_is_assigned_again_stays_as_it_is() -> None:
    held = reassigned({}, [FIRST])
    held[FIRST] = Held(FIRST, "ready")
    after = reassigned(held, [SECOND, FIRST])
    assert after == {SECOND: Held(SECOND), FIRST: Held(FIRST, "ready")}
    assert reassigned(after, [SECOND]) == {SECOND: Held(SECOND)}


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (NetworkError("the hub is away"), "fetching"),
        (NetworkError("no such plan", status=404), "failed"),
        (ChangedError("other bytes"), "failed"),
        (ConfigError("no room"), "failed"),
        (PipelineError("cannot be loaded"), "failed"),
    ],
)
def test_an_absent_pool_is_waited_for_and_another_error_is_a_failure(error: NetworkError, phase: str) -> None:
    assert failed(Held(FIRST, "fetching"), error, 10.0).phase == phase


def test_what_failed_is_tried_again_more_and_more_rarely() -> None:
    held = Held(FIRST)
    waits = []
    for _ in range(10):
        held = failed(held, PipelineError("no"), 100.0)
        waits.append(held.due_s - 100.0)
        assert next_due({FIRST: held}, held.due_s - 0.01) is None
        assert next_due({FIRST: held}, held.due_s) == held
    assert waits[0] == AGAIN_S
    assert waits[-1] == LONGEST_AGAIN_S
    assert held.stages() == (HeldStage("vit", 0, "a" * 64, "failed", reason="no"),)


@dataclass
class Loader:
    """Loads for Holding: `error` is raised, `loaded` grows."""

    error: str = ""
    loaded: list[int] = field(default_factory=list)
    on_load: Callable[[], None] = lambda: None

    def __call__(self, stages: LocalStages, is_cancelled: Callable[[], bool]) -> int | None:
        self.loaded.append(len(stages.parts))
        self.on_load()
        if is_cancelled():
            raise PipelineError("cancelled")
        if self.error:
            raise PipelineError(self.error)
        return 123


@dataclass
class Fixture:
    holding: Holding
    pool: FakePool
    load: Loader
    assignment: Assignment
    folders: PlanFolders


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fixture]:
    monkeypatch.setattr(fetch, "RETRY_S", 0.001)
    pool, load = FakePool(), Loader()
    plan = pool.put(split_layers(tmp_path / "model", [3]))
    folders = PlanFolders(tmp_path / "node", 10 << 20, pool)
    yield Fixture(Holding(folders, load), pool, load, Assignment("net", plan, (0, 1)), folders)
    folders.close()


def phases(node: Fixture) -> list[str]:
    return [stage.phase for stage in node.holding.stages]


def test_an_assignment_is_fetched_and_loaded_once(node: Fixture) -> None:
    node.holding.assign([node.assignment])
    assert phases(node) == ["waiting", "waiting"]
    seen: list[str] = []
    node.load.on_load = lambda: seen.extend(phases(node))
    node.holding.step(0.0)
    node.holding.step(0.0)
    assert seen == ["loading", "loading"]
    assert node.load.loaded == [2]
    needed = sum(file.needed_bytes for part in node.pool.plans[node.assignment.plan].parts for file in part.files)
    assert node.holding.stages == tuple(
        HeldStage("net", stage, node.assignment.plan, "ready", needed, needed, 123) for stage in (0, 1)
    )


def test_a_fetch_and_its_end_are_told(node: Fixture, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    node.holding.assign([node.assignment])
    node.holding.step(0.0)
    begin, end = caplog.messages
    assert begin.startswith("deployment 'net': stages 1, 2: 0 B of 9")
    assert end == "deployment 'net': stages 1, 2 ready, 123 B"


def test_an_absent_pool_is_tried_again_and_says_so_once(
    node: Fixture, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multiedge.serving.node.holding.AGAIN_S", 0.0)
    node.pool.most_bytes = 1000
    node.holding.assign([node.assignment])
    node.holding.step(0.0)
    node.holding.step(0.0)
    assert phases(node) == ["fetching", "fetching"]
    assert [stage.reason for stage in node.holding.stages] == ["pool: the connection ended"] * 2
    node.pool.most_bytes = float("inf")
    node.holding.step(0.0)
    assert phases(node) == ["ready", "ready"]
    assert [message for message in caplog.messages if "ended" in message] == [
        "deployment 'net': stages 1, 2: pool: the connection ended"
    ]


def test_what_cannot_be_loaded_has_failed_with_its_reason(node: Fixture) -> None:
    node.load.error = "no such operator"
    node.holding.assign([node.assignment])
    node.holding.step(0.0)
    assert [(stage.phase, stage.reason) for stage in node.holding.stages] == [("failed", "no such operator")] * 2


def test_what_is_not_assigned_any_more_is_released_also_in_the_midst_of_it(node: Fixture) -> None:
    node.load.on_load = lambda: node.holding.assign([])
    node.holding.assign([node.assignment])
    node.holding.step(0.0)
    assert node.holding.stages == ()
    node.holding.step(0.0)
    with pytest.raises(ConfigError, match="do not fit"):  # and not: of which ... are in use
        node.folders.open(node.pool.put(split_layers(node.folders._plans / "large", [1], 2, 2000)), [0])


def test_while_it_fetches_a_node_is_busy_and_while_it_waits_it_is_not(node: Fixture) -> None:
    busy: list[bool] = []
    node.load.on_load = lambda: busy.append(node.holding.is_busy)
    node.holding.assign([node.assignment])
    node.holding.step(0.0)
    assert [busy, node.holding.is_busy] == [[True], False]
