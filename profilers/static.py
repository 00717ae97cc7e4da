"""Costs from the model file and devices.yaml alone: nothing is run."""

from __future__ import annotations

from multiedge.backends.stages import memory_use_of
from multiedge.fleet import Fleet
from multiedge.formats.profile import speed_data
from multiedge.graph import Graph
from multiedge.profile import Profile
from profilers.engine.macs import count_work
from profilers.engine.roofline import REFERENCE, Capability, capability_of, require_speeds, speed_notes, with_threads


class StaticProfiler:
    """Counts operations and bytes, and turns them into times with the roofline of each device.

    `reference` is what a device of `speed: 1` sustains with one thread.
    """

    def __init__(self, reference: Capability = REFERENCE) -> None:
        self.reference = reference

    def profile(self, graph: Graph, fleet: Fleet) -> Profile:
        require_speeds(fleet)
        work = count_work(graph)
        able = {d.name: capability_of(d, with_threads(self.reference, d.threads)) for d in fleet.devices}
        return Profile(
            graph=graph,
            macs=work.macs,
            flops=work.flops,
            seconds={name: capability.node_seconds(work) for name, capability in able.items()},
            sources={name: f"static: {capability.source}" for name, capability in able.items()},
            uncounted=work.uncounted,
            notes=speed_notes(fleet, self.reference),
            settings={"profiler": "static", "reference": self.reference.source, "devices": speed_data(fleet)},
            memory_use=memory_use_of(fleet),
        )
