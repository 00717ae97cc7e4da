"""The costs of a model in several variants, as one profile: each device takes the fastest of those that it may use.

A variant is chosen for a device, not for a stage: a device has one process, and two runtimes there take the memory of both.
Which one is the fastest depends on the nodes that the device holds, so the times are those of spans (`FastestSpans`), and what
strategies prove with them holds for every choice of variants together with every placement.

Memory is that of the largest variant that any device may use. So a plan that fits does so with every choice; where all devices
have the same variant, such as int8, weights count as in its file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from multiedge.backends.stages import load_backend
from multiedge.errors import ConfigError, did_you_mean
from multiedge.fleet import Device, Fleet
from multiedge.graph import Graph
from multiedge.profile import Profile
from multiedge.spans import FastestSpans, SpanCost


@dataclass(frozen=True, order=True)
class Variant:
    """A backend and what it computes with."""

    backend: str
    precision: str

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"

    @classmethod
    def parse(cls, text: str) -> Variant:
        """The variant of 'BACKEND:PRECISION'; ConfigError for other texts."""
        backend, _, precision = text.strip().partition(":")
        if not backend or not precision:
            raise ConfigError(f"--variants: expected BACKEND:PRECISION, such as onnxruntime:int8, got '{text}'")
        return cls(backend, precision)

    def require_known(self) -> None:
        """ConfigError for a backend that is not registered, and for a precision that it does not have."""
        known = load_backend(self.backend).selectable
        if self.precision not in known:
            near = did_you_mean(self.precision, known)
            raise ConfigError(
                f"variants: backend '{self.backend}' computes with {', '.join(known)}, not '{self.precision}'{near}"
            )

    def on(self, device: Device) -> Device:
        """The device with this variant."""
        return replace(device, backend=self.backend, precision=self.precision)


@dataclass(frozen=True)
class VariantCosts:
    """What a model costs in one variant.

    Attributes:
        profile: Its costs, with times of the devices that can run it.
        weights_share: Bytes of its weights over those of the model as it is.
    """

    profile: Profile
    weights_share: float = 1.0


Allowed = Mapping[str, tuple[Variant, ...]]
"""The variants that each device may use, by its name; the first is the device's own."""


def joint_profile(costs: Mapping[Variant, VariantCosts], allowed: Allowed) -> Profile:
    """The costs of the model where each device takes the fastest of the variants that it may use.

    Args:
        costs: Costs by variant.
        allowed: The variants of each device, at least one.

    Returns:
        A Profile; its `spans` have the variants of devices with several.
    """
    used = sorted({variant for variants in allowed.values() for variant in variants})
    base = costs[used[0]].profile
    seconds, overhead_s, sources = {}, {}, {}
    known, spread_s = {}, {}
    spans: dict[str, SpanCost] = {}
    for device, variants in allowed.items():
        profiles = [costs[variant].profile for variant in variants]
        rows = np.stack([each.seconds_on(device) for each in profiles])
        overheads = np.array([each.overhead_s.get(device, 0.0) for each in profiles])
        best = int(np.argmin(rows.sum(axis=1) + overheads))
        seconds[device], overhead_s[device] = rows[best], float(overheads.min())
        known[device] = profiles[best].knowledge_of([device])
        if device in profiles[best].spread_s:
            spread_s[device] = profiles[best].spread_s[device]
        names = tuple(map(str, variants))
        sources[device] = f"{profiles[best].sources.get(device, '')}, the fastest of {' and '.join(names)}"
        if len(variants) > 1:
            spans[device] = FastestSpans(names, rows, overheads - overheads.min())
    memory_use = base.memory_use
    for variant in used:
        memory_use = memory_use.at_least(costs[variant].profile.memory_use)
    return replace(
        base,
        graph=_with_weights(base.graph, max(costs[variant].weights_share for variant in used)),
        seconds=seconds,
        spread_s=spread_s,
        overhead_s=overhead_s,
        sources=sources,
        known=known,
        fused=frozenset[str]().union(*(costs[variant].profile.fused for variant in used)),
        memory_use=memory_use,
        spans=spans,
    )


def chosen_variants(profile: Profile, allowed: Allowed, held: Mapping[str, Sequence[int]]) -> dict[str, Variant]:
    """The variant that each device takes.

    Args:
        profile: What `joint_profile` has made of `allowed`.
        allowed: The variants of each device.
        held: The nodes that each device holds, by its name, ascending.

    Returns:
        A variant for each device that holds nodes.
    """
    chosen = {}
    for device, nodes in held.items():
        cost = profile.spans.get(device)
        way = cost.way(nodes[0], nodes[-1] + 1) if isinstance(cost, FastestSpans) else 0
        chosen[device] = allowed[device][way]
    return chosen


def with_variants(fleet: Fleet, variants: Mapping[str, Variant]) -> Fleet:
    """The fleet whose devices have these variants in place of their own; others stay as they are."""
    devices = (variants[each.name].on(each) if each.name in variants else each for each in fleet.devices)
    return replace(fleet, devices=tuple(devices))


def _with_weights(graph: Graph, share: float) -> Graph:
    """The graph with parameters of that share of their bytes."""
    if share == 1.0:
        return graph
    parameters = {
        name: replace(each, nbytes=None if each.nbytes is None else math.ceil(each.nbytes * share))
        for name, each in graph.parameters.items()
    }
    return replace(graph, parameters=parameters)
