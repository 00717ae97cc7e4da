"""A profile in few numbers: its costliest nodes and operators, and one line for the whole model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from multiedge.fleet import REFERENCE_BACKEND
from multiedge.profile import Floats, Profile
from multiedge.quantity import human_bytes, human_macs, number_text
from profilers.engine.host import Host
from profilers.engine.macs import Work, count_work


@dataclass(frozen=True)
class Row:
    """A node or an operator type: its time on the device that the table is about, and that time's share of the whole.

    `macs` is None if the operations of any of the nodes are not known."""

    name: str
    op_type: str
    nodes: int
    seconds: float
    share: float
    macs: int | None
    parameter_bytes: int
    output_bytes: int


def costliest_nodes(profile: Profile, device: str, count: int = 10) -> list[Row]:
    """The nodes that take longest on `device`, longest first."""
    seconds = profile.seconds_on(device)
    order = np.argsort(-seconds, kind="stable")[:count]
    work = count_work(profile.graph)
    return [_row(profile, work, seconds, [index], profile.graph.nodes[index].name) for index in order.tolist()]


def costliest_operators(profile: Profile, device: str, count: int = 10) -> list[Row]:
    """The operator types that take longest on `device` together, longest first."""
    seconds = profile.seconds_on(device)
    members: dict[str, list[int]] = {}
    for index, node in enumerate(profile.graph.nodes):
        members.setdefault(node.op_type, []).append(index)
    work = count_work(profile.graph)
    rows = [_row(profile, work, seconds, indices, op_type) for op_type, indices in members.items()]
    return sorted(rows, key=lambda row: -row.seconds)[:count]


def headline(profile: Profile, device: str) -> str:
    """One line: size, work, memory and time of the model."""
    whole = profile.span()
    stored = profile.graph.parameter_bytes
    stored = whole.parameter_bytes if stored is None else stored
    return (
        f"{profile.graph.name}: {len(profile)} nodes, {human_macs(whole.macs, is_whole=not profile.uncounted)},"
        f" {human_bytes(stored)} of parameters, at most {human_bytes(whole.peak_live_bytes)} of activations,"
        f" {number_text(whole.seconds[device] * 1e3)} ms on {device} ({profile.sources.get(device, 'source not stated')})"
    )


BUSY = 1.25


def warnings(profile: Profile) -> list[str]:
    """What a reader should know before trusting the times: latencies that are much longer than the processor time."""
    lines = []
    for key, host in profile.settings.get("host", {}).items():
        if host["latency_s"] > BUSY * host["cpu_s"]:
            used = Host(int(host.get("threads", key)), host.get("backend", REFERENCE_BACKEND))
            lines.append(
                f"with {used.label} the model took {host['latency_s'] * 1e3:.4g} ms but only {host['cpu_s'] * 1e3:.4g} ms of"
                " processor time: this machine was busy with other work, profile again"
            )
    return lines


def summary(profile: Profile, device: str, count: int = 10) -> dict[str, Any]:
    """The same as JSON data, with the total on every device."""
    whole = profile.span()
    return {
        "model": profile.graph.name,
        "model_hash": profile.graph.model_hash,
        "free_batch": list(profile.graph.free_batch),
        "measured_sizes": list(profile.graph.measured_sizes),
        "nodes": len(profile),
        "macs": whole.macs,
        "flops": whole.flops,
        "parameter_bytes": whole.parameter_bytes,
        "peak_live_bytes": whole.peak_live_bytes,
        "devices": {
            name: {"seconds": seconds, "source": profile.sources.get(name, "")} for name, seconds in whole.seconds.items()
        },
        "costliest_nodes": [vars(row) for row in costliest_nodes(profile, device, count)],
        "costliest_operators": [vars(row) for row in costliest_operators(profile, device, count)],
        "uncounted": list(profile.uncounted),
        "warnings": warnings(profile),
        "settings": dict(profile.settings),
    }


def _row(profile: Profile, work: Work, seconds: Floats, indices: list[int], name: str) -> Row:
    total = float(seconds.sum())
    macs, parameters = profile.macs[indices], profile.graph.parameters
    read = {tensor for index in indices for tensor in profile.graph.nodes[index].reads if tensor in parameters}
    return Row(
        name=name,
        op_type=profile.graph.nodes[indices[0]].op_type,
        nodes=len(indices),
        seconds=float(seconds[indices].sum()),
        share=float(seconds[indices].sum()) / total if total > 0 else 0.0,
        macs=int(macs.sum()) if (work.is_counted[indices] | (macs > 0)).all() else None,
        parameter_bytes=sum(map(profile.graph.size_of, read)),
        output_bytes=int(profile.output_bytes[indices].sum()),
    )
