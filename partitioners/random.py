"""Random parts: how good a plan is by chance."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.fleet import Device, Fleet
from multiedge.plan import Plan, Stage
from multiedge.profile import Floats, Ints, Profile
from partitioners.engine.balance import find_even_split
from partitioners.engine.contract import check_objective, relay_plan, unused


class Random:
    """A random number of devices in a random order, each with a random share of the nodes; memory limits are hard.

    The same seed gives the same plan. Draws that memory forbids are drawn again, up to `tries` times.
    """

    def __init__(self, seed: int = 0, tries: int = 100, objective: str = "throughput") -> None:
        if tries < 1:
            raise ConfigError(f"random.tries: expected at least 1, got {tries}")
        self.seed = seed
        self.tries = tries
        self.objective = check_objective(objective)

    def plan(self, profile: Profile, fleet: Fleet) -> Plan:
        """A random plan; InfeasibleError if none of the draws fits, although another plan may fit."""
        start = perf_counter()
        stages = self._draw(profile, fleet)
        plan = relay_plan("random", self.objective, profile, fleet, stages)
        return replace(
            plan,
            solve_s=perf_counter() - start,
            left_out=unused(fleet, stages, "not drawn"),
            notes=(f"seed {self.seed}",),
        )

    def _draw(self, profile: Profile, fleet: Fleet) -> tuple[Stage, ...]:
        generator = np.random.default_rng(self.seed)
        for _ in range(self.tries):
            count = int(generator.integers(1, len(fleet.devices) + 1))
            drawn = [fleet.devices[index] for index in generator.permutation(len(fleet.devices))[:count]]
            shares = dict(zip((device.name for device in drawn), generator.dirichlet(np.ones(count)), strict=True))

            def nodes_per_share(_start: int, device: Device, memory: Ints, shares: dict[str, float] = shares) -> Floats:
                return np.arange(1, len(memory) + 1) / shares[device.name]

            stages = find_even_split(profile, drawn, nodes_per_share)
            if stages:
                return stages
        raise InfeasibleError(
            f"no plan fits: none of {self.tries} random draws respects the memory of {fleet.name};"
            " raise tries, or use 'throughput'"
        )
