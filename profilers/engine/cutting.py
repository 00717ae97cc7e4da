"""Parts of a model as sessions of their own, and what being cut out costs them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeSession
from multiedge.errors import MultiedgeError
from multiedge.fleet import Device, Fleet
from multiedge.graph import Graph
from multiedge.onnx_io import random_inputs, write_parts
from multiedge.plan import Manifest, Plan, Stage
from multiedge.profile import Floats, Profile
from partitioners.engine.contract import contiguous_plan
from profilers.engine.contract import Progress, silent
from profilers.engine.host import HostTimes, model_path, runner
from profilers.engine.stopwatch import Accuracy, time_in_turn

log = logging.getLogger(__name__)

PARTS = 4
LEAST_BLOCKED_SHARE = 0.1
CUT_ACCURACY = Accuracy(relative=0.01, budget_s=1.5, least=5, most=100, warmup=2)

Call = tuple[OnnxRuntimeSession, dict[str, Any], Path]
"""A session, what it is fed, and the file that errors name."""


def part_calls(graph: Graph, manifest: Manifest, threads: Sequence[int], wanted: set[int], seed: int = 0) -> dict[int, Call]:
    """An open session for each wanted part, and what reaches it when the model runs; only parts before the last wanted
    one are run."""
    tensors: dict[str, Any] = dict(random_inputs(graph, seed))
    found: dict[int, Call] = {}
    for index, part in enumerate(manifest.parts[: max(wanted) + 1]):
        path = Path(manifest.directory) / part.file
        session = OnnxRuntimeBackend.open(path, threads=threads[index])
        feed = {name: tensors[name] for name in part.inputs}
        tensors.update(runner(session, feed, path)())
        if index in wanted:
            found[index] = (session, feed, path)
        else:
            session.close()
    return found


def cut_cost_s(times: HostTimes, *, seed: int = 0, progress: Progress = silent) -> float:
    """Seconds that a part takes on top of its nodes' times because it was cut out: the mean over PARTS parts.

    Runtimes that lay tensors out in blocks change the layout where a tensor enters or leaves a part, and can join fewer
    nodes there. A model that spends little of its time in such layouts pays nothing worth measuring: 0.
    """
    graph, device = times.graph, "host"
    nothing = np.zeros(len(graph.nodes))
    profile = Profile(graph, nothing.astype(np.int64), nothing, {device: times.seconds}, fused=times.fused)
    stages = [Stage.span(device, *span) for span in pairwise(equal_times(profile, times.seconds))]
    if times.blocked_share < LEAST_BLOCKED_SHARE or len(stages) < 2:
        return 0.0
    plan = contiguous_plan("cut cost", "throughput", profile, Fleet((Device(device),)), stages)
    try:
        longer = longer_in_parts(graph, plan, times.threads, seed, progress)
    except MultiedgeError as error:
        log.warning("%s: what a cut costs is not known and counts as nothing: %s", graph.name, error)
        return 0.0
    more_calls_s = (len(stages) - 1) * times.overhead_s
    return max(0.0, (longer * times.plain.median_s - more_calls_s) / len(stages))


def longer_in_parts(graph: Graph, plan: Plan, threads: int, seed: int, progress: Progress) -> float:
    """By which share of the whole model's time its parts, timed in turn with it, take longer together."""
    path, count = model_path(graph), len(plan.stages)
    with tempfile.TemporaryDirectory(prefix="multiedge-cuts-") as directory:
        parts = part_calls(graph, write_parts(graph, plan, directory), [threads] * count, set(range(count)), seed)
        calls = [(OnnxRuntimeBackend.open(path, threads=threads), random_inputs(graph, seed), path), *parts.values()]
        whole, *each = time_in_turn([runner(*call) for call in calls], CUT_ACCURACY, progress)
        for session, _, _ in calls:
            session.close()
    return sum(timing.median_s for timing in each) / whole.median_s - 1.0


def equal_times(profile: Profile, seconds: Floats) -> list[int]:
    """The ends of up to PARTS parts of about equal `seconds`, (n,): of the boundaries near by where strategies may cut,
    those that fewest tensors cross."""
    passed = np.concatenate([[0.0], np.cumsum(seconds)]) / max(float(seconds.sum()), 1e-12)
    crossing = np.array([len(cut.tensors) for cut in profile.graph.cuts])
    found = {0, len(profile)}
    for number in range(1, PARTS):
        away = np.abs(passed - number / PARTS)
        near = np.nonzero(profile.open_boundaries & (away < 1 / (2 * PARTS)) & (crossing > 0))[0]
        if len(near):
            found.add(int(min(near, key=lambda after: (crossing[after], away[after]))))
    return sorted(found)
