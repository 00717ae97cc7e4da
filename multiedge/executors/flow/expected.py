"""What a plan lets its run expect: seconds per stage, and how many items keep every stage busy."""

from __future__ import annotations

from multiedge.executors.flow.routes import Routes
from multiedge.executors.flow.stage_clock import StageClock, StageDeadlines
from multiedge.onnx_io.stated import composition_in
from multiedge.plan import Manifest
from multiedge.transports.rundir import MOST_WAITING

MOST_DEPTH = 64
WAKE_S = 0.0005
"""How long it takes, at times, until a process runs for which a message has come, where others share its processor."""


def expected_seconds(manifest: Manifest) -> dict[int, float]:
    """Seconds per item by stage; empty for a plan without an estimate."""
    return {number: costs.compute_s for number, costs in enumerate(manifest.plan.estimate.stages)} if manifest.plan else {}


def stage_clock(manifest: Manifest, deadlines: StageDeadlines) -> StageClock:
    """What says how long the stages of the plan may take."""
    uneven = frozenset(part.stage for part in manifest.parts if part.states)
    return StageClock(deadlines, expected_seconds(manifest), uneven)


def most_depth(routes: Routes) -> int:
    """Items that may be under way without more messages for one process than have room."""
    ways = range(routes.count)
    waiting = [
        sum(len(routes.entering(stage, way)) for stage in routes.stages_on(device)) for device in routes.devices for way in ways
    ]
    return max(1, MOST_WAITING // max(1, *map(len, routes.sinks), *waiting))


def largest_batch(manifest: Manifest) -> int:
    """The most items that a step of a workflow takes together; 1 for a plan of one model."""
    compositions = [composition_in(path) for path in dict.fromkeys(manifest.part_files) if path.suffix == ".onnx"]
    return max((segment.batch for each in compositions if each for segment in each.segments.values()), default=1)


def default_depth(manifest: Manifest, routes: Routes) -> int:
    """Items under way that keep every stage busy: two for each replica of each stage, one more, and as many in addition as
    the plan's latency over its bottleneck requires where links take long, or where stages take less time than it takes until
    they run. Of a workflow whose steps take batches, so many times the largest batch."""
    busy = sum(1 + len(part.replicas) for part in routes.parts) * largest_batch(manifest)
    estimate = manifest.plan.estimate if manifest.plan else None
    if estimate is None or estimate.bottleneck_s <= 0:
        return min(MOST_DEPTH, 2 * busy + 1)
    on_the_way = int((estimate.latency_s + WAKE_S) / estimate.bottleneck_s) + 2
    return min(MOST_DEPTH, max(2 * busy + 1, on_the_way + busy))
