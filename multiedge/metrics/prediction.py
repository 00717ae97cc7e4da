"""The throughput that a plan predicts for one run, and the same at the pace that this machine had meanwhile.

Devices that are emulated on one machine share its processors, as `multiedge.planning.shared_host` models it. At the pace
measured, two figures of the run take the place of the plan's, and no rate does: the processor time of an item, over all workers
and for the caller, and the processor time of other work. One factor scales all stages, so a plan of wrong proportions remains
wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from multiedge.fleet import CALLER_NAME, Device, Fleet
from multiedge.measurements import HostLoad, Measurements
from multiedge.metrics.run import fps
from multiedge.metrics.value import HIGHER, LOWER, Context, Figure, metric
from multiedge.plan import CALLER, Path, Plan
from multiedge.planning.cost import Shares, caller_seconds, own_seconds
from multiedge.planning.shared_host import Admission, Host, Work, competing_threads, outcome
from multiedge.quantity import number_text

LEAST_CPU_S = 0.5
"""Processor time is counted in steps of 10 ms: the pace of a run in which the workers used less is not known."""
GROUPS = {"SingleStream": 1, "MultiStream": 8}
"""Items that are due together in the scenarios in which the next ones wait for their answers."""
MANY_ITEMS = 1000
"""Of a run that is not known yet: filling and emptying the pipeline does not count."""
ROUNDING = 1.001
"""A link is the bottleneck only if it takes longer than the busiest device by more than this factor."""


@dataclass(frozen=True)
class Emulated:
    """How a device was emulated: its declared speed, the speed for which stages wait (at most 1), and its threads."""

    declared_speed: float = 1.0
    speed: float = 1.0
    threads: int = 1

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Emulated:
        """From what the settings of a run state of one device; results of earlier versions have no `declared_speed`."""
        speed = float(settings["speed"])
        return cls(float(settings.get("declared_speed") or speed), speed, int(settings["threads"]))

    @classmethod
    def by(cls, device: Device) -> Emulated:
        """As a device will be emulated."""
        speed = device.speed or 1.0
        return cls(speed, min(1.0, speed), device.threads)


@dataclass(frozen=True)
class Pace:
    """How this machine ran a pipeline.

    Attributes:
        factor: Processor time of an item as planned, over that which the workers used; below 1 is slower than planned.
        caller_s: Processor time of the caller per item.
        other_cores: Processors that other work had, on average.
    """

    factor: float
    caller_s: float
    other_cores: float

    def __str__(self) -> str:
        return f"items took {1 / self.factor:.2f} x the planned processor time, other work {self.other_cores:.2f} processors"


@dataclass(frozen=True)
class SharedRun:
    """A run whose devices share this machine: the work of each stage, the paths of items, the items, the processors, what the
    caller takes per item, the executor's wall time over its processor time, and how much longer stages compute beside each
    other and in turns."""

    works: tuple[Work, ...]
    paths: tuple[Path, ...]
    admission: Admission
    cores: float
    caller_s: float = 0.0
    switching: float = 1.0
    beside: float = 1.0
    in_turns: float = 1.0

    @classmethod
    def of(cls, measurements: Measurements, plan: Plan) -> SharedRun | None:
        """None if this machine did not emulate the devices, or the plan has no estimate of its stages."""
        emulated = measurements.settings.get("emulated", {})
        devices = {name: Emulated.of(settings) for name, settings in emulated.get("devices", {}).items()}
        cores = emulated.get("processors") or (measurements.host.cores if measurements.host else None)
        if not devices or not cores or not plan.estimate.stages:
            return None
        works = planned_work(plan, devices)
        shared = cls(works, _with_all(plan.paths, works[len(plan.stages) :]), _admission(measurements), float(cores))
        return shared.with_own(plan)

    @classmethod
    def planned(cls, plan: Plan, fleet: Fleet, cores: int) -> SharedRun:
        """A plan as it would run with all devices emulated on one machine of so many processors, with many items."""
        used = {name for stage in plan.stages for name in stage.devices}
        works = planned_work(plan, {name: Emulated.by(fleet.device(name)) for name in used})
        paths = _with_all(plan.paths, works[len(plan.stages) :])
        return cls(works, paths, Admission(MANY_ITEMS, 2 * len(plan.stages) + 2), float(cores)).with_own(plan)

    def with_own(self, plan: Plan) -> SharedRun:
        """The same with what the executor itself takes, where the plan states that."""
        own = plan.estimate.pipeline
        if own is None:
            return self
        shares, devices = Shares.of(len(plan.stages), plan.paths), {name for stage in plan.stages for name in stage.devices}
        # Where each process has a processor, none is lost to switching between them.
        switching = own.switching if len(devices) + 1 > self.cores else 1.0
        seconds = own_seconds(own, plan.stages, plan.transfers, shares)
        stages = [work.with_more(more_s, switching) for work, more_s in zip(self.works, seconds, strict=False)]
        works = (*stages, *self.works[len(stages) :])
        caller_s = caller_seconds(own, plan.transfers, shares)
        return replace(self, works=works, caller_s=caller_s, switching=switching, beside=own.beside, in_turns=own.in_turns)

    @property
    def fps(self) -> float:
        """Items per second without other work."""
        return self._outcome(self.works, self.caller_s, Host(self.cores, 0.0, self.beside, self.in_turns))

    def _outcome(self, works: tuple[Work, ...], caller_s: float, host: Host, other_cores: float = 0.0) -> float:
        if caller_s > 0:
            works = _with_caller(works, caller_s * self.switching)
        paths = _with_all(self.paths, works[len(self.works) :])
        other_threads = competing_threads(works, self.admission, self.cores, other_cores, paths) if other_cores > 0 else 0.0
        return outcome(works, self.admission, replace(host, other_threads=other_threads), paths).fps

    def pace(self, host: HostLoad) -> Pace | None:
        """The pace of the run; None if the workers used too little processor time to tell."""
        used_s = sum(host.workers_s.values())
        shares = Shares.of(len(self.works), self.paths).stages
        planned_s = self.admission.items * sum(share * work.processor_s for share, work in zip(shares, self.works, strict=True))
        if used_s < LEAST_CPU_S or planned_s <= 0 or host.wall_s <= 0:
            return None
        return Pace(planned_s / used_s, host.caller_s / self.admission.items, host.other_s / host.wall_s)

    def fps_at(self, pace: Pace) -> float:
        """Items per second if items take the processor time that they took, and other work competes as it did."""
        # The processor time that was used includes what stages take more beside each other and in turns.
        works = tuple(work.at_pace(pace.factor) for work in self.works)
        return self._outcome(works, pace.caller_s, Host(self.cores), pace.other_cores)


def planned_work(plan: Plan, devices: Mapping[str, Emulated]) -> tuple[Work, ...]:
    """What each stage of a plan does on this machine, then its slowest link, and the delay of its messages."""
    works = [
        _stage_work(stage.devices, costs.compute_s, devices.get(stage.device, Emulated()), _sources(plan, number))
        for number, (stage, costs) in enumerate(zip(plan.stages, plan.estimate.stages, strict=True))
    ]
    last = _last(works)
    if plan.estimate.bottleneck_s > ROUNDING * _busiest_s(plan):
        works.append(Work(("a link",), 0.0, plan.estimate.bottleneck_s, after=last))
        last = _last(works)
    cores = sum(work.threads for work in works)
    alone: list[tuple[Path, ...]] = [(path,) for path in _with_all(plan.paths, works[len(plan.stages) :])] or [()]
    alone_s = max(1.0 / outcome(tuple(works), Admission(1, 1), Host(cores), paths).fps for paths in alone)
    delay_s = plan.estimate.latency_s - alone_s
    return (*works, Work((), 0.0, delay_s, after=last)) if delay_s > 0 else tuple(works)


def _with_all(paths: tuple[Path, ...], others: Sequence[Work]) -> tuple[Path, ...]:
    """The paths of items that pass these works, too, after their stages: as many places as there are stages before."""
    used = max((max(path.stages) + 1 for path in paths), default=0)
    return tuple(replace(path, stages=(*path.stages, *range(used, used + len(others)))) for path in paths)


def _stage_work(names: tuple[str, ...], compute_s: float, device: Emulated, after: tuple[int, ...]) -> Work:
    """The plan's time is that at the declared speed; a speed above 1 is not emulated."""
    computing_s = compute_s * device.declared_speed
    return Work(names, computing_s, computing_s * (1.0 / device.speed - 1.0), device.threads, after)


def _sources(plan: Plan, number: int) -> tuple[int, ...]:
    return tuple(sorted({move.source for move in plan.transfers if move.target == number and move.source != CALLER}))


def _last(works: list[Work] | tuple[Work, ...]) -> tuple[int, ...]:
    """The works that no other one comes after."""
    return tuple(sorted(set(range(len(works))) - {before for work in works for before in work.after}))


def _busiest_s(plan: Plan) -> float:
    busy_s: dict[str, float] = {}
    shares = Shares.of(len(plan.stages), plan.paths).stages
    for stage, costs, share in zip(plan.stages, plan.estimate.stages, shares, strict=True):
        for device in stage.devices:
            busy_s[device] = busy_s.get(device, 0.0) + share * costs.compute_s / len(stage.devices)
    return max(busy_s.values())


def _with_caller(works: tuple[Work, ...], caller_s: float) -> tuple[Work, ...]:
    """The same with what the caller does for an item when it is answered."""
    return (*works, Work((CALLER_NAME,), caller_s, after=_last(works)))


def _admission(measurements: Measurements) -> Admission:
    settings, items = measurements.settings, max(1, len(measurements.items))
    group = GROUPS.get(str(settings.get("scenario")))
    return Admission(items, group or int(settings.get("depth") or items), in_groups=group is not None)


@metric("items/s", HIGHER, "throughput that the plan predicts for the run, on the processors that there are")
def fps_predicted(measurements: Measurements, context: Context) -> Figure:
    plan = context.plan
    if plan is None or not 0 < plan.estimate.bottleneck_s < math.inf:
        return Figure(None, "no plan with an estimate")
    full_fps, run = plan.estimate.fps_expected or plan.estimate.fps_bound, SharedRun.of(measurements, plan)
    if run is None:
        return Figure(full_fps, method="modelled")
    devices = len({device for stage in plan.stages for device in stage.devices})
    note = f"{devices} devices share {run.cores:g} processors; {number_text(full_fps)} without" if devices > run.cores else ""
    return _limited(run.fps, note, measurements)


@metric("items/s", HIGHER, "fps_predicted at the pace that this machine had during the run")
def fps_predicted_at_pace(measurements: Measurements, context: Context) -> Figure:
    known = _paced(measurements, context.plan)
    if isinstance(known, str):
        return Figure(None, known)
    run, pace = known
    return _limited(run.fps_at(pace), str(pace), measurements)


def rate_loss(measurements: Measurements, plan: Plan | None) -> float | None:
    """By what share other work lowered the rate that the pipeline could have; None where its pace is not known."""
    known = _paced(measurements, plan)
    if isinstance(known, str):
        return None
    run, pace = known
    return max(0.0, 1.0 - run.fps_at(pace) / run.fps_at(replace(pace, other_cores=0.0)))


def _limited(predicted: float, note: str, measurements: Measurements) -> Figure:
    """No more than the rate at which items are due, if there is one."""
    rate_per_s = measurements.settings.get("rate_per_s")
    if rate_per_s and rate_per_s < predicted:
        return Figure(rate_per_s, "the rate at which items are due", "modelled")
    return Figure(predicted, note, "modelled")


def _paced(measurements: Measurements, plan: Plan | None) -> tuple[SharedRun, Pace] | str:
    """The run and its pace, or why that is not known."""
    if plan is None or fps_predicted(measurements, Context(plan)).value is None:
        return "no plan with an estimate"
    run, host = SharedRun.of(measurements, plan), measurements.host
    if run is None or host is None:
        return "no devices of this machine, or its load was not measured"
    if any(entry.gpu_method for entry in measurements.memory):
        return "a device computes on a GPU"
    if any(work.threads > 1 for work in run.works):
        return "a device has several threads; the plan does not state their processor time"
    if measurements.faults:
        return "the fleet changed during the run"
    pace = run.pace(host)
    return (run, pace) if pace else f"the workers used less than {LEAST_CPU_S:g} s of processor time"


@metric("1", LOWER, "distance of fps_predicted from fps")
def prediction_error(measurements: Measurements, context: Context) -> Figure:
    return _error(fps_predicted(measurements, context), measurements, context)


@metric("1", LOWER, "distance of fps_predicted_at_pace from fps")
def prediction_error_at_pace(measurements: Measurements, context: Context) -> Figure:
    return _error(fps_predicted_at_pace(measurements, context), measurements, context)


def _error(predicted: Figure, measurements: Measurements, context: Context) -> Figure:
    seen = fps(measurements, context).value
    if predicted.value is None or not seen:
        return Figure(None, predicted.note or "no item was answered")
    error = predicted.value / seen - 1.0
    return Figure(abs(error), f"predicted {error:+.1%}", "modelled")
