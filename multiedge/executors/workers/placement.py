"""Which devices run the stages of a plan while some of the planned ones are away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from multiedge.errors import PlanError
from multiedge.plan import Manifest


def place_stages(
    planned: Manifest, devices: Iterable[str], away: frozenset[str], fallbacks: Mapping[int, Sequence[str]]
) -> Manifest:
    """The plan without the devices that are `away`.

    Replicas on them are dropped. A stage that has no device left goes to the first of its fall-backs that is there,
    otherwise to the one of `devices` with the fewest stages. Raises PlanError that names a stage for which none is left.
    """
    load = Counter({device: 0 for device in devices if device not in away})
    for part in planned.parts:
        load.update(device for device in part.devices if device in load)
    parts = []
    for stage, part in enumerate(planned.parts):
        left = tuple(device for device in part.devices if device not in away)
        if not left:
            listed = (device for device in fallbacks.get(stage, ()) if device not in away)
            chosen = next(listed, None) or min(load, key=lambda device: load[device], default=None)
            if chosen is None:
                raise PlanError(f"stage {stage}: no device is left to run it (lost: {', '.join(sorted(away))})")
            load[chosen] += 1
            left = (chosen,)
        parts.append(replace(part, device=left[0], replicas=left[1:]))
    return replace(planned, parts=tuple(parts))
