"""Which nodes are alive: a function of heartbeats and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from multiedge.network.records import HEARTBEAT_S, NodeState

MISSED_HEARTBEATS = 3
LOST_AFTER_S = (MISSED_HEARTBEATS + 0.5) * HEARTBEAT_S
"""A node is lost when its third missed heartbeat is late by half an interval, since heartbeats do not come to the moment."""


@dataclass(frozen=True)
class Heard:
    """The last state of a node, and when it came."""

    state: NodeState
    at_s: float


@dataclass(frozen=True)
class Registry:
    """The nodes that have been heard of, by name. Times are of one clock that does not go back."""

    heard_of: Mapping[str, Heard] = field(default_factory=dict)

    def heard(self, state: NodeState, now_s: float) -> Registry:
        """The registry after a state has come, by push or by pull."""
        return Registry({**self.heard_of, state.name: Heard(state, now_s)})

    def without_lost(self, now_s: float) -> tuple[Registry, tuple[str, ...]]:
        """The registry of the nodes that are alive, and the names of those that are lost by now."""
        lost = tuple(name for name, heard in self.heard_of.items() if now_s - heard.at_s > LOST_AFTER_S)
        if not lost:
            return self, ()
        return Registry({name: heard for name, heard in self.heard_of.items() if name not in lost}), lost

    def alive(self, now_s: float) -> tuple[NodeState, ...]:
        """The nodes that are alive, by name."""
        registry, _ = self.without_lost(now_s)
        return tuple(registry.heard_of[name].state for name in sorted(registry.heard_of))
