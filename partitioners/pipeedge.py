"""PipeEdge: the smallest bottleneck over all subsets of the devices, by dynamic programming over sets.

Hu et al., "PipeEdge: Pipeline Parallelism for Large-Scale Model Inference on Heterogeneous Edge Devices", DSD 2022 (EdgePipe
in the preprint of 2021). With compute time C, link time L, a set S of devices and the device w that comes next:

    h[p, S, w] = min over the last device u of S of max(g[p, S, u], L(u, w, p))
    g[q, S + w, w] = min over p < q of max(h[p, S, w], C(w, [p, q)))

As in the paper, the links of the place where items arise are no part of the search, and only the bandwidth of a link counts.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np

from multiedge.errors import ConfigError
from multiedge.fleet import Fleet
from multiedge.plan import Plan
from multiedge.profile import Floats, Ints, Profile
from partitioners.engine.chain import Chain, Placed
from partitioners.engine.contract import relay_plan, unused
from partitioners.engine.memory import memory_rows
from partitioners.engine.remedy import infeasible
from partitioners.engine.search import States

MOST_STEPS = 4e9
"""Comparisons (sets x kinds of devices x pairs of boundaries) up to which a search is tried."""


class PipeEdge:
    """The contiguous plan with the smallest bottleneck, in any order of any subset of the devices; memory limits are hard.

    Devices that are alike count as a number, so that the sets are those of the paper with fewer names. The value is optimal for
    chains without a source; `throughput` finds the same, counts the source's links, and proves it. Left out of the paper:
    quantized activations and microbatches.
    """

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The plan; InfeasibleError with the smallest remedy if memory forbids all, ConfigError if there are too many sets."""
        start = perf_counter()
        chain = Chain.of(profile, fleet)
        path = _Table(chain).best()
        if not path:
            raise infeasible(profile, fleet)
        stages = chain.stages(path)
        plan = relay_plan("pipeedge", "throughput", profile, fleet, stages)
        return replace(
            plan,
            solve_s=perf_counter() - start,
            left_out=unused(fleet, stages, "no set of devices with it has a smaller bottleneck"),
        )


class _Table:
    """The recurrence over the boundaries at which a plan may cut; a way is a device of one kind."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._states = States(chain)
        self._ends = np.nonzero(chain.profile.open_boundaries)[0]
        kinds, sets, ends = len(chain.ways), len(self._states.counts), len(self._ends)
        if float(sets) * kinds * ends * ends > MOST_STEPS:
            raise ConfigError(
                f"pipeedge: {sets} sets of {kinds} kinds of devices and {ends} boundaries are too many to compare; plan with"
                " 'throughput'"
            )
        self._link_s = chain.hand_over_s[:, :, self._ends]
        self._compute_s = _compute_s(chain, self._ends)
        self._least_s = np.full((sets, kinds, ends), np.inf)

    def best(self) -> list[Placed]:
        """The stages of the plan, on the fewest devices of those that are equally good; [] if memory forbids all."""
        for states in self._states.levels:
            for state in states.tolist():
                self._extend(state)
        by_size = np.concatenate(self._states.levels)
        whole_s = self._least_s[by_size, :, -1]
        first, way = np.unravel_index(int(np.argmin(whole_s)), whole_s.shape)
        if not np.isfinite(whole_s[first, way]):
            return []
        return self._trace(int(by_size[first]), int(way))

    def _extend(self, state: int) -> None:
        """One more device after a set of devices."""
        for way in np.nonzero(self._states.room[:, state])[0].tolist():
            reached_s = self._reached_s(state, way)
            if np.isfinite(reached_s).any():
                after = int(self._states.after(np.array([state]), way)[0])
                self._least_s[after, way] = np.maximum(reached_s[:, None], self._compute_s[way]).min(axis=0)

    def _reached_s(self, state: int, way: int) -> Floats:
        """h of the recurrence: the bottleneck up to each boundary, the link to `way` included."""
        if state == 0:
            return np.where(np.arange(len(self._ends)) == 0, 0.0, np.inf)
        return np.asarray(np.maximum(self._least_s[state], self._link_s[:, way]).min(axis=0))

    def _trace(self, state: int, way: int) -> list[Placed]:
        path: list[Placed] = []
        end = len(self._ends) - 1
        while end > 0:
            before = state - int(self._states.strides[self._chain.ways[way].group])
            reached_s = self._reached_s(before, way)
            start = int(np.argmin(np.maximum(reached_s, self._compute_s[way][:, end])))
            path.append(Placed(way, int(self._ends[start]), int(self._ends[end])))
            if start > 0:
                way = int(np.argmin(np.maximum(self._least_s[before, :, start], self._link_s[:, way, start])))
            state, end = before, start
        return path[::-1]


def _compute_s(chain: Chain, ends: Ints) -> Floats:
    """Seconds of the stage between two boundaries by kind, (kinds, ends, ends); inf where memory allows none."""
    room = [chain.fleet.device(chain.groups[way.group][0]).available_bytes for way in chain.ways]
    seconds = np.full((len(room), len(ends), len(ends)), np.inf)
    place = {int(end): index for index, end in enumerate(ends)}
    for start, memory in enumerate(memory_rows(chain.profile)):
        if start in place:
            index = place[start]
            later = ends[index + 1 :]
            for way, available in enumerate(room):
                group = chain.ways[way].group
                needed_s = chain.times[group].row(start)[later - start - 1] + chain.overhead_s[group]
                seconds[way, index, index + 1 :] = np.where(memory[later - start - 1] <= available, needed_s, np.inf)
    return seconds
