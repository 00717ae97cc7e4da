"""Times of the real sub-models that a plan would use, fed back until the plan and the measured times agree.

A segment's time is not the sum of its nodes' times: cutting undoes fusions, moves layout changes and changes what is in the
caches. So every stage of a plan is cut out, run and timed; the times of its nodes are rescaled to that sum; the strategy
plans again. libcoral's profiling partitioner times only the last segment; here all of them are timed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from multiedge.backends.stages import memory_use_of, resolved_fleet
from multiedge.backends.timing import Accuracy, Progress, silent, time_in_turn
from multiedge.errors import ConfigError, ProfileError
from multiedge.files import temporary_folder, write_text
from multiedge.fleet import Fleet
from multiedge.formats.documents import read_json
from multiedge.graph import Graph
from multiedge.onnx_io import write_parts
from multiedge.plan import Manifest, Plan, Stage
from multiedge.planning import cost
from multiedge.planning.kept import with_kept_states
from multiedge.planning.rates import with_rates
from multiedge.profile import Profile
from partitioners import PARTITIONERS
from profilers.engine.composed import composed_calls
from profilers.engine.cutting import part_calls
from profilers.engine.host import Host, runtime_name
from profilers.engine.machine import machine_name
from profilers.measured import MeasuredProfiler

STAGE_ACCURACY = Accuracy(relative=0.02, budget_s=4.0, least=5, most=200, warmup=2)


class Strategy(Protocol):
    """A partitioner: `partitioners.engine.contract.Partitioner`."""

    def plan(self, profile: Profile, fleet: Fleet) -> Plan: ...


class Timer(Protocol):
    """What measures how long each stage of a plan takes on this machine."""

    def times(self, graph: Graph, plan: Plan, hosts: Sequence[Host]) -> list[float]:
        """Seconds of each stage, with the backend and threads of its host."""
        ...


@dataclass(frozen=True)
class Round:
    """One turn of planning and timing; seconds of each stage on this machine. `value` is the plan's objective with the
    measured times."""

    stages: tuple[Stage, ...]
    predicted_s: tuple[float, ...]
    measured_s: tuple[float, ...]
    value: float

    @property
    def error(self) -> float:
        """The largest relative difference between predicted and measured."""
        pairs = zip(self.predicted_s, self.measured_s, strict=True)
        return max(abs(predicted - measured) / measured for predicted, measured in pairs)


def refine(
    profile: Profile, fleet: Fleet, strategy: Strategy, timer: Timer, *, rounds: int = 6, tolerance: float = 0.03
) -> tuple[Profile, Plan, tuple[Round, ...]]:
    """The profile with segment times, the best plan whose stages were all timed, and the rounds.

    Ends when predicted and measured agree within `tolerance`, when planning again gives the same stages, or after
    `rounds`. ProfileError if the profile holds no measured times of this machine.
    """
    history: list[Round] = []
    best: tuple[float, Profile, Plan] | None = None
    plan = strategy.plan(with_rates(profile), fleet)
    for _ in range(rounds):
        hosts = [Host.of(fleet.device(stage.device)) for stage in plan.stages]
        measured = timer.times(profile.graph, plan, hosts)
        predicted = [_host_seconds(profile, stage, host) for stage, host in zip(plan.stages, hosts, strict=True)]
        profile = rescale(profile, fleet, plan.stages, hosts, measured)
        timed = _timed_plan(profile, fleet, plan)
        history.append(Round(plan.stages, tuple(predicted), tuple(measured), timed.value))
        if best is None or timed.value < best[0]:
            best = timed.value, profile, timed
        again = strategy.plan(with_rates(profile), fleet)
        if again.stages == plan.stages:
            # Planned with the times that were measured, so that a bound which the strategy proves holds for them.
            best = (timed.value, profile, again) if timed.value <= best[0] else best
            break
        if history[-1].error <= tolerance:
            break
        plan = again
    assert best is not None
    return _noted(best[1], history), best[2], tuple(history)


def rescale(
    profile: Profile, fleet: Fleet, stages: Sequence[Stage], hosts: Sequence[Host], measured_s: Sequence[float]
) -> Profile:
    """The profile with the nodes of each stage rescaled so that they add up to what was measured.

    Times of all devices with the same backend and threads change by the same factor.
    """
    seconds = {name: values.copy() for name, values in profile.seconds.items()}
    for stage, host, measured in zip(stages, hosts, measured_s, strict=True):
        nodes = list(stage.nodes)
        overhead = profile.overhead_s.get(host.name, 0.0)
        known = _host_seconds(profile, stage, host) - overhead
        factor = max(measured - overhead, measured * 1e-3) / known if known > 0 else 1.0
        alike = [device.name for device in fleet.devices if Host.of(device) == host]
        for name in (host.name, *alike):
            seconds[name][nodes] *= factor
    return replace(profile, seconds=seconds)


def _host_seconds(profile: Profile, stage: Stage, host: Host) -> float:
    if host.name not in profile.seconds:
        raise ProfileError(
            f"profile of {profile.graph.name}: timing segments needs times measured on this machine with {host.label};"
            " profile with --profiler measured"
        )
    return float(profile.seconds[host.name][list(stage.nodes)].sum()) + profile.overhead_s.get(host.name, 0.0)


def _timed_plan(profile: Profile, fleet: Fleet, plan: Plan) -> Plan:
    """The same placement with the estimate that measured times give; what was proven for other times is dropped."""
    expected = cost.estimate(with_rates(profile), fleet, plan.stages, plan.transfers)
    value = cost.objective_value(plan.objective, expected)
    return replace(plan, estimate=expected, value=value, lower_bound=None, scope=None)


def _noted(profile: Profile, history: Sequence[Round]) -> Profile:
    sources = {name: f"{source}, segments timed" for name, source in profile.sources.items()}
    rounds = [{"predicted_s": r.predicted_s, "measured_s": r.measured_s, "value": r.value} for r in history]
    return replace(profile, sources=sources, settings={**profile.settings, "segment_rounds": rounds})


class SegmentTimer:
    """Cuts the stages of a plan out of the model and times them here, each with the tensors that really reach it.

    `cache` is a folder that keeps times by what was timed: model, nodes, input shapes, threads, runtime and machine.
    """

    def __init__(
        self,
        cache: str | os.PathLike[str] | None = None,
        accuracy: Accuracy = STAGE_ACCURACY,
        seed: int = 0,
        progress: Progress = silent,
    ) -> None:
        self.cache = None if cache is None else Path(cache)
        self.accuracy = accuracy
        self.seed = seed
        self.progress = progress
        self._known: dict[str, float] = {}

    def times(self, graph: Graph, plan: Plan, hosts: Sequence[Host]) -> list[float]:
        pause_s = self.accuracy.pause_s
        keys = [segment_key(graph, stage, host, pause_s) for stage, host in zip(plan.stages, hosts, strict=True)]
        missing = {index for index, key in enumerate(keys) if self._recall(key) is None}
        if missing:
            with temporary_folder("segments-") as directory:
                manifest = write_parts(graph, plan, directory)
                timed = self._time_composed if graph.composition else self._time
                for index, seconds in timed(graph, manifest, hosts, missing).items():
                    self._remember(keys[index], seconds)
        return [self._known[key] for key in keys]

    def _time(self, graph: Graph, manifest: Manifest, hosts: Sequence[Host], wanted: set[int]) -> dict[int, float]:
        calls = part_calls(graph, manifest, hosts, wanted, self.seed)
        timings = time_in_turn(list(calls.values()), self.accuracy, self.progress)
        for call in calls.values():
            call.session.close()
        return {index: timing.median_s for index, timing in zip(calls, timings, strict=True)}

    def _time_composed(self, graph: Graph, manifest: Manifest, hosts: Sequence[Host], wanted: set[int]) -> dict[int, float]:
        """Of a workflow: conditions may not hold of random inputs, so each model and function of a stage is timed alone."""
        with ExitStack() as stack:
            calls = {
                index: stack.enter_context(
                    composed_calls(Path(manifest.directory) / manifest.parts[index].file, hosts[index], self.seed)
                )
                for index in wanted
            }
            timings = iter(time_in_turn([call for each in calls.values() for call in each], self.accuracy, self.progress))
        return {index: sum(next(timings).median_s for _ in each) for index, each in calls.items()}

    def _recall(self, key: str) -> float | None:
        if key not in self._known and self.cache is not None:
            try:
                self._known[key] = read_json(self.cache / f"{key}.json")["seconds"].number(least=0)
            except ConfigError:
                return None  # absent or damaged: it is timed again and written anew
        return self._known.get(key)

    def _remember(self, key: str, seconds: float) -> None:
        self._known[key] = seconds
        if self.cache is not None:
            write_text(self.cache / f"{key}.json", json.dumps({"seconds": seconds}))


def segment_key(graph: Graph, stage: Stage, host: Host, pause_s: float = 0.0) -> str:
    """A hash of everything that a segment's time depends on; its device does not matter, the machine does."""
    shapes = {name: tensor.shape for name, tensor in graph.file_inputs.items()}
    what = [graph.model_hash, shapes, stage.ranges, host.threads, runtime_name(host), machine_name()]
    what += [f"after {pause_s:.1g} s"] if pause_s else []
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


class SegmentsProfiler:
    """Measures nodes, plans with `strategy`, times the stages and plans again until both agree: see `refine`.

    The last plan's times are in the profile, its history in `settings['segment_rounds']`.
    """

    def __init__(
        self,
        strategy: str = "throughput",
        options: Mapping[str, Any] | None = None,
        rounds: int = 6,
        tolerance: float = 0.03,
        budget_s: float = 8.0,
        cache: str | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> None:
        if rounds < 1:
            raise ConfigError(f"rounds: expected at least 1, got {rounds}")
        self.strategy: Strategy = PARTITIONERS.load(strategy)(**(options or {}))
        self.rounds = rounds
        self.tolerance = tolerance
        self.measured = MeasuredProfiler(budget_s=budget_s, seed=seed, progress=progress)
        self.timer = SegmentTimer(cache, seed=seed, progress=progress)

    def profile(self, graph: Graph, fleet: Fleet) -> Profile:
        fleet = resolved_fleet(fleet, graph.path)
        measured = with_kept_states(replace(self.measured.profile(graph, fleet), memory_use=memory_use_of(fleet)), fleet)
        refined, _, _ = refine(measured, fleet, self.strategy, self.timer, rounds=self.rounds, tolerance=self.tolerance)
        return refined
