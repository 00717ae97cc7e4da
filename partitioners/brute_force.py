"""Every plan there is, one after another: the oracle against which clever strategies are tested."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise, permutations, product
from math import comb, perm
from time import perf_counter

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Fleet
from multiedge.plan import Plan, Stage, Transfer, direct_transfers, relay_transfers
from multiedge.planning import cost
from multiedge.planning.checks import violations
from multiedge.profile import Profile
from multiedge.proof import Plans, Scope
from partitioners.engine.contract import Pinnable, check_objective, unused

Placement = tuple[tuple[Stage, ...], tuple[Transfer, ...]]


class BruteForce(Pinnable):
    """The best of all contiguous plans with relay transfers, each device holding at most one stage.

    With `interleave`, of all plans whose stages follow each other along every edge but need not be contiguous, with
    direct transfers. Refuses to start on more than `most` plans.
    """

    def __init__(self, objective: str = "throughput", interleave: bool = False, most: int = 2_000_000) -> None:
        self.objective = check_objective(objective)
        self.interleave = interleave
        self.most = most

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """An optimal plan by trial of all; InfeasibleError if none fits, ConfigError if there are too many to try."""
        start = perf_counter()
        self._check_number(len(profile), len(fleet.devices))
        best, value = None, float("inf")
        for stages, transfers in self.placements(profile, fleet):
            if not violations(profile, fleet, stages, transfers):
                found = cost.objective_value(self.objective, cost.estimate(profile, fleet, stages, transfers))
                if best is None or found < value:
                    best, value = (stages, transfers), found
        if best is None:
            raise InfeasibleError(f"no plan of {profile.graph.name} fits the memory of {fleet.name}: all were tried")
        return cost.make_plan(
            "brute_force",
            self.objective,
            profile,
            fleet,
            *best,
            lower_bound=value,
            scope=Scope(Plans.ORDERED if self.interleave else Plans.CONTIGUOUS),
            solve_s=perf_counter() - start,
            left_out=unused(fleet, best[0], "no plan with it is better: all were tried"),
        )

    def placements(self, profile: Profile, fleet: Fleet) -> Iterator[Placement]:
        """Every placement that keeps fused nodes whole and could run but for memory."""
        graph = profile.graph
        cut_bytes = profile.cut_bytes.tolist()
        for count in range(1, len(fleet.devices) + 1):
            for order in permutations(fleet.names, count):
                if self.interleave:
                    for stages in _interleaved(profile, order):
                        yield stages, direct_transfers(graph, stages)
                else:
                    for stages in _contiguous(profile, order):
                        yield stages, relay_transfers(graph, stages, cut_bytes)

    def _check_number(self, nodes: int, devices: int) -> None:
        number = sum(
            perm(devices, count) * (count**nodes if self.interleave else comb(nodes - 1, count - 1))
            for count in range(1, devices + 1)
        )
        if number > self.most:
            raise ConfigError(
                f"brute_force: {nodes} nodes on {devices} devices have up to {number:.3g} plans, more than most={self.most};"
                " use 'throughput', 'latency', 'energy' or 'exact'"
            )


def _contiguous(profile: Profile, order: tuple[str, ...]) -> Iterator[tuple[Stage, ...]]:
    nodes = len(profile)
    for inner in combinations([end for end in range(1, nodes) if profile.open_boundaries[end]], len(order) - 1):
        bounds = (0, *inner, nodes)
        yield tuple(Stage.span(device, *span) for device, span in zip(order, pairwise(bounds), strict=True))


def _interleaved(profile: Profile, order: tuple[str, ...]) -> Iterator[tuple[Stage, ...]]:
    """Stages on all devices of `order`, a node's stage never before that of a node it reads from."""
    graph = profile.graph
    edges = [
        (graph.producer[name], node, name in profile.fused)
        for node in range(len(graph.nodes))
        for name in graph.activations_read(node)
        if name in graph.producer
    ]
    for home in product(range(len(order)), repeat=len(graph.nodes)):
        together = all(home[after - 1] == home[after] for after in graph.closed_boundaries)
        in_order = together and all(home[a] == home[b] if fused else home[a] <= home[b] for a, b, fused in edges)
        if in_order and len(set(home)) == len(order):
            members = [tuple(node for node, stage in enumerate(home) if stage == index) for index in range(len(order))]
            yield tuple(Stage(device, nodes) for device, nodes in zip(order, members, strict=True))
