"""The executor fleet before anything starts: where nodes are, which plans the hub has, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import pytest

from multiedge.errors import ConfigError, NetworkError, PipelineError
from multiedge.executors import open_pipeline
from multiedge.executors.fleet import FleetExecutor, FleetOptions, NodeAddresses, PlanPool
from multiedge.fleet import Device, Fleet
from multiedge.network.client import HubClient
from multiedge.network.records import PlanRecord
from multiedge.plan import Manifest
from tests.builders.pipelines import small_plan


class FakeHub:
    """What it knows of nodes, and what was uploaded; it is away while `is_away`."""

    def __init__(self, **nodes: str) -> None:
        self.nodes, self.asked, self.is_away = nodes, 0, False
        self.plans: list[str] = []

    def ask(self) -> Mapping[str, str]:
        self.asked += 1
        if self.is_away:
            raise NetworkError("hub h:1: cannot be reached")
        return dict(self.nodes)

    def put_plan(self, record: PlanRecord, files: Mapping[str, Path]) -> int:
        self.plans.append(record.digest)
        return 0

    def __enter__(self) -> FakeHub:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to close."""


def test_the_hub_is_asked_at_the_start_and_again_when_a_node_was_lost() -> None:
    hub = FakeHub(a="h:1", b="h:2")
    nodes = NodeAddresses({}, hub.ask)
    nodes.require(["a", "b"], "plan parts")
    assert [nodes.of("a"), nodes.of("b"), hub.asked] == [("h", 1), ("h", 2), 1]
    hub.nodes["a"] = "other:3"
    assert [nodes.of("a"), hub.asked] == [("other", 3), 2]


def test_a_hub_that_is_away_changes_no_address() -> None:
    hub = FakeHub(a="h:1")
    nodes = NodeAddresses({}, hub.ask)
    nodes.require(["a"], "plan parts")
    nodes.of("a")
    hub.is_away = True
    assert nodes.of("a") == ("h", 1)


def test_a_given_address_counts_and_is_not_asked_for() -> None:
    hub = FakeHub(a="h:1")
    nodes = NodeAddresses({"a": "mine:9"}, hub.ask)
    nodes.require(["a"], "plan parts")
    assert [nodes.of("a"), nodes.of("a"), hub.asked] == [("mine", 9), ("mine", 9), 1]


def test_nodes_that_the_plan_needs_and_nobody_knows_are_named() -> None:
    nodes = NodeAddresses({}, FakeHub(b="h:2").ask)
    line = "plan parts: needs a, c; nodes that are alive: b; start a node of that name, or plan on the hub's fleet"
    with pytest.raises(PipelineError, match=f"^{line}$"):
        nodes.require(["a", "b", "c"], "plan parts")
    with pytest.raises(NetworkError, match="node 'a': the hub does not know it as alive"):
        nodes.of("a")


def test_a_plan_is_uploaded_once_and_known_by_its_digest(tmp_path: Path) -> None:
    manifest, _ = small_plan(tmp_path)
    hub = FakeHub()
    pool = PlanPool(lambda: cast(HubClient, hub), "h:1")
    assert pool.uploaded(manifest) is pool.uploaded(manifest)
    assert hub.plans == [pool.digest_of(manifest.directory)]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "fleet: expected a hub, got none; give --hub HOST:PORT, and start one with: multiedge hub run"),
        ({"nodes": {"d0": "nowhere"}}, "nodes: d0: expected HOST:PORT, got 'nowhere'"),
        (
            {"hub": "h:1", "backends": {"onnxruntime": {"prepacked": "/tmp/x"}}},
            "backends: onnxruntime: prepacked: expected a number or true or false, got '/tmp/x':"
            " a path of one machine means nothing on another; leave it out",
        ),
        ({"nodes": {"d0": "10.0.0.1:1"}}, "node 'd0': 10.0.0.1 is not this machine alone, so TLS is needed"),
    ],
    ids=["nowhere", "address", "path", "TLS"],
)
def test_what_cannot_run_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], line: str
) -> None:
    monkeypatch.delenv("MULTIEDGE_IDENTITY", raising=False)
    manifest, fleet = small_plan(tmp_path, devices=1, spare=0)
    with pytest.raises(ConfigError) as caught:
        open_pipeline(manifest, fleet, "fleet", **options)
    assert str(caught.value).startswith(line)


def test_nothing_of_another_machine_is_metered_here(tmp_path: Path) -> None:
    manifest, _ = small_plan(tmp_path, devices=1, spare=0)
    executor = FleetExecutor(manifest, Fleet((Device("d0"),)), FleetOptions(nodes={"d0": "127.0.0.1:1"}))
    assert not executor.on_this_machine
    assert not executor.slows_down


def test_a_plan_that_the_hub_has_needs_no_files_here() -> None:
    hub = FakeHub()
    pool = PlanPool(lambda: cast(HubClient, hub), "h:1", {"folder": "digest"})
    pool.uploaded(Manifest("m", "", (), (), (), (), "none", "folder"))
    assert pool.digest_of("folder") == "digest"
    assert not hub.plans
