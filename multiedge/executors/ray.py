"""Stages as Ray actors, one actor per device: the plan decides where they run, Ray places and restarts them.

A cluster declares which node is which device by custom resources, `ray start --resources '{"multiedge_laptop": 1}'`. If it
declares none, Ray chooses the nodes. The plan folder must be at the same path on every node. Without a running Ray
(`ray.init` or RAY_ADDRESS) a small one is started on this machine, and stopped in the end.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multiedge.backends.heap import memory_returned
from multiedge.backends.stages import BackendOptions, open_on, require_backend_options
from multiedge.errors import MissingDependencyError, PipelineError, StageError
from multiedge.executors.flow.contract import Array
from multiedge.executors.flow.expected import stage_clock
from multiedge.executors.flow.stage_clock import StageClock
from multiedge.executors.workers.threads import (
    TICK_S,
    Again,
    Held,
    LostInputsError,
    ThreadsExecutor,
    ThreadsOptions,
)
from multiedge.fleet import Device, Fleet
from multiedge.measurements import Fault, Memory, RanStage
from multiedge.meters.memory import MemoryReading, read_memory
from multiedge.plan import Manifest, Part

RESOURCE = "multiedge_"
TASK_RETRIES = 1
"""How often Ray sends an item again whose actor died, first together with other items and then alone. An item that kills its
actor must fail in the end."""
MEMORY_S = 2.0
LOOPBACK = "127.0.0.1"
LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def ray_module() -> Any:
    """The `ray` package, or MissingDependencyError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not os.environ.get("RAY_ADDRESS"):
        # Read when ray is imported: a Ray that is no cluster listens on loopback. Otherwise `ray.init` replaces a
        # loopback address by the host's external one, and its servers, which have no authentication, listen on all networks.
        os.environ.setdefault(LOOPBACK_ONLY, "0")
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError("ray", extra="ray") from error
    return ray


class DeviceActor:
    """All stages of one device, in a process of Ray on that device."""

    def __init__(self, folder: str, parts: Mapping[int, Part], device: Device, backends: BackendOptions) -> None:
        with memory_returned():
            opened = {stage: open_on(device, backends, Path(folder), part) for stage, part in parts.items()}
        self._sessions = {stage: each.session for stage, each in opened.items()}
        self._ran = tuple(each.ran for each in opened.values())

    def run(self, stage: int, names: Sequence[str], outputs: Sequence[str], *arrays: Array) -> list[Any]:
        """The process, then the stage's outputs: objects of their own, so that each goes only where it is needed."""
        made = self._sessions[stage].run(dict(zip(names, arrays, strict=True)))
        return [os.getpid(), *(made[name] for name in outputs)]

    def pid(self) -> int:
        return os.getpid()

    def runtimes(self) -> tuple[RanStage, ...]:
        """What computes each of its stages."""
        return self._ran

    def node_id(self) -> str:
        """The node of the cluster on which Ray placed the actor."""
        return str(ray_module().get_runtime_context().get_node_id())

    def memory(self) -> MemoryReading:
        return read_memory()


@dataclass(frozen=True)
class RayOptions(ThreadsOptions):
    """Options of the executor `ray`.

    Attributes:
        load_s: How long an actor may take to start and to load its stages.
        backends: Options of backends, by name of the backend.
    """

    load_s: float = 300.0
    backends: BackendOptions = field(default_factory=dict)


class RayExecutor(ThreadsExecutor):
    """Sends references to each stage's tensors to the actor of its device, which gets them from the actors that made them.
    Memory is what the actors read of themselves."""

    options_type = RayOptions
    name = "ray"
    transport = "ray"
    lanes = 2

    def __init__(self, manifest: Manifest, fleet: Fleet, options: RayOptions) -> None:
        super().__init__(manifest, fleet, options)
        require_backend_options(fleet, options.backends, manifest.part_files)
        self._load_s, self._backends = options.load_s, options.backends
        self._actors: dict[str, Any] = {}
        self._turns: dict[str, Turns] = {}
        self._pids: dict[str, int] = {}
        self._pinned = False
        self._ray: Any = None
        self._owns_ray = False

    def start(self) -> None:
        self._ray = ray_module()
        try:
            self._join_cluster()
            self._pinned = self._is_pinned()
            for device in self.routes.devices:
                self._actors[device] = self._make_actor(device)
                self._turns[device] = Turns()
            for device in self.routes.devices:
                self._pids[device] = self._wait_started(device)
        except BaseException:
            self.close()
            raise
        super().start()

    def connect(self, stage: int, device: str) -> RayStage:
        clock = stage_clock(self.manifest, self.options.deadlines)
        part, restart_s = self.routes.parts[stage], self.options.deadlines.first_s
        return RayStage(self._ray, self._actors[device], part, device, clock, restart_s, self._saw_pid, self._turns[device])

    def settings(self) -> dict[str, Any]:
        return {"ray": {"version": self._ray.__version__, "pinned": self._pinned, "own_cluster": self._owns_ray}}

    def memory(self) -> tuple[Memory, ...]:
        return tuple(self._memory_of(device, actor) for device, actor in self._actors.items())

    def runtimes(self) -> tuple[RanStage, ...]:
        try:
            seen = self._ray.get([actor.runtimes.remote() for actor in self._actors.values()], timeout=MEMORY_S)
        except self._ray.exceptions.RayError:
            return ()
        return tuple(ran for each in seen for ran in each)

    def close(self) -> None:
        super().close()
        for actor in self._actors.values():
            self._ray.kill(actor, no_restart=True)
        self._actors.clear()
        if self._owns_ray:
            self._ray.shutdown()
            self._owns_ray = False

    def _join_cluster(self) -> None:
        if self._ray.is_initialized():
            return
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if os.environ.get("RAY_ADDRESS"):
            self._ray.init(**quiet)
        else:
            self._start_on_loopback(quiet)
        self._owns_ray = True

    def _start_on_loopback(self, quiet: Mapping[str, Any]) -> None:
        if self._ray.util.get_node_ip_address() != LOOPBACK:
            raise PipelineError(
                f"Ray would listen beyond this machine, because it was imported before; set {LOOPBACK_ONLY}=0 first, "
                "or call ray.init yourself"
            )
        self._ray.init(address="local", include_dashboard=False, _node_ip_address=LOOPBACK, **quiet)

    def _is_pinned(self) -> bool:
        """Whether the cluster declares which node is which device; PipelineError if one of the plan's devices is missing."""
        declared = sorted(name for name in self._ray.cluster_resources() if name.startswith(RESOURCE))
        for device in self.routes.devices if declared else ():
            if RESOURCE + device not in declared:
                raise PipelineError(
                    f"device '{device}' is on no node of the Ray cluster; expected the resource '{RESOURCE}{device}', "
                    f"found {', '.join(declared)}"
                )
        return bool(declared)

    def _make_actor(self, device: str) -> Any:
        parts = {stage: self.routes.parts[stage] for stage in self.routes.stages_on(device)}
        needs = {RESOURCE + device: 1} if self._pinned else {}
        # No CPUs are requested: the plan decides how busy a device is, and Ray would wait for free ones.
        kind = self._ray.remote(num_cpus=0, resources=needs, max_restarts=-1, max_task_retries=TASK_RETRIES)(DeviceActor)
        return kind.remote(self.manifest.directory, parts, self.fleet.device(device), self._backends)

    def _wait_started(self, device: str) -> int:
        errors = self._ray.exceptions
        try:
            return int(self._ray.get(self._actors[device].pid.remote(), timeout=self._load_s))
        except errors.GetTimeoutError as error:
            raise PipelineError(f"the actor of device '{device}' did not start within {self._load_s:g} s") from error
        except errors.RayError as error:
            raise PipelineError(f"the actor of device '{device}' could not start: {_last_line(error)}") from error

    def _saw_pid(self, device: str, pid: int, sent_s: float) -> bool:
        """Whether the answer came from a new process; a restart by Ray is recorded once."""
        with self._lock:
            before, self._pids[device] = self._pids[device], pid
        if before == pid:
            return False
        detail = f"Ray restarted the actor: process {before} is now {pid}; an item sent before that was answered after it"
        self.note_fault(Fault("restart", device, sent_s, time.monotonic(), detail))
        return True

    def _memory_of(self, device: str, actor: Any) -> Memory:
        try:
            seen = self._ray.get(actor.memory.remote(), timeout=MEMORY_S)
        except self._ray.exceptions.RayError as error:
            return Memory(device, None, method=f"not measured: {type(error).__name__}")
        return Memory(device, seen.peak_bytes, seen.anonymous_bytes, seen.file_bytes, method=seen.method)


class ActorGoneError(StageError):
    """The actor died while it had the item, as often as Ray sends one again."""


class Turns:
    """Items that are with an actor: several together, or one alone."""

    def __init__(self) -> None:
        self._together = 0
        self._alone = False
        self._waiting = 0
        self._changed = threading.Condition()

    @contextmanager
    def together(self, closing: threading.Event) -> Iterator[None]:
        """Waits while an item is alone with the actor or is to be; StageError if the pipeline is closed."""
        with self._changed:
            self._wait(lambda: not self._alone and not self._waiting, closing)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self, closing: threading.Event) -> Iterator[None]:
        """Waits until no other item is with the actor; StageError if the pipeline is closed."""
        with self._changed:
            self._waiting += 1
            try:
                self._wait(lambda: not self._alone and not self._together, closing)
            finally:
                self._waiting -= 1
                self._changed.notify_all()
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()

    def _wait(self, is_free: Callable[[], bool], closing: threading.Event) -> None:
        while not closing.is_set():
            if self._changed.wait_for(is_free, TICK_S):
                return
        raise StageError("the pipeline is closed")


class RayStage:
    """One stage of a device's actor. Of its outputs the caller has references, unless it wants the arrays."""

    takes_references = True

    def __init__(
        self,
        ray: Any,
        actor: Any,
        part: Part,
        device: str,
        clock: StageClock,
        restart_s: float,
        saw_pid: Callable[[str, int, float], bool],
        turns: Turns,
    ) -> None:
        self._ray, self._actor, self._part, self._device = ray, actor, part, device
        self._clock, self._restart_s, self._saw_pid, self._turns = clock, restart_s, saw_pid, turns
        self._closing = threading.Event()

    def run(self, tensors: Mapping[str, Held], wanted: Collection[str], again: Again) -> dict[str, Held]:
        """The stage's outputs; raises what the stage raised, or StageError if the actor is gone or takes too long.

        Each item that was with an actor as it died is tried once more, alone: the item that killed it must not fail others.
        """
        try:
            with self._turns.together(self._closing):
                return self._run(tensors, wanted, again)
        except ActorGoneError:
            again()
        with self._turns.alone(self._closing):
            return self._run(tensors, wanted, again)

    def close(self) -> None:
        self._closing.set()

    def _run(self, tensors: Mapping[str, Held], wanted: Collection[str], again: Again) -> dict[str, Held]:
        begin, outputs = time.monotonic(), self._part.outputs
        call = self._actor.run.options(num_returns=1 + len(outputs))
        process, *made = call.remote(self._part.stage, tuple(tensors), outputs, *tensors.values())
        held = dict(zip(outputs, made, strict=True))
        here = [name for name in outputs if name in wanted]
        pid, *arrays = self._wait([process, *(held[name] for name in here)], begin, tensors)
        held.update(zip(here, arrays, strict=True))
        if self._saw_pid(self._device, pid, begin):
            again()
        else:
            self._clock.saw(self._part.stage, self._device, time.monotonic() - begin)
        return held

    def _wait(self, answers: Sequence[Any], begin_s: float, tensors: Mapping[str, Held]) -> list[Any]:
        errors = self._ray.exceptions
        # An actor that was killed has to load its model again before it answers.
        until = begin_s + max(self._clock.limit_s(self._part.stage, self._device), self._restart_s)
        while not self._closing.is_set() and (left := until - time.monotonic()) > 0:
            try:
                return list(self._ray.get(list(answers), timeout=min(left, TICK_S)))
            except errors.GetTimeoutError:
                continue
            except errors.ObjectLostError as error:
                lost = [name for name, held in tensors.items() if isinstance(held, self._ray.ObjectRef)]
                if not lost:
                    raise StageError(f"the outputs are gone: {_last_line(error)}") from error
                raise LostInputsError(lost, _last_line(error)) from error
            except errors.RayTaskError as error:
                raise (error.cause if isinstance(error.cause, Exception) else StageError(_last_line(error))) from None
            except errors.RayError as error:
                raise ActorGoneError(f"the actor is gone: {type(error).__name__}: {_last_line(error)}") from error
        raise StageError("the pipeline is closed" if self._closing.is_set() else f"no answer for {until - begin_s:.1f} s")


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
