"""The nodes of a hub as the devices of a fleet, for which strategies plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from multiedge.errors import ConfigError
from multiedge.fleet import AUTO_BACKEND, DEFAULT_MEMORY_MARGIN, REFERENCE_BACKEND, Device, Fleet, Link, default_runtime_bytes
from multiedge.network.records import LinkState, NodeState


def fleet_of(states: Sequence[NodeState], declared: Fleet | None = None, name: str = "fleet of the hub") -> Fleet:
    """The nodes as devices, so that strategies plan for them.

    Two nodes that did not measure each other are connected by the slower of their interfaces; that of a node is the fastest
    connection that it measured.

    Args:
        states: The nodes that are alive.
        declared: A devices.yaml: what it states of a node or a link takes the place of measured values. Its other devices are
            left out.
        name: What errors call the fleet.

    Returns:
        The Fleet, devices in the order of the states.

    Raises:
        ConfigError: If there is no node.
    """
    if not states:
        raise ConfigError(f"{name}: expected at least one node, got none; start one with: multiedge node --hub HOST:PORT")
    stated = declared.by_name if declared else {}
    devices = tuple(_declared(stated[s.name], _device(s)) if s.name in stated else _device(s) for s in states)
    names = {device.name for device in devices}
    links = {(s.name, link.peer): found for s in states for link in s.links if (found := _link(link)) and link.peer in names}
    if declared is None:
        return Fleet(devices, links, name=name)
    given = {pair: link for pair, link in declared.links.items() if names >= set(pair)}
    measured = {(a, b): link for (a, b), link in links.items() if (b, a) not in given}
    source = declared.source if declared.source in names else None
    return Fleet(devices, {**measured, **given}, declared.partition_points, name, source)


def _device(state: NodeState) -> Device:
    limits = [limit for limit in (state.memory_bytes, state.free_bytes) if limit is not None]
    rates = [link.bytes_per_s for link in state.links if link.bytes_per_s is not None]
    trips = [link.rtt_s for link in state.links if link.rtt_s is not None]
    is_reference = REFERENCE_BACKEND in state.backends or not state.backends
    backend = AUTO_BACKEND if is_reference else state.backends[0]
    return Device(
        state.name,
        memory_bytes=min(limits, default=None),
        memory_margin=DEFAULT_MEMORY_MARGIN,
        flops_per_s=state.flops_per_s,
        memory_bytes_per_s=state.memory_bytes_per_s,
        threads=state.threads,
        bandwidth_bytes_per_s=max(rates, default=math.inf),
        # Half of a round trip is one way, of which each of the two interfaces has half.
        latency_s=min(trips, default=0.0) / 4,
        backend=backend,
        runtime_bytes=default_runtime_bytes(backend),
    )


def _declared(stated: Device, measured: Device) -> Device:
    """The declared device; what it does not state is as measured."""
    merged = stated
    if stated.memory_bytes is None:
        merged = replace(merged, memory_bytes=measured.memory_bytes)
    if stated.speed is None and stated.flops_per_s is None and stated.freq_hz is None:
        merged = replace(merged, flops_per_s=measured.flops_per_s, memory_bytes_per_s=measured.memory_bytes_per_s)
    if math.isinf(stated.bandwidth_bytes_per_s):
        merged = replace(merged, bandwidth_bytes_per_s=measured.bandwidth_bytes_per_s, latency_s=measured.latency_s)
    return merged


def _link(state: LinkState) -> Link | None:
    """The link as plans use it; None where its rate is not known."""
    if state.bytes_per_s is None or state.bytes_per_s <= 0:
        return None
    return Link(state.bytes_per_s, (state.rtt_s or 0.0) / 2)
