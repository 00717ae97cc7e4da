"""A front end follows the deployments of its hub; the hub is a fake, and no pipeline can be opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from multiedge.errors import NetworkError
from multiedge.network.records import BlobState, Deployment, NodeState, PlanRecord, PlanRow
from multiedge.onnx_io.shipment import Shipment, shipment_of
from multiedge.serving.front.front import FrontEnd, FrontOptions
from multiedge.serving.inference.repository import ModelRepository
from tests.builders.front import plan_row, wait_until
from tests.builders.onnx_models import layers, saved
from tests.builders.parts import split_at


@dataclass
class FakeHub:
    """A hub with one plan, whose deployments a test sets; `is_away`: it does not answer."""

    shipment: Shipment
    deployed: list[Deployment] = field(default_factory=list)
    is_away: bool = False
    address: str = "127.0.0.1:1"
    identity: None = None

    @contextmanager
    def client(self) -> Iterator[FakeHub]:
        if self.is_away:
            raise NetworkError("hub 127.0.0.1:1: cannot be reached")
        yield self

    def deployments(self) -> tuple[Deployment, ...]:
        return tuple(self.deployed)

    def plan(self, digest: str) -> PlanRecord:
        return self.shipment.record

    def read(self, digest: str, offset: int, length: int) -> Iterator[bytes]:
        yield self.shipment.files[digest].read_bytes()[offset : offset + length]

    def blob(self, digest: str) -> BlobState:
        raise NetworkError(f"no blob {digest}")

    def nodes(self) -> tuple[NodeState, ...]:
        return ()

    def rows(self, *phases: str) -> tuple[PlanRow, ...]:
        digest = self.shipment.record.digest
        return tuple(replace(plan_row(f"row-{n}"), plan=digest, phase=phase) for n, phase in enumerate(phases))

    def deploy(self, *phases: str, name: str = "small") -> None:
        """A deployment with rows of these phases, which is as far as the least of them."""
        phase = "ready" if set(phases) == {"ready"} else "pending"
        self.deployed = [Deployment(name, self.shipment.record.digest, phase=phase, rows=self.rows(*phases))]


@pytest.fixture
def hub(tmp_path: Path) -> FakeHub:
    manifest = split_at(saved(layers(2, 8), tmp_path / "model.onnx"), [1], tmp_path / "parts")
    return FakeHub(shipment_of(manifest))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_S", "HUB_S"):
        monkeypatch.setattr(f"multiedge.serving.front.front.{name}", 0.01)


def front_end(hub: FakeHub, tmp_path: Path) -> FrontEnd:
    return FrontEnd(ModelRepository(), hub, FrontOptions(tmp_path / "front"))


def names(front: FrontEnd) -> list[str]:
    return [model.name for model in front.models]


def test_a_deployment_is_served_although_one_of_its_plans_lacks_a_node(hub: FakeHub, tmp_path: Path) -> None:
    hub.deploy("ready", "pending")
    with front_end(hub, tmp_path) as front:
        wait_until(lambda: names(front) == ["small"])
        (model,) = front.models
        assert [row.name for row in model.rows] == ["row-0", "row-1"]
        assert (list(model.signature.inputs), list(model.signature.outputs)) == (["x"], ["y"])


def test_a_deployment_without_a_plan_that_is_ready_is_not_served_yet(hub: FakeHub, tmp_path: Path) -> None:
    hub.deploy("loading", "pending")
    with front_end(hub, tmp_path) as front:
        hub.deployed.append(Deployment("other", hub.shipment.record.digest, phase="ready", rows=hub.rows("ready")))
        wait_until(lambda: names(front) == ["other"])


def test_a_deployment_that_loses_a_node_stays(hub: FakeHub, tmp_path: Path) -> None:
    hub.deploy("ready")
    with front_end(hub, tmp_path) as front:
        wait_until(lambda: names(front) == ["small"])
        (before,) = front.models
        hub.deploy("pending")
        hub.deployed.append(Deployment("other", hub.shipment.record.digest, phase="ready", rows=hub.rows("ready")))
        wait_until(lambda: names(front) == ["other", "small"])
        assert before in front.models


def test_a_deployment_that_is_removed_goes(hub: FakeHub, tmp_path: Path) -> None:
    hub.deploy("ready")
    with front_end(hub, tmp_path) as front:
        wait_until(lambda: names(front) == ["small"])
        hub.deployed = []
        wait_until(lambda: names(front) == [])


def test_without_its_hub_a_front_end_serves_what_it_served_before(hub: FakeHub, tmp_path: Path) -> None:
    hub.deploy("ready")
    with front_end(hub, tmp_path) as front:
        wait_until(lambda: (tmp_path / "front" / "served.json").exists())
    hub.is_away = True
    with front_end(hub, tmp_path) as front:
        assert names(front) == ["small"]
        assert list(front.models[0].signature.inputs) == ["x"]


def test_a_deployment_that_cannot_be_taken_holds_up_no_other(hub: FakeHub, tmp_path: Path) -> None:
    hub.deploy("ready")
    hub.deployed.insert(0, replace(hub.deployed[0], name="unknown-text", text={"tokenizer.json": "f" * 64}))
    with front_end(hub, tmp_path) as front:
        wait_until(lambda: names(front) == ["small"])
    hub.is_away = True
    with front_end(hub, tmp_path) as front:
        assert names(front) == ["small"]


def test_a_removal_alone_is_kept(hub: FakeHub, tmp_path: Path) -> None:
    hub.deploy("ready")
    with front_end(hub, tmp_path) as front:
        wait_until(lambda: names(front) == ["small"])
        hub.deployed = []
        wait_until(lambda: names(front) == [])
    hub.is_away = True
    with front_end(hub, tmp_path) as front:
        assert names(front) == []


def test_what_it_served_may_be_damaged(hub: FakeHub, tmp_path: Path) -> None:
    hub.is_away = True
    (tmp_path / "front").mkdir()
    (tmp_path / "front" / "served.json").write_text('{"served": [')
    with front_end(hub, tmp_path) as front:
        assert names(front) == []
