"""Costs of a workflow as strategies see them: of nodes that compute for some items only, the mean over all items.

A profile has what nodes take when they compute, which is what is measured. Strategies, the cost model and reports count what an
item takes in the mean: seconds times the share of items for which the node computes, and of what crosses a link bytes times the
share of items for which the tensor is there (`Graph.sent_bytes_of`). Memory is that of an item that has all tensors.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multiedge.composed import segment_of, step_of
from multiedge.graph import Graph
from multiedge.profile import Floats, Profile

LEAST_RATE = 1e-9
"""A rate of 0 counts as this one, so that the times of its nodes are not lost."""


def with_rates(profile: Profile) -> Profile:
    """The profile with mean times.

    Args:
        profile: Costs of nodes when they compute.

    Returns:
        A new Profile, with a remark; the profile itself if all nodes compute for all items, or its times are means already.
    """
    if profile.is_mean or not profile.graph.has_rates:
        return profile
    return replace(_scaled(profile, _rates(profile)), is_mean=True, notes=(*profile.notes, rates_text(profile.graph)))


def without_rates(profile: Profile) -> Profile:
    """The profile with the times of nodes when they compute; the inverse of `with_rates`."""
    return replace(_scaled(profile, 1.0 / _rates(profile)), is_mean=False) if profile.is_mean else profile


def rates_text(graph: Graph) -> str:
    """The shares of items that steps behind conditions compute for, in words."""
    rates = {step_of(segment_of(node.name)): rate for node, rate in zip(graph.nodes, graph.node_rates, strict=True)}
    shown = ", ".join(f"{name} {rate:.0%}" for name, rate in rates.items() if rate < 1)
    return f"times are means over all items, of which some do not pass every step: {shown}"


def _rates(profile: Profile) -> Floats:
    return np.maximum(np.array(profile.graph.node_rates, dtype=np.float64), LEAST_RATE)


def _scaled(profile: Profile, factors: Floats) -> Profile:
    return replace(
        profile,
        seconds={name: values * factors for name, values in profile.seconds.items()},
        spread_s={name: values * factors for name, values in profile.spread_s.items()},
    )
