"""Costs from the model file and devices.yaml alone: no model is run."""

from __future__ import annotations

from multiedge.backends.stages import memory_use_of
from multiedge.fleet import Fleet
from multiedge.formats.profile import speed_data
from multiedge.graph import Graph
from multiedge.profile import Profile
from profilers.engine.macs import Work, count_work
from profilers.engine.reference import Reference, reference_of
from profilers.engine.roofline import Capability, capability_of, require_speeds, speed_notes, with_threads


class StaticProfiler:
    """Counts operations and bytes, and turns them into times with the roofline of each device.

    `reference` is what a device of `speed: 1` sustains with one thread: 'calibrated' (this machine, measured once in some
    seconds and kept), 'declared' (round figures of a server core, the same everywhere), or figures of your own. Without it,
    the environment variable MULTIEDGE_REFERENCE decides, otherwise it is 'calibrated'.
    """

    def __init__(self, reference: Reference | Capability | None = None) -> None:
        self.reference = reference

    def profile(self, graph: Graph, fleet: Fleet) -> Profile:
        require_speeds(fleet)
        base = self.reference if isinstance(self.reference, Capability) else reference_of(self.reference)
        work = count_work(graph)
        able = {d.name: capability_of(d, with_threads(base, d.threads)) for d in fleet.devices}
        return Profile(
            graph=graph,
            macs=work.macs,
            flops=work.flops,
            seconds={name: capability.node_seconds(work) for name, capability in able.items()},
            sources={name: f"static: {capability.source}" for name, capability in able.items()},
            uncounted=work.uncounted,
            notes=(*speed_notes(fleet, base), *_uncounted_notes(work)),
            settings={"profiler": "static", "reference": base.summary, "devices": speed_data(fleet)},
            memory_use=memory_use_of(fleet),
        )


def _uncounted_notes(work: Work) -> tuple[str, ...]:
    """One line if operations of some nodes are not known. Their bytes are, so that no node counts as free."""
    if not work.uncounted:
        return ()
    return (f"operations not known, time estimated from the bytes moved: {', '.join(work.uncounted)}",)
