"""Workers on real devices: nodes that a hub knows, with direct streams between them.

The same supervisor, ledger and epochs as those of `processes`; only the launcher, the handle and the transport are others. The
caller sends inputs to the nodes and receives results. The hub has the plan and the files of its parts, and the addresses of
nodes; it is asked at the start, when a node is lost, and for a new plan.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from multiedge.errors import ConfigError, NetworkError, PipelineError
from multiedge.executors.workers.caller import WorkersExecutor
from multiedge.executors.workers.node_launcher import NodeLauncher, WorkerSettings
from multiedge.executors.workers.node_messages import require_portable
from multiedge.executors.workers.options import Deadlines, WorkersOptions
from multiedge.executors.workers.tally import RunTally
from multiedge.fleet import CALLER_NAME, Fleet
from multiedge.measurements import Memory
from multiedge.network.client import HubClient
from multiedge.network.connection import own_address
from multiedge.network.identity import find_identity, parse_address, require_tls
from multiedge.network.reporter import Reporter
from multiedge.onnx_io.shipment import shipment_of
from multiedge.plan import Manifest
from multiedge.transports import rundir
from multiedge.transports.peers import PeerAddress, read_address, set_place
from multiedge.transports.tls import TlsEndpoint

EVERYWHERE = ""
HUB_S = 2.0
"""How long to wait for the hub at each step: a run goes on without it."""


def node_deadlines() -> Deadlines:
    """Deadlines with which a lost node is replaced within a second, and loading its stages."""
    return Deadlines(heartbeat_s=3.0, link_s=0.6, cooldown_s=1.0, load_s=1800.0)


@dataclass(frozen=True)
class FleetOptions(WorkersOptions):
    """Options of the executor `fleet`.

    Attributes:
        hub: 'HOST:PORT' of the hub that knows the nodes and has their files.
        nodes: Addresses 'HOST:PORT' of nodes by name, in place of those that the hub knows.
        plan: Digest of the plan, if the hub has it with its files: then these need not be on this machine.
        identity: The folder with the caller's certificate, by default the one in the environment variable MULTIEDGE_IDENTITY;
            without one, hub and nodes must be on this machine.
        silence_s: The least silence of a node that counts as a fault: three times the longest recent one if that is more, up to
            `deadlines.heartbeat_s`.
        deadlines: When a stage, a worker, a device or a link counts as failed.
        reports: Whether the hub is told once a second how the run goes: its throughput, latency and faults.

    Raises:
        ConfigError: If an address is none.
    """

    hub: str = ""
    nodes: Mapping[str, str] = field(default_factory=dict)
    plan: str = ""
    identity: str = ""
    silence_s: float = 0.7
    deadlines: Deadlines = field(default_factory=node_deadlines)
    reports: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, address in self.nodes.items():
            parse_address(address, f"nodes: {name}")


class FleetExecutor(WorkersExecutor):
    """Runs a manifest's parts on nodes."""

    options_type = FleetOptions
    name = "fleet"
    transport = "tls"
    on_this_machine = False

    def __init__(self, manifest: Manifest, fleet: Fleet, options: FleetOptions) -> None:
        known = {manifest.directory: options.plan} if options.plan else None
        self.plans = PlanPool(self._hub, options.hub, known)
        replan = options.replan
        wrapped = replace(options, replan=lambda fleet: self.plans.uploaded(replan(fleet))) if replan else options
        super().__init__(manifest, fleet, wrapped)
        if not options.hub and not options.nodes:
            raise ConfigError("fleet: expected a hub, got none; give --hub HOST:PORT, and start one with: multiedge hub run")
        require_portable(options.backends)
        self.options = options
        self.identity = find_identity(options.identity or None)
        self.nodes = NodeAddresses(options.nodes, self._known_nodes)
        self.directory: Path | None = None
        self.launcher: NodeLauncher | None = None
        self._reporting: tuple[RunTally, Reporter] | None = None

    def start(self) -> None:
        self.directory = rundir.make()
        try:
            self.nodes.require(self.routes.devices, f"plan {self.manifest.directory}")
            self.plans.uploaded(self.manifest)
            endpoint = self._new_endpoint(self.directory)
            self.open_endpoint(endpoint)
            options = self.options
            settings = WorkerSettings(
                options.backends,
                self.fleet.source or CALLER_NAME,
                options.micro_batch,
                options.record_events,
                options.seed,
                options.silence_s,
            )
            run = secrets.token_hex(8)
            self.launcher = NodeLauncher(
                self.directory,
                run,
                endpoint.address,
                settings,
                self.identity,
                self.nodes.of,
                self.plans.digest_of,
            )
            self.begin(self.launcher, shapes_links=True, limits_memory=True)
            if options.hub and options.reports:
                self._report_as(run)
        except BaseException:
            self.close()
            raise

    @property
    def addresses(self) -> dict[str, PeerAddress]:
        """Where the endpoints of this run listen, by device, and the caller's."""
        names = [CALLER_NAME, *self.fleet.names] if self.directory else []
        return {name: address for name in names if self.directory and (address := read_address(self.directory, name))}

    def settings(self, memory: tuple[Memory, ...]) -> dict[str, Any]:
        return {"nodes": dict(self.nodes.known), "tls": self.identity is not None}

    def looked(self) -> None:
        if self._reporting is not None and self._reporting[1].is_due:
            self._report(*self._reporting)

    def _report_as(self, run: str) -> None:
        """Tells the hub from now on how the run goes."""
        plan, model = self.plans.digest_of(self.manifest.directory), Path(self.manifest.model).stem
        tally = RunTally(run, plan, model, time.monotonic(), time.time())
        self.observers.append(tally)
        self._reporting = tally, Reporter(self._hub)
        self._report(*self._reporting)

    def _report(self, tally: RunTally, reporter: Reporter, *, has_ended: bool = False) -> None:
        unanswered = len(self.ledger.open)
        reporter.offer(tally.report(time.monotonic(), self.routes, self.supervisor.faults, unanswered, has_ended=has_ended))

    def close(self) -> None:
        if self._reporting is not None:
            self._report(*self._reporting, has_ended=True)
            self._reporting[1].close()
            self._reporting = None
        super().close()
        if self.launcher is not None:
            self.launcher.close()
            self.launcher = None
        if self.directory is not None:
            rundir.remove(self.directory)
            self.directory = None

    def _new_endpoint(self, directory: Path) -> TlsEndpoint:
        """Listens where the nodes reach this machine: on one address if that is the same for all."""
        addresses = {name: parse_address(address) for name, address in self.nodes.known.items()}
        for name, (host, _) in addresses.items():
            require_tls(host, self.identity, f"node '{name}'")
        hosts = {own_address(*address) for address in addresses.values()}
        host = hosts.pop() if len(hosts) == 1 else EVERYWHERE
        set_place(directory, CALLER_NAME, host, self.identity)
        return TlsEndpoint(directory, CALLER_NAME)

    def _hub(self) -> HubClient:
        return HubClient(self.options.hub, self.identity, timeout_s=HUB_S)

    def _known_nodes(self) -> dict[str, str]:
        if not self.options.hub:
            return {}
        with self._hub() as hub:
            return {state.name: state.address for state in hub.nodes()}


class NodeAddresses:
    """Where nodes are: as given, otherwise as the hub says. It is asked at first, and again when a node is started again.

    Args:
        given: 'HOST:PORT' by name.
        ask: The addresses that the hub knows now. NetworkError if it is away.
    """

    def __init__(self, given: Mapping[str, str], ask: Callable[[], Mapping[str, str]]) -> None:
        self._given, self._ask = given, ask
        self.known: dict[str, str] = {}
        self._started: set[str] = set()

    def require(self, names: Collection[str], what: str) -> None:
        """Asks the hub. PipelineError if a node of these is not known; NetworkError if the hub cannot be reached."""
        self.known = {**self._ask(), **self._given}
        absent = [name for name in names if name not in self.known]
        if absent:
            raise PipelineError(
                f"{what}: needs {', '.join(absent)}; nodes that are alive: {', '.join(self.known) or 'none'};"
                " start a node of that name, or plan on the hub's fleet"
            )

    def of(self, name: str) -> tuple[str, int]:
        """Host and port of a node; NetworkError if it is not known."""
        if name in self._started and name not in self._given:
            with contextlib.suppress(NetworkError):  # a hub that is away: the node may be where it was
                self.known = {**self._ask(), **self._given}
        self._started.add(name)
        if name not in self.known:
            raise NetworkError(f"node '{name}': the hub does not know it as alive")
        return parse_address(self.known[name], f"node '{name}'")


class PlanPool:
    """The plans of a run, by the digests under which nodes find them in the hub's pool.

    `known` are those of folders whose plans are there already.
    """

    def __init__(self, hub: Callable[[], HubClient], address: str, known: Mapping[str, str] | None = None) -> None:
        self._hub, self._address = hub, address
        self._digests = dict(known or {})

    def uploaded(self, manifest: Manifest) -> Manifest:
        """The manifest, whose files are in the pool from now on; those that are there are not sent again."""
        if manifest.directory not in self._digests:
            shipment = shipment_of(manifest)
            if self._address:
                with self._hub() as hub:
                    hub.put_plan(shipment.record, shipment.files)
            self._digests[manifest.directory] = shipment.record.digest
        return manifest

    def digest_of(self, directory: str) -> str:
        return self._digests[directory]
