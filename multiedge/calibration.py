"""What the executor `processes` itself takes on this machine: a pipeline of null stages, measured once and kept.

Figures are kept for the transport between the processes of one machine, and for others where these were measured: a message
takes several times as much over TLS. Where the reference is 'declared' (`MULTIEDGE_REFERENCE`), nothing of this machine enters
a plan, and nothing is measured. Figures that are kept are read without the executors.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from multiedge.errors import MultiedgeError
from multiedge.files import cache_folder, temporary_folder, write_text
from multiedge.fleet import Device, Fleet
from multiedge.formats.documents import read_json
from multiedge.formats.pipeline_cost import pipeline_cost_to_json, read_pipeline_cost
from multiedge.measurements import Measurements
from multiedge.network.identity import Identity
from multiedge.pipeline_cost import REST_S, PipelineCost
from multiedge.plan import CALLER, Manifest, Part, Transfer
from multiedge.planning.shared_host import Admission, Host, Work, competing_threads, outcome
from profilers.engine.machine import machine_name

if TYPE_CHECKING:
    from multiedge.executors import Pipeline

RECIPE = 5
"""Raise this when the executor or the measurement changes, so that older figures are no longer used."""
LOCAL = "auto"
"""The transport that `processes` chooses."""
NULL_DEVICES = ("d0", "d1", "d2")
STAGES = len(NULL_DEVICES)
SMALL_BYTES, LARGE_BYTES = 16, 256 << 10
ROUNDS, SMALL_ITEMS, LARGE_ITEMS, SINGLE_ITEMS, WARMUP_ITEMS = 3, 1000, 150, 100, 100
RESTED_ITEMS = 60
MOST_OTHER_CORES = 0.2
"""With more other work, figures of the machine are not those of an idle one."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drain:
    """A full pipeline of null stages: seconds per item, wall time and processor time of the caller and of one worker; and the
    processors that other work had meanwhile."""

    item_s: float
    caller_s: float
    worker_s: float
    depth: int
    cores: int
    other_cores: float = 0.0

    @classmethod
    def of(cls, measurements: Measurements) -> Drain | None:
        """None where processor time is not known, or items failed."""
        host, items = measurements.host, len(measurements.items)
        if host is None or not items or measurements.faults:
            return None
        worker_s = sum(host.workers_s.values()) / items / STAGES
        depth = int(measurements.settings.get("depth") or items)
        other_cores = host.other_s / host.wall_s
        return cls(host.wall_s / items, host.caller_s / items, worker_s, depth, host.cores, other_cores)


def kept_pipeline_cost() -> PipelineCost | None:
    """What the executor takes on this machine: as it was measured before, otherwise measured now."""
    return known_pipeline_cost() or renewed_pipeline_cost()


def known_pipeline_cost(transport: str = LOCAL) -> PipelineCost | None:
    """What the executor takes with that transport, as it was measured before; None if it was not."""
    try:
        return read_pipeline_cost(read_json(kept_at(transport)))
    except MultiedgeError:  # absent or damaged
        return None


def renewed_pipeline_cost(transport: str = LOCAL, identities: Mapping[str, Identity] | None = None) -> PipelineCost | None:
    """What the executor takes on this machine: measured now, kept, reported in one line. None where it cannot be measured.

    Args:
        transport: How messages go; `LOCAL` is what `processes` chooses.
        identities: For 'tls', the certificate of each of `NULL_DEVICES` and of the caller.
    """
    start = perf_counter()
    try:
        cost = measure_pipeline_cost(transport, identities)
        if cost is None:
            return None
    except (OSError, MultiedgeError) as error:
        log.debug("the executor's own cost is not known: %s", error)
        return None
    path = kept_at(transport)
    place = f"kept in {path}" if keep_pipeline_cost(cost, transport) else f"not kept: {path.parent} cannot be written"
    log.warning(
        "measured the pipeline's own cost%s in %.1f s: %.0f us per item, %.0f us per stage and item; computing takes"
        " %.2f x beside other work and %.2f x in turns with it (%s)",
        "" if transport == LOCAL else f" over {transport}",
        perf_counter() - start,
        cost.caller_s * 1e6,
        cost.worker_s * 1e6,
        cost.beside,
        cost.in_turns,
        place,
    )
    return cost


def keep_pipeline_cost(cost: PipelineCost, transport: str = LOCAL) -> bool:
    """Keeps the cost for later plans; False if the folder cannot be written."""
    try:
        write_text(kept_at(transport), json.dumps(pipeline_cost_to_json(cost), indent=1) + "\n")
    except MultiedgeError:
        return False
    return True


def kept_at(transport: str = LOCAL) -> Path:
    """The file of this machine's figures with that transport."""
    what = hashlib.sha256(json.dumps([machine_name(), transport, RECIPE]).encode()).hexdigest()[:16]
    return cache_folder("calibration") / f"pipeline-{what}.json"


def measure_pipeline_cost(transport: str = LOCAL, identities: Mapping[str, Identity] | None = None) -> PipelineCost | None:
    """The cost from null stages with small and with large messages, and with one item at a time; None where processor time is
    not known. See `renewed_pipeline_cost`."""
    from multiedge.executors.flow.scenarios import scenario
    from profilers.engine.contention import measure_contention

    options: dict[str, Any] = {"transport": transport, "identities": identities or {}}
    with temporary_folder("pipeline-") as folder, _null_pipeline(folder, SMALL_BYTES, **options) as pipeline:
        small = _drains(pipeline, SMALL_BYTES, SMALL_ITEMS)
        _, alone = pipeline.map([_item(SMALL_BYTES)] * SINGLE_ITEMS, scenario("singlestream"))
    with temporary_folder("pipeline-") as folder, _null_pipeline(folder, LARGE_BYTES, **options) as pipeline:
        large = _drains(pipeline, LARGE_BYTES, LARGE_ITEMS)
    with temporary_folder("pipeline-") as folder, _null_pipeline(folder, SMALL_BYTES, REST_S, **options) as pipeline:
        _, rested = pipeline.map([_item(SMALL_BYTES)] * RESTED_ITEMS, scenario("singlestream"))
    if not small or not large:
        return None
    other_cores = min(each.other_cores for each in small)
    if other_cores > MOST_OTHER_CORES:
        log.warning("other work took %.1f processors meanwhile; run multiedge calibrate when this machine is idle", other_cores)
    latency_s = statistics.median(item.done_s - item.issued_s for item in alone.items)
    cost = replace(
        cost_of(small, large, latency_s / (STAGES + 1)), rested_hop_s=rested_hop_s(rested), rested_turn_s=turn_s(rested)
    )
    # How processes share processors does not depend on how their messages go.
    contention = (known_pipeline_cost() if transport != LOCAL else None) or measure_contention()
    return replace(cost, beside=contention.beside, in_turns=contention.in_turns) if contention else cost


def cost_of(small: Sequence[Drain], large: Sequence[Drain], hop_s: float) -> PipelineCost:
    """The cost that explains what full pipelines with small and with large messages took. Processor times are means over the
    rounds, since the system counts them in steps of 10 ms; what is lost to switching is that of the round with the least other
    work."""
    more_bytes = 2 * (LARGE_BYTES - SMALL_BYTES)
    caller_s, worker_s = (statistics.fmean(getattr(each, name) for each in small) for name in ("caller_s", "worker_s"))
    caller_byte_s = max(0.0, statistics.fmean(each.caller_s for each in large) - caller_s) / more_bytes
    worker_byte_s = max(0.0, statistics.fmean(each.worker_s for each in large) - worker_s) / more_bytes
    stages = [Work((f"d{number}",), worker_s, after=(number - 1,) if number else ()) for number in range(STAGES)]
    works = (*stages, Work(("caller",), caller_s, after=(STAGES - 1,)))
    switching = _switching(works, min(small, key=lambda each: each.other_cores))
    return PipelineCost(caller_s, caller_byte_s, worker_s, worker_byte_s, hop_s, switching)


def rested_hop_s(measured: Measurements) -> float | None:
    """Wall time of one message of items that passed all stages alone; None where no stage was seen to compute."""
    computed_s = defaultdict[int, float](float)
    for event in measured.events:
        if event.kind == "compute":
            computed_s[event.item] += event.seconds
    rests = [item.done_s - item.issued_s - computed_s[item.item] for item in measured.items if item.item in computed_s]
    return max(0.0, statistics.median(rests)) / (STAGES + 1) if rests else None


def turn_s(measured: Measurements) -> float | None:
    """Wall time from an answer until the next item was sent; None for a single item."""
    turns = [after.issued_s - before.done_s for before, after in pairwise(measured.items)]
    return max(0.0, statistics.median(turns)) if turns else None


def _switching(works: tuple[Work, ...], drain: Drain) -> float:
    """Wall time over that in which processes only share the processors.

    Other work competes for processors, or takes what the pipeline leaves. How much of each is not known: the geometric mean
    of both cases counts, which are one where there is no other work.
    """
    admission = Admission(SMALL_ITEMS, drain.depth)
    other_threads = competing_threads(works, admission, drain.cores, drain.other_cores)
    ratios = [drain.item_s * outcome(works, admission, Host(drain.cores, each)).fps for each in (0.0, other_threads)]
    return math.sqrt(math.prod(max(1.0, ratio) for ratio in ratios))


def _drains(pipeline: Pipeline, nbytes: int, items: int) -> list[Drain]:
    from multiedge.executors.flow.scenarios import scenario

    rounds = [pipeline.map([_item(nbytes)] * items, scenario("offline"))[1] for _ in range(ROUNDS)]
    return [drain for drain in map(Drain.of, rounds) if drain]


def _item(nbytes: int) -> dict[str, Any]:
    import numpy as np

    return {"t0": np.zeros(nbytes, np.uint8)}


def _null_pipeline(folder: str | Path, nbytes: int, stage_s: float = 0.0, **options: Any) -> Pipeline:
    """Stages that compute nothing and take `stage_s`, in processes; each sends an array of `nbytes` that is its own."""
    from multiedge.executors import open_pipeline
    from multiedge.executors.workers.options import Emulation

    parts, moves = [], [Transfer(CALLER, 0, ("t0",), nbytes)]
    for number, device in enumerate(NULL_DEVICES):
        made, last = f"t{number + 1}", number + 1 == STAGES
        outputs = {made: {"shape": [nbytes], "dtype": "uint8"}}
        description = {"inputs": [f"t{number}"], "outputs": outputs, "seconds": stage_s}
        write_text(Path(folder) / f"null_{number}.json", json.dumps(description))
        parts.append(Part(number, f"null_{number}.json", device, (f"t{number}",), (made,), {}))
        moves.append(Transfer(number, CALLER if last else number + 1, (made,), nbytes))
    manifest = Manifest("null", "", ("t0",), (f"t{STAGES}",), tuple(parts), tuple(moves), "none", str(folder))
    fleet = Fleet(tuple(Device(device, backend="synthetic") for device in NULL_DEVICES))
    return open_pipeline(manifest, fleet, emulation=Emulation.none(), warmup_items=WARMUP_ITEMS, **options)
