"""The workers of a run: who is there, how they emulate their devices, and how they are asked and told."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from multiedge.errors import PipelineError
from multiedge.executors.flow.stage_loop import CALLER_NAME
from multiedge.executors.workers.emulation import Quota, assign_cores
from multiedge.executors.workers.options import ProcessesOptions
from multiedge.executors.workers.process import WorkerProcess
from multiedge.fleet import Device, Fleet, Link
from multiedge.measurements import Memory
from multiedge.transports.namespaces import Network

STOP_S = 0.5
"""How long workers may take to end by themselves."""


class Crew:
    """Workers by device name, each on its side of `network` if there is one. A trace changes links as it goes."""

    def __init__(
        self,
        directory: Path,
        fleet: Fleet,
        options: ProcessesOptions,
        transport: str,
        planned: Iterable[str],
        network: Network | None = None,
    ) -> None:
        self.fleet, self.options = fleet, options
        self._network = network
        self.workers: dict[str, WorkerProcess] = {}
        self._directory, self._transport = directory, transport
        self._factor: dict[str, float] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._memory: dict[str, Memory] = {}
        self._quotas: dict[str, Quota] = {}
        self._by_quota: set[str] = set()
        devices = [fleet.device(name) for name in planned]
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._cores = assign_cores(devices, cores) if options.emulation.affinity else {}

    def hire(self, name: str) -> WorkerProcess:
        """A new worker for the device; it is started, not yet loaded."""
        device = self.fleet.device(name)
        quota = self._quota(device)
        prefix = self._network.command(name) if self._network else ()
        worker = WorkerProcess(self._directory, device, self._hello(device, by_waiting=quota is None), prefix)
        self.workers[name] = worker
        if quota:
            quota.add(worker.pid)
        return worker

    def dismiss(self, name: str) -> None:
        """Kills the device's worker, which may hang or have ended; what it has shown of its memory is kept."""
        worker = self.workers.pop(name, None)
        if worker is None:
            return
        self._keep_memory(worker.memory())
        worker.end()
        if quota := self._quotas.pop(name, None):
            quota.close()

    def close(self) -> None:
        """Ends every worker: by asking, and a moment later by force."""
        for worker in self.workers.values():
            worker.stop()
        until = time.monotonic() + STOP_S
        for worker in self.workers.values():
            worker.end(max(0.0, until - time.monotonic()))
        self.workers.clear()
        for quota in self._quotas.values():
            quota.close()
        self._quotas.clear()

    def memory(self) -> list[Memory]:
        """Of every device that took part, the largest of its workers."""
        for worker in self.workers.values():
            self._keep_memory(worker.memory())
        return list(self._memory.values())

    def _keep_memory(self, found: Memory) -> None:
        before = self._memory.get(found.device)
        if before is None or (found.peak_bytes or 0) >= (before.peak_bytes or 0):
            self._memory[found.device] = found

    def set_speed(self, name: str, factor: float) -> None:
        """The device now runs at `factor` times its speed."""
        self._factor[name] = factor
        if name in self.workers:
            self.workers[name].say(do="speed", factor=factor)

    def link(self, source: str, target: str) -> Link:
        return self._links.get((source, target)) or self.fleet.link(source, target)

    def set_link(self, source: str, target: str, link: Link) -> None:
        """The link in one direction is now `link`; both ends are told."""
        self._links[source, target] = link
        if self._network:
            self._network.change(source, target, link)
        for name, peer in ((source, target), (target, source)):
            if name in self.workers:
                self.workers[name].say(do="link", peer=peer, link=asdict(self.in_process(link)))

    def in_process(self, link: Link) -> Link:
        """What processes emulate of a link: all of it, or what the kernel leaves to them."""
        return replace(link, bandwidth_bytes_per_s=math.inf) if self._network else link

    def caller_links(self) -> dict[str, Link]:
        """Links from the caller to each device, if the fleet says where the caller is."""
        source = self.fleet.source
        if source is None or not self.options.emulation.links:
            return {}
        return {name: self.in_process(self.link(source, name)) for name in self.fleet.names if name != source}

    def emulated(self) -> dict[str, Any]:
        """What acted on each device, for the results."""
        wish = self.options.emulation
        found = {}
        for device in map(self.fleet.device, self._memory or self.workers):
            how = "waiting" if wish.speed and self._speed(device) < 1 else "none"
            found[device.name] = {
                "threads": device.threads,
                "cores": list(self._cores.get(device.name, ())),
                "speed": self._speed(device) if wish.speed or wish.quota else 1.0,
                "speed_by": "CPU quota" if device.name in self._by_quota else how,
                "speed_above_1_ignored": (device.speed or 1.0) > 1.0,
                "memory_limit_bytes": device.memory_bytes if wish.memory else None,
            }
        by_whom = "network namespaces (tbf)" if self._network else "in process"
        return {"devices": found, "links": by_whom if wish.links else "none"}

    def _speed(self, device: Device) -> float:
        return min(1.0, device.speed or 1.0)

    def _quota(self, device: Device) -> Quota | None:
        """A CPU quota, if one is wanted, needed and allowed."""
        if not self.options.emulation.quota or self._speed(device) >= 1.0:
            return None
        quota = Quota(f"{len(self._quotas)}", self._speed(device) * device.threads)
        if not quota.made:
            raise PipelineError(
                f"device '{device.name}': no CPU quota can be set, cgroups are not writable here;"
                " emulate its speed by waiting instead"
            )
        self._quotas[device.name] = quota
        self._by_quota.add(device.name)
        return quota

    def _hello(self, device: Device, *, by_waiting: bool) -> Mapping[str, Any]:
        options, wish = self.options, self.options.emulation
        peers = [name for name in self.fleet.names if name != device.name]
        links = {peer: asdict(self.in_process(self.link(device.name, peer))) for peer in peers} if wish.links else {}
        return {
            "do": "hello",
            "device": asdict(replace(device, power=None)),
            "session": dict(options.backends.get(device.backend, {})),
            "speed": self._speed(device) if wish.speed and by_waiting else 1.0,
            "factor": self._factor.get(device.name, 1.0),
            "cores": list(self._cores.get(device.name, ())),
            "transport": self._transport,
            "links": links,
            "caller": self.fleet.source or CALLER_NAME,
            "micro_batch": options.micro_batch,
            "record": options.record_events,
            "seed": options.seed,
        }
