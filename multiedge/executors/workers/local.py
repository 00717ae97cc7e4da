"""Workers that are processes of this machine, each emulating its device as far as the options say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from multiedge.backends.stages import options_for
from multiedge.errors import PipelineError
from multiedge.executors.workers.emulation import Quota, assign_cores
from multiedge.executors.workers.messages import Hello
from multiedge.executors.workers.options import ProcessesOptions
from multiedge.executors.workers.process import REGISTERED_FUNCTIONS, WorkerProcess
from multiedge.fleet import CALLER_NAME, Device, Fleet, Link
from multiedge.meters.cpu import own_processors
from multiedge.transports.namespaces import Network


class LocalLauncher:
    """Starts worker processes that share `directory`, each in its namespace of `network` if there is one. Devices that are
    `planned` get cores of their own."""

    def __init__(
        self,
        directory: Path,
        fleet: Fleet,
        options: ProcessesOptions,
        transport: str,
        planned: Iterable[str],
        network: Network | None = None,
    ) -> None:
        self._directory, self._fleet, self._options = directory, fleet, options
        self._transport, self._network = transport, network
        self._quotas_made = 0
        self._by_quota: set[str] = set()
        devices = [fleet.device(name) for name in planned]
        self._processors = own_processors()
        self._cores = assign_cores(devices, self._processors) if options.emulation.affinity else {}

    def start(self, device: Device, factor: float, links: Mapping[str, Link]) -> WorkerProcess:
        quota = self._quota(device)
        emulation, options = self._options.emulation, self._options
        hello = Hello(
            device=device,
            backends=options_for(device, options.backends),
            speed=_speed(device) if emulation.speed and quota is None else 1.0,
            factor=factor,
            cores=self._cores.get(device.name, ()),
            transport=self._transport,
            links={peer: self.in_process(link) for peer, link in links.items()} if emulation.links else {},
            caller=self._fleet.source or CALLER_NAME,
            micro_batch=options.micro_batch,
            record=options.record_events,
            seed=options.seed,
            memory_limit_bytes=device.memory_bytes if emulation.memory else None,
        )
        prefix = self._network.command(device.name) if self._network else ()
        further = (REGISTERED_FUNCTIONS,) if options.registered_functions else ()
        worker = WorkerProcess(self._directory, hello, prefix, quota, further=further)
        try:
            if quota:
                quota.add(worker.pid)
        except OSError:
            worker.end()
            raise
        return worker

    def change_link(self, source: str, target: str, link: Link) -> Link:
        if self._network:
            self._network.change(source, target, link)
        return self.in_process(link)

    def in_process(self, link: Link) -> Link:
        """What processes emulate of a link: all of it, or what the kernel leaves to them."""
        return replace(link, bandwidth_bytes_per_s=math.inf) if self._network else link

    def emulated(self, names: Iterable[str]) -> dict[str, Any]:
        """What had an effect on each device, for the results."""
        wanted = self._options.emulation
        by_device = {}
        for device in map(self._fleet.device, names):
            how = "waiting" if wanted.speed and _speed(device) < 1 else "none"
            by_device[device.name] = {
                "threads": device.threads,
                "cores": list(self._cores.get(device.name, ())),
                "speed": _speed(device) if wanted.speed or wanted.quota else 1.0,
                "declared_speed": device.speed,
                "speed_by": "CPU quota" if device.name in self._by_quota else how,
                "speed_above_1_ignored": (device.speed or 1.0) > 1.0,
                "memory_limit_bytes": device.memory_bytes if wanted.memory else None,
            }
        links_by = "network namespaces (tbf)" if self._network else "in process"
        return {"devices": by_device, "processors": len(self._processors), "links": links_by if wanted.links else "none"}

    def _quota(self, device: Device) -> Quota | None:
        """A CPU quota, if one is wanted, needed and allowed."""
        if not self._options.emulation.quota or _speed(device) >= 1.0:
            return None
        quota = Quota(f"{self._quotas_made}", _speed(device) * device.threads)
        if not quota.made:
            raise PipelineError(
                f"device '{device.name}': no CPU quota can be set, cgroups are not writable here;"
                " emulate its speed by waiting instead"
            )
        self._quotas_made += 1
        self._by_quota.add(device.name)
        return quota


def _speed(device: Device) -> float:
    return min(1.0, device.speed or 1.0)
