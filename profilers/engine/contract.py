"""What a profiler is: something that knows the costs of a model's nodes on the devices of a fleet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from multiedge.fleet import Fleet
from multiedge.graph import Graph
from multiedge.profile import Profile

Progress = Callable[[str, float], None]
"""Told now and then what is being done and which share of the work is behind, 0 to 1."""


class Profiler(Protocol):
    """Arguments of the constructor are its hyperparameters."""

    def profile(self, graph: Graph, fleet: Fleet) -> Profile:
        """Costs of every node of `graph` on every device of `fleet`. ProfileError if they cannot be known."""
        ...


def silent(step: str, share: float) -> None:
    """A Progress that tells no one."""
