"""Targets of the executor `processes`: over shared memory, pipes, TCP and network namespaces, and with new plans."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil

from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.executors import open_pipeline
from multiedge.executors.processes import ProcessesExecutor
from multiedge.executors.workers.options import Deadlines, Emulation
from multiedge.fleet import Fleet, Link
from multiedge.onnx_io.manifest import digest_of
from multiedge.plan import Manifest
from multiedge.replanning.replanner import Replanner
from multiedge.trace import DeviceEvent, LinkEvent, Trace, TraceEvent
from multiedge.transports import rundir
from tests.builders.full_disks import mounted
from tests.builders.pipelines import small_plan, synthetic_chain, synthetic_fleet, vectors
from tests.chaos import traces
from tests.chaos.schedule import POISON, FaultEvent, Kind, Schedule
from tests.chaos.target import Answers, Numbers, Work

STAGES, DEVICES = 3, 4
PATIENCE = Deadlines(heartbeat_s=1.0, floor_s=0.5, first_s=30.0, start_s=30.0, link_s=0.4, cooldown_s=0.3)
DOWN = Link(bandwidth_bytes_per_s=1e-6)
SLOW_BYTES_PER_S, SLOW_LATENCY_S = 4e6, 0.03
DEVICE_BYTES = 200 << 20
DISK_BYTES = 32 << 20
DISTINCT = 499
"""How many different inputs real models are given."""
BY_TRACE = (Kind.SLOW_LINK, Kind.SLOW_DEVICE, Kind.LEAVE)
FAULTS = frozenset({Kind.KILL, Kind.STOP, Kind.CUT, *BY_TRACE, Kind.FULL_DISK, Kind.CHANGED_PART})


def make_chain(folder: Path) -> Manifest:
    """A chain whose first stage has the poison items of `Numbers`, with digests, so that a change is seen."""
    poison = {"crash_at": Numbers.CRASH, "hang_at": Numbers.HANG, "leak_at": Numbers.MEMORY, "leak_bytes": DEVICE_BYTES}
    manifest = synthetic_chain(folder, STAGES, 0.0005, **poison)
    return replace(
        manifest, parts=tuple(replace(part, files={part.file: digest_of(folder / part.file)}) for part in manifest.parts)
    )


def make_trace(schedule: Schedule, fleet: Fleet) -> Trace:
    """The faults of which the fleet gives notice."""
    events: list[TraceEvent] = []
    for event in schedule.of_kinds(*BY_TRACE):
        device, until_s = fleet.names[event.place % len(fleet.names)], event.at_s + event.lasts_s
        if event.kind is Kind.LEAVE:
            events += [DeviceEvent(event.at_s, device, "leave"), DeviceEvent(until_s, device, "return")]
        elif event.kind is Kind.SLOW_DEVICE:
            events += [DeviceEvent(event.at_s, device, "speed", 0.1), DeviceEvent(until_s, device, "speed", 1.0)]
        else:
            for peer in set(fleet.names) - {device}:
                usual = fleet.link(device, peer)
                events.append(LinkEvent(event.at_s, (device, peer), SLOW_BYTES_PER_S, SLOW_LATENCY_S))
                events.append(LinkEvent(until_s, (device, peer), usual.bandwidth_bytes_per_s, usual.latency_s))
    return Trace(tuple(events))


class RunningProcesses:
    """Harms the workers of a pipeline of this process."""

    def __init__(self, executor: ProcessesExecutor, work: Work, parts: Path, disk: Path | None) -> None:
        self.executor, self.work = executor, work
        self._parts, self._disk = parts, disk
        self._stopped: dict[FaultEvent, psutil.Process] = {}

    def inject(self, event: FaultEvent) -> bool:
        match event.kind:
            case Kind.KILL:
                return self._signal(event, signal.SIGKILL)
            case Kind.STOP:
                return self._signal(event, signal.SIGSTOP)
            case Kind.CUT:
                return self._set_links(event, is_down=True)
            case Kind.FULL_DISK:
                return self._fill()
            case Kind.CHANGED_PART:
                return self._change(event)
        return event.kind in BY_TRACE  # the supervisor plays them

    def restore(self, event: FaultEvent) -> None:
        if event.kind is Kind.CUT:
            self._set_links(event, is_down=False)
        elif event.kind is Kind.FULL_DISK and self._disk is not None:
            (self._disk / "ballast").unlink(missing_ok=True)
        elif event in self._stopped:
            with suppress(psutil.NoSuchProcess):  # the supervisor has ended it
                self._stopped.pop(event).resume()

    def _signal(self, event: FaultEvent, number: signal.Signals) -> bool:
        workers = sorted(self.executor.pool.workers)
        if not workers:
            return False
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.executor.pool.workers[workers[event.place % len(workers)]].pid)
            process.send_signal(number)
            if number is signal.SIGSTOP:
                self._stopped[event] = process
            return True
        return False

    def _set_links(self, event: FaultEvent, *, is_down: bool) -> bool:
        fleet = self.executor.fleet
        device = fleet.names[event.place % len(fleet.names)]
        for peer in set(fleet.names) - {device}:
            for ends in ((device, peer), (peer, device)):
                self.executor.set_link(*ends, DOWN if is_down else fleet.link(*ends))
        return True

    def _fill(self) -> bool:
        if self._disk is None:
            return False
        with suppress(OSError), open(self._disk / "ballast", "wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(1 << 16))
        return True

    def _change(self, event: FaultEvent) -> bool:
        """A part that still loads and computes something else, under the same name; or other weights, in place."""
        weights = self._parts.parent / "small.onnx"
        if weights.exists() and event.place % 2:
            content = weights.read_bytes()
            with weights.open("r+b") as file:
                file.write(content[:1000] + content[:999:-1])
            return True
        files = sorted(path for path in self._parts.iterdir() if path.suffix in (".json", ".onnx") and path.stem != "plan")
        chosen = files[event.place % len(files)]
        if chosen.suffix == ".json":
            content = {**json.loads(chosen.read_text()), "add": 1000}
            chosen.write_text(json.dumps(content))
        else:
            chosen.write_bytes(files[(event.place + 1) % len(files)].read_bytes())
        return True


class Processes:
    """Synthetic stages in worker processes, over one transport."""

    kinds = FAULTS | POISON

    def __init__(self, name: str, **options: Any) -> None:
        self.name, self._options = name, options

    @contextmanager
    def open(self, folder: Path, schedule: Schedule) -> Iterator[RunningProcesses]:
        fleet = synthetic_fleet(DEVICES, memory_bytes=DEVICE_BYTES)
        (folder / "parts").mkdir()
        manifest = make_chain(folder / "parts")
        with ExitStack() as stack:
            disk = disk_or_none(stack, folder / "memory")
            if disk is not None:
                stack.enter_context(patch.object(rundir, "SHARED", disk))
            options = {"deadlines": PATIENCE, "record_events": False, **self._options}
            pipeline = stack.enter_context(open_pipeline(manifest, fleet, trace=make_trace(schedule, fleet), **options))
            yield RunningProcesses(_processes(pipeline.executor), Numbers(STAGES), folder / "parts", disk)

    def left(self) -> frozenset[str]:
        return frozenset([*traces.processes(), *traces.folders(), *traces.networks(), *traces.sockets()])


class Replanned(Processes):
    """A real model, planned anew whenever the fleet changes; new parts are written to the disk that may be full."""

    kinds = FAULTS | {Kind.POISON_INPUT}

    @contextmanager
    def open(self, folder: Path, schedule: Schedule) -> Iterator[RunningProcesses]:
        with ExitStack() as stack:
            disk = disk_or_none(stack, folder / "disk")
            place = disk or folder
            manifest, fleet = small_plan(place)
            inputs = vectors(DISTINCT, schedule.seed)
            whole = OnnxRuntimeBackend().open(place / "small.onnx")
            work = Answers(inputs, [whole.run(each) for each in inputs], {"x": np.zeros((1, 3), np.float32)})
            replanner = stack.enter_context(Replanner(manifest, fleet))
            options = {"deadlines": PATIENCE, "record_events": False, "replan": replanner, **self._options}
            pipeline = stack.enter_context(open_pipeline(manifest, fleet, trace=make_trace(schedule, fleet), **options))
            yield RunningProcesses(_processes(pipeline.executor), work, Path(manifest.directory), disk)


def _processes(executor: object) -> ProcessesExecutor:
    assert isinstance(executor, ProcessesExecutor)
    return executor


def disk_or_none(stack: ExitStack, path: Path) -> Path | None:
    """A small file system until `stack` ends; None where none can be mounted, and full disks do not apply."""
    try:
        return stack.enter_context(mounted(path, DISK_BYTES))
    except OSError:
        return None


BY_KERNEL = Emulation(namespaces=True)
