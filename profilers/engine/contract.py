"""What a profiler is: something that knows the costs of a model's nodes on the devices of a fleet."""

from __future__ import annotations

from typing import Protocol

from multiedge.backends.timing import Progress, silent
from multiedge.fleet import Fleet
from multiedge.graph import Graph
from multiedge.profile import Profile

__all__ = ["Profiler", "Progress", "silent"]


class Profiler(Protocol):
    """Arguments of the constructor are its hyperparameters."""

    def profile(self, graph: Graph, fleet: Fleet) -> Profile:
        """Costs of every node of `graph` on every device of `fleet`. ProfileError if they cannot be known."""
        ...
