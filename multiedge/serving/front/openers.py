"""How the pipeline of a row is opened: on the nodes of the fleet, or on this device from the files that its node holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from multiedge.executors import open_pipeline
from multiedge.executors.fleet import FleetOptions
from multiedge.executors.flow.pipeline import Pipeline
from multiedge.executors.workers.options import Emulation, ProcessesOptions
from multiedge.fleet import Device, Fleet
from multiedge.network.as_fleet import fleet_of
from multiedge.network.client import HubClient
from multiedge.network.identity import Identity
from multiedge.network.records import PlanRecord
from multiedge.serving.front.served import manifest_of
from multiedge.serving.node.folder import PlanFolders
from multiedge.serving.node.limits import Limits


@dataclass(frozen=True)
class HubAccess:
    """How a front end reaches its hub, and as whom: a client, which may start workers on nodes."""

    address: str
    identity: Identity | None = None
    timeout_s: float = 5.0

    def client(self) -> HubClient:
        """A connection, which its user closes."""
        return HubClient(self.address, self.identity, timeout_s=self.timeout_s)


@dataclass(frozen=True)
class ThisDevice:
    """The node in whose process a front end is.

    Attributes:
        name: Its name.
        folders: Its files.
        limits: What its workers may take.
    """

    name: str
    folders: PlanFolders
    limits: Limits


@contextmanager
def open_on_fleet(plan: PlanRecord, hub: HubAccess, device: str = "") -> Iterator[Pipeline]:
    """A pipeline on the nodes that are alive; one that is lost is replaced by another of the fleet.

    Args:
        plan: The hub has it, with all its files.
        hub: The hub.
        device: The node at which this front end is; '' if it is at none.

    Raises:
        MultiedgeError: If the hub or a node cannot be reached, or a stage cannot start.
    """
    with hub.client() as client:
        fleet = fleet_of(client.nodes(), None, f"fleet of hub {hub.address}")
    at = replace(fleet, source=device) if device in fleet.by_name else fleet
    identity = str(hub.identity.folder) if hub.identity else ""
    options = FleetOptions(hub=hub.address, identity=identity, plan=plan.digest, in_order=False)
    with open_pipeline(manifest_of(plan), at, "fleet", options=options) as pipeline:
        yield pipeline


@contextmanager
def open_locally(plan: PlanRecord, device: ThisDevice) -> Iterator[Pipeline]:
    """A pipeline in one worker on this device, from the files of its node: nobody else is asked if all of them are here.

    Args:
        plan: All of its stages are on this device.
        device: This device.

    Raises:
        MultiedgeError: If a file is neither here nor at the hub, or a stage cannot start.
    """
    manifest, limits = manifest_of(plan), device.limits
    held = device.folders.open(plan.digest, range(len(manifest.parts)))
    try:
        parts = tuple(held.parts[part.stage] for part in manifest.parts)
        local = replace(manifest, directory=str(held.directory), parts=parts)
        fleet = Fleet((Device(device.name, memory_bytes=limits.memory_bytes, speed=limits.cpu_share, threads=limits.threads),))
        emulation = Emulation(speed=limits.cpu_share < 1, links=False, affinity=False)
        options = ProcessesOptions(emulation=emulation, in_order=False, registered_functions=True)
        with open_pipeline(local, fleet, "processes", options=options) as pipeline:
            yield pipeline
    finally:
        held.release()
