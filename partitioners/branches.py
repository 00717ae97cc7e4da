"""One request over parallel branches: split where the graph forks, joined where it meets, on several devices in parallel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from time import perf_counter

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Fleet
from multiedge.plan import Plan, Stage, Transfer, direct_transfers
from multiedge.planning import cost
from multiedge.planning.checks import violations
from multiedge.profile import Profile
from multiedge.proof import Plans, Scope
from partitioners.engine.contract import Pinnable, unused
from partitioners.engine.dag import build_dag
from partitioners.engine.latency_bound import latency_bound
from partitioners.engine.list_schedule import Scheduler
from partitioners.engine.staging import scheduled_stages, widest_stages
from partitioners.latency import Latency
from partitioners.mincut import least_serial_placement

_ENOUGH = 1e-9
_MOST_PAIRS = 60
"""Further pairs of devices are not tried for their minimum cut."""
_STAGE_WORTH = 1e-4
"""The share of the request that a further stage, or an edge between devices, must save at least."""


@dataclass(frozen=True)
class _Candidate:
    stages: tuple[Stage, ...]
    transfers: tuple[Transfer, ...]
    latency_s: float


class Branches(Pinnable):
    """Short latency of one request with branches on different devices at the same time.

    Starts from a list schedule (HEFT), the minimum cuts of device pairs and the best chain (`latency`); each placement
    is improved by `moves` random moves, staged so that branches stay parallel, and stages are merged again where that
    costs nothing. A heuristic: never slower than `latency` where that has a plan, with a bound that holds for all plans.
    """

    def __init__(self, moves: int = 1000, seed: int = 0) -> None:
        if moves < 0:
            raise ConfigError(f"branches: expected moves from 0, got {moves}")
        self.moves, self.seed = moves, seed

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """The fastest plan found and what is proven; InfeasibleError if none that was found fits the memory."""
        start = perf_counter()
        bound_s = latency_bound(profile, fleet)
        best: _Candidate | None = None
        refused: InfeasibleError | None = None
        try:
            chain = Latency().plan(profile, fleet)
            best = _Candidate(chain.stages, chain.transfers, chain.value)
        except InfeasibleError as error:
            refused = error
        if best is None or best.latency_s > bound_s * (1 + _ENOUGH):
            for stages in self._placements(profile, fleet, bound_s):
                best = _better(best, _candidate(profile, fleet, stages))
        if best is None:
            raise refused or InfeasibleError(f"branches: no plan that fits {fleet.name} was found")
        best = _merged(profile, fleet, best)
        return cost.make_plan(
            "branches",
            "latency",
            profile,
            fleet,
            best.stages,
            best.transfers,
            lower_bound=min(best.latency_s, bound_s),
            scope=Scope(Plans.ALL),
            solve_s=perf_counter() - start,
            left_out=unused(fleet, best.stages, "no faster request was found with it"),
        )

    def _placements(self, profile: Profile, fleet: Fleet, bound_s: float) -> Iterator[tuple[Stage, ...]]:
        dag = build_dag(profile, fleet, absorb_all=True)
        scheduler = Scheduler(dag, profile, fleet)
        first, order = scheduler.heft()
        pairs = list(combinations(range(len(fleet.names)), 2))
        cuts = [least_serial_placement(dag, fleet, pair)[0] for pair in pairs[:_MOST_PAIRS]]
        starts = [first, *sorted(set(cuts), key=lambda cut: scheduler.makespan(cut, order))[:2]]
        for placement in starts:
            for tried in (placement, scheduler.improve(placement, order, self.moves, self.seed, _STAGE_WORTH * bound_s)):
                yield scheduled_stages(dag, fleet, tried, order)
                yield widest_stages(dag, fleet, tried)


def _candidate(profile: Profile, fleet: Fleet, stages: Sequence[Stage]) -> _Candidate | None:
    """The stages with their latency, None if they cannot run."""
    transfers = direct_transfers(profile.graph, stages)
    if violations(profile, fleet, stages, transfers):
        return None
    held = cost.held_nodes(profile, stages)
    compute_s = [cost.stage_compute_s(profile, stage, held) for stage in stages]
    return _Candidate(tuple(stages), transfers, cost.request_latency_s(fleet, stages, transfers, compute_s))


def _better(best: _Candidate | None, other: _Candidate | None) -> _Candidate | None:
    if best is None or other is None:
        return best or other
    worth = 1 + _STAGE_WORTH * max(0, len(other.stages) - len(best.stages))
    return other if other.latency_s * worth < best.latency_s * (1 - _ENOUGH) else best


def _merged(profile: Profile, fleet: Fleet, best: _Candidate) -> _Candidate:
    """The candidate with stages that follow each other on a device put together where the request gets no slower."""
    early = 0
    while early < len(best.stages):
        found = _merged_from(profile, fleet, best, early)
        best, early = (best, early + 1) if found is None else (found, max(0, early - 1))
    return best


def _merged_from(profile: Profile, fleet: Fleet, best: _Candidate, early: int) -> _Candidate | None:
    """The candidate with stage `early` and the next one of its device as one stage, None if that would be slower."""
    later = range(early + 1, len(best.stages))
    late = next((index for index in later if best.stages[index].device == best.stages[early].device), None)
    if late is None:
        return None
    for stages in _joined(best.stages, early, late):
        found = _candidate(profile, fleet, stages)
        if found is not None and found.latency_s <= best.latency_s * (1 + _ENOUGH):
            return found
    return None


def _joined(stages: Sequence[Stage], early: int, late: int) -> Iterator[list[Stage]]:
    """The stages with two of them as one, in the earlier one's place and in the later one's."""
    both = Stage(stages[early].device, tuple(sorted(stages[early].nodes + stages[late].nodes)))
    rest = [stage for index, stage in enumerate(stages) if index not in (early, late)]
    yield [*rest[:early], both, *rest[early:]]
    yield [*rest[: late - 1], both, *rest[late - 1 :]]
