"""What a plan lets its run expect: seconds per stage, and how many items keep every stage busy."""

from __future__ import annotations

from multiedge.executors.flow.routes import Routes
from multiedge.plan import Manifest
from multiedge.transports.rundir import MOST_WAITING

MOST_DEPTH = 64
WAKE_S = 0.0005
"""How long it takes, at times, until a process runs for which a message has come, where others share its processor."""


def expected_seconds(manifest: Manifest) -> dict[int, float]:
    """Seconds per item by stage; empty for a plan without an estimate."""
    return {number: costs.compute_s for number, costs in enumerate(manifest.plan.estimate.stages)} if manifest.plan else {}


def most_depth(routes: Routes) -> int:
    """Items that may be under way without more messages for one process than have room."""
    ways = range(routes.count)
    waiting = [
        sum(len(routes.entering(stage, way)) for stage in routes.stages_on(device)) for device in routes.devices for way in ways
    ]
    return max(1, MOST_WAITING // max(1, *map(len, routes.sinks), *waiting))


def default_depth(manifest: Manifest, routes: Routes) -> int:
    """Items under way that keep every stage busy: two for each replica of each stage, one more, and as many in addition as
    the plan's latency over its bottleneck requires where links take long, or where stages take less time than it takes until
    they run."""
    busy = sum(1 + len(part.replicas) for part in routes.parts)
    estimate = manifest.plan.estimate if manifest.plan else None
    if estimate is None or estimate.bottleneck_s <= 0:
        return min(MOST_DEPTH, 2 * busy + 1)
    on_the_way = int((estimate.latency_s + WAKE_S) / estimate.bottleneck_s) + 2
    return min(MOST_DEPTH, max(2 * busy + 1, on_the_way + busy))
