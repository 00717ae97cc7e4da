"""Which nodes are alive: a function of heartbeats and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from multiedge.network.records import HEARTBEAT_S, NodeState

MISSED_HEARTBEATS = 3
LOST_AFTER_S = (MISSED_HEARTBEATS + 0.5) * HEARTBEAT_S
"""A node is lost when its third missed heartbeat is late by half an interval, since heartbeats do not come to the moment."""


LOOK_S = 1.0
"""How often a hub looks at its nodes, at least."""
STOOD_STILL_S = 0.25
"""A hub whose look is later than that stood still itself."""


@dataclass(frozen=True)
class Heard:
    """The last state of a node, and when it came."""

    state: NodeState
    at_s: float


@dataclass(frozen=True)
class Registry:
    """The nodes that were heard of, by name, and when the hub last looked. Times are of one clock that does not go back."""

    heard_of: Mapping[str, Heard] = field(default_factory=dict)
    looked_s: float | None = None

    def heard(self, state: NodeState, now_s: float) -> Registry:
        """The registry after a state has come, by push or by pull."""
        return replace(self, heard_of={**self.heard_of, state.name: Heard(state, now_s)})

    def looked(self, now_s: float) -> Registry:
        """The registry at a look. While the hub itself stood still, nodes were not silent: what they sent waits to be read."""
        stood_still_s = 0.0 if self.looked_s is None else now_s - self.looked_s - LOOK_S
        if stood_still_s <= STOOD_STILL_S:
            return replace(self, looked_s=now_s)
        later = {name: replace(heard, at_s=heard.at_s + stood_still_s) for name, heard in self.heard_of.items()}
        return Registry(later, now_s)

    def without_lost(self, now_s: float) -> tuple[Registry, tuple[str, ...]]:
        """The registry of the nodes that are alive, and the names of those that are lost by now."""
        lost = tuple(name for name, heard in self.heard_of.items() if now_s - heard.at_s > LOST_AFTER_S)
        if not lost:
            return self, ()
        return replace(self, heard_of={name: heard for name, heard in self.heard_of.items() if name not in lost}), lost

    def alive(self, now_s: float) -> tuple[NodeState, ...]:
        """The nodes that are alive, by name."""
        registry, _ = self.without_lost(now_s)
        return tuple(registry.heard_of[name].state for name in sorted(registry.heard_of))
