"""Chains of nodes on fleets, for the property tests of strategies for contiguous plans."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from multiedge.fleet import Fleet
from multiedge.planning.synthetic import synthetic_fleet, synthetic_graph, synthetic_profile
from multiedge.profile import Profile
from tests.builders.dags import fused_sets

MIB = 1 << 20


@st.composite
def instances(draw, max_devices: int = 4) -> tuple[Profile, Fleet]:
    """Small models on small fleets: tight and ample memories, links of all speeds, kinds with several members."""
    counts = draw(st.lists(st.integers(1, 2), min_size=1, max_size=3).filter(lambda counts: sum(counts) <= max_devices))
    memory = draw(st.none() | st.lists(st.integers(MIB // 2, 8 * MIB), min_size=len(counts), max_size=len(counts)))
    seed = draw(st.integers(0, 2**32 - 1))
    fleet = synthetic_fleet(counts, seed, memory_bytes=memory, links=draw(st.booleans()), source=draw(st.booleans()))
    graph = synthetic_graph(
        draw(st.integers(1, 7)), seed, skips=draw(st.sampled_from([0.0, 0.5])), outputs=draw(st.integers(1, 3))
    )
    work = draw(st.sampled_from([1.0, 0.02]))
    profile = synthetic_profile(graph, fleet, seed, overhead_s=draw(st.sampled_from([0.0, 2e-3])))
    scaled = {name: seconds * work for name, seconds in profile.seconds.items()}
    return replace(profile, seconds=scaled, fused=draw(fused_sets(graph))), fleet
