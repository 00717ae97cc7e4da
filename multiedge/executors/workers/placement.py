"""Which devices run the stages of a plan while some of the planned ones are away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from multiedge.errors import PlanError
from multiedge.fleet import Fleet
from multiedge.plan import Manifest
from multiedge.planning.paths import on_paths_left


def place_on_paths(planned: Manifest, fleet: Fleet, away: frozenset[str]) -> Manifest | None:
    """The plan whose items take the paths that are whole without the devices that are `away`, at new rates: no stage moves.

    None if no path is whole, or if the plan has no paths.
    """
    plan = None if planned.plan is None else on_paths_left(planned.plan, fleet, away)
    if plan is None:
        return None
    parts = zip(planned.parts, plan.stages, strict=True)
    return replace(
        planned, parts=tuple(replace(part, device=stage.device, replicas=stage.replicas) for part, stage in parts), plan=plan
    )


def place_stages(
    planned: Manifest,
    placed: Manifest,
    fleet: Fleet,
    away: frozenset[str],
    fallbacks: Mapping[int, Sequence[str]],
) -> Manifest:
    """The plan without the devices that are `away`; `placed` says where its stages are now.

    Replicas on them are dropped. A stage that has no device left goes to the first of its fall-backs that is there,
    otherwise stays where it is, otherwise goes to the device with the fewest stages among those whose memory is enough by
    the plan's figures, or among all if none has enough: the figures leave a margin. Raises PlanError that names a stage for
    which no device is left.
    """
    same_parts = placed.directory == planned.directory
    homes: dict[int, tuple[str, ...]] = {}
    for stage, part in enumerate(planned.parts):
        now = (placed.parts[stage].device,) if same_parts else ()
        others = [device for device in (*fallbacks.get(stage, ()), *now) if device not in away]
        homes[stage] = tuple(device for device in part.devices if device not in away) or tuple(others[:1])
    needed_bytes = _stage_bytes(planned, fleet)
    held = {device: [stage for stage, home in homes.items() if device in home] for device in fleet.names if device not in away}
    for stage in (stage for stage, home in homes.items() if not home):
        if not held:
            raise PlanError(f"stage {stage}: no device is left to run it (lost: {', '.join(sorted(away))})")
        lacking = {
            device: sum(needed_bytes[each] for each in (*stages, stage)) > fleet.device(device).available_bytes
            for device, stages in held.items()
        }
        chosen = min(held, key=lambda device: (lacking[device], len(held[device])))
        held[chosen].append(stage)
        homes[stage] = (chosen,)
    parts = [replace(part, device=homes[stage][0], replicas=homes[stage][1:]) for stage, part in enumerate(planned.parts)]
    return replace(planned, parts=tuple(parts))


def _stage_bytes(planned: Manifest, fleet: Fleet) -> list[int]:
    """What each stage takes by the plan, without the runtime; zeros where there is no plan."""
    if planned.plan is None:
        return [0] * len(planned.parts)
    stages = zip(planned.plan.stages, planned.plan.estimate.stages, strict=True)
    return [cost.memory_bytes - fleet.device(stage.device).runtime_bytes for stage, cost in stages]
