"""One worker process per device on this machine, all stages at the same time: the default executor."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from multiedge.errors import ConfigError
from multiedge.executors.workers.caller import WorkersExecutor
from multiedge.executors.workers.local import LocalLauncher
from multiedge.executors.workers.open_files import require_open_files
from multiedge.executors.workers.options import ProcessesOptions
from multiedge.fleet import CALLER_NAME, Fleet
from multiedge.measurements import Memory
from multiedge.plan import Manifest
from multiedge.transports import TRANSPORTS, rundir
from multiedge.transports.namespaces import Network
from multiedge.transports.peers import set_place
from multiedge.transports.tcp import LOOPBACK, set_hosts

log = logging.getLogger(__name__)


class ProcessesExecutor(WorkersExecutor):
    """Runs a manifest's parts in spawned workers on this machine, emulating the fleet as far as the options require."""

    options_type = ProcessesOptions
    name = "processes"

    def __init__(self, manifest: Manifest, fleet: Fleet, options: ProcessesOptions) -> None:
        super().__init__(manifest, fleet, options)
        self.options = options
        self.slows_down = options.emulation.speed or options.emulation.quota
        self.directory: Path | None = None
        self.transport = pick_transport(options)
        self._network: Network | None = None

    def start(self) -> None:
        require_open_files(len(self.routes.devices))
        endpoint_class = TRANSPORTS.load(self.transport)
        self.directory = rundir.make()
        try:
            if self.options.emulation.namespaces:
                self._network = Network(self.fleet, CALLER_NAME)
                set_hosts(self.directory, self._network.hosts)
            hosts = self._network.hosts if self._network else {}
            for name, identity in self.options.identities.items():
                set_place(self.directory, name, hosts.get(name, LOOPBACK), identity)
            self.open_endpoint(endpoint_class(self.directory, CALLER_NAME))
            self._start_workers(self.directory)
        except BaseException:
            self.close()
            raise

    def _start_workers(self, directory: Path) -> None:
        emulation, fleet = self.options.emulation, self.fleet
        self.launcher = LocalLauncher(directory, fleet, self.options, self.transport, self.routes.devices, self._network)
        if fleet.source and emulation.links:
            for name in fleet.names:
                if name != fleet.source:
                    self.shaper.change(name, self.launcher.in_process(fleet.link(fleet.source, name)))
        self.begin(self.launcher, shapes_links=emulation.links, limits_memory=emulation.memory)

    def settings(self, memory: tuple[Memory, ...]) -> dict[str, Any]:
        self._tell_of_full_memory()
        return {"emulated": self.launcher.emulated(entry.device for entry in memory)}

    def forget(self, before_epoch: int) -> None:
        super().forget(before_epoch)
        if self.directory is not None:
            for path in self.directory.glob("slot-*"):
                if int(path.name.split("-")[1]) < before_epoch:
                    rundir.unlink(path)

    def _tell_of_full_memory(self) -> None:
        nbytes = rundir.bytes_elsewhere(self.directory) if self.directory else 0
        if nbytes:
            place, folder = (self.directory or Path()).parent, tempfile.gettempdir()
            log.warning(
                "%s is full: messages of %.1f MiB go through files in %s; give it more room, or lower depth",
                place,
                nbytes / 2**20,
                folder,
            )

    def close(self) -> None:
        super().close()
        if self._network is not None:
            self._network.close()
            self._network = None
        if self.directory is not None:
            rundir.remove(self.directory)
            self.directory = None


def pick_transport(options: ProcessesOptions) -> str:
    """The transport to use where the options leave it open; ConfigError for one that cannot be used with the other options."""
    if options.identities:
        return _require_transport(options, "tls", "with identities")
    if options.emulation.namespaces:
        return _require_transport(options, "tcp", "between network namespaces")
    if options.transport == "tls":
        raise ConfigError("transport: 'tls' is between machines, of the executor 'fleet'; leave it at 'auto'")
    if options.transport == "auto":
        return "shared-memory" if rundir.has_shared_memory() else "pipe"
    return options.transport


def _require_transport(options: ProcessesOptions, needed: str, where: str) -> str:
    if options.transport not in ("auto", needed):
        raise ConfigError(f"transport: expected '{needed}' {where}, got '{options.transport}'; leave it at 'auto'")
    return needed
