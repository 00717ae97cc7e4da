"""Parts of a model as sessions of their own, and what being cut out costs them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.backends.stages import Call, device_backend, for_states, open_part
from multiedge.backends.stateful import repeated_step
from multiedge.backends.timing import Accuracy, Progress, silent, time_in_turn
from multiedge.errors import MultiedgeError
from multiedge.files import temporary_folder
from multiedge.fleet import Device, Fleet
from multiedge.graph import Graph
from multiedge.onnx_io import write_parts
from multiedge.onnx_io.inputs import random_feed
from multiedge.plan import Manifest, Plan, Stage
from multiedge.profile import Floats, Profile
from partitioners.engine.contract import contiguous_plan
from profilers.engine.host import Host, HostTimes, model_path

log = logging.getLogger(__name__)

PARTS = 4
LEAST_BLOCKED_SHARE = 0.1
CUT_ACCURACY = Accuracy(relative=0.01, budget_s=1.5, least=5, most=100, warmup=2)


def part_calls(graph: Graph, manifest: Manifest, hosts: Sequence[Host], wanted: set[int], seed: int = 0) -> dict[int, Call]:
    """For each wanted part an open session with what reaches it when the model runs; `hosts` are the parts'. Only parts
    up to the last wanted one are run."""
    tensors: dict[str, Any] = dict(random_feed(graph, seed))
    calls: dict[int, Call] = {}
    for index, part in enumerate(manifest.parts[: max(wanted) + 1]):
        path = Path(manifest.directory) / part.file
        backend = for_states(device_backend(hosts[index].device), part.states)
        opened = open_part(backend, path, hosts[index].device)
        session = repeated_step(opened, part.states)
        call = Call(session, {name: tensors[name] for name in session.inputs}, path)
        tensors.update(call())
        if index in wanted:
            calls[index] = call
        else:
            session.close()
    return calls


def cut_cost_s(times: HostTimes, *, seed: int = 0, progress: Progress = silent) -> float:
    """Seconds that a part takes on top of its nodes' times because it was cut out: the mean over PARTS parts.

    Runtimes that lay tensors out in blocks change the layout where a tensor enters or leaves a part, and can join fewer
    nodes there. A model that spends little of its time in such layouts pays nothing worth measuring: 0. Nor is it measured for
    an approximate precision, for which every part would have to be converted.
    """
    graph, device = times.graph, "host"
    nothing = np.zeros(len(graph.nodes))
    profile = Profile(graph, nothing.astype(np.int64), nothing, {device: times.seconds}, fused=times.fused)
    stages = [Stage.span(device, *span) for span in pairwise(equal_times(profile, times.seconds))]
    is_plain = times.nodes is not None and times.nodes.blocked_share < LEAST_BLOCKED_SHARE
    if is_plain or len(stages) < 2 or device_backend(times.host.device).is_approximate:
        return 0.0
    plan = contiguous_plan("cut cost", "throughput", profile, Fleet((Device(device),)), stages)
    try:
        longer = longer_in_parts(graph, plan, times.host, seed, progress)
    except MultiedgeError as error:
        log.warning("%s: what a cut costs is not known and counts as nothing: %s", graph.name, error)
        return 0.0
    more_calls_s = (len(stages) - 1) * times.overhead_s
    return max(0.0, (longer * times.latency.median_s - more_calls_s) / len(stages))


def longer_in_parts(graph: Graph, plan: Plan, host: Host, seed: int, progress: Progress) -> float:
    """By which share of the whole model's time its parts, timed in turn with it, take longer together."""
    path, count = model_path(graph), len(plan.stages)
    with temporary_folder("cuts-") as directory:
        parts = part_calls(graph, write_parts(graph, plan, directory), [host] * count, set(range(count)), seed)
        opened = open_part(device_backend(host.device), path, host.device, Path(directory))
        whole = repeated_step(opened, graph.states)
        calls = [Call(whole, random_feed(graph, seed), path), *parts.values()]
        first, *each = time_in_turn(calls, CUT_ACCURACY, progress)
        for call in calls:
            call.session.close()
    return sum(timing.median_s for timing in each) / first.median_s - 1.0


def equal_times(profile: Profile, seconds: Floats) -> list[int]:
    """The ends of up to PARTS parts of about equal `seconds`, (n,), at boundaries where strategies may cut: of those near an
    equal share, the one that fewest tensors cross."""
    passed = np.concatenate([[0.0], np.cumsum(seconds)]) / max(float(seconds.sum()), 1e-12)
    crossing = np.array([len(cut.tensors) for cut in profile.graph.cuts])
    ends = {0, len(profile)}
    for number in range(1, PARTS):
        away = np.abs(passed - number / PARTS)
        near = np.nonzero(profile.open_boundaries & (away < 1 / (2 * PARTS)) & (crossing > 0))[0]
        if len(near):
            ends.add(int(min(near, key=lambda after: (crossing[after], away[after]))))
    return sorted(ends)
