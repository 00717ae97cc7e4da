"""Profiles of one model put together: each device's times from where they are known best."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from multiedge.backends.stages import load_backend, resolved
from multiedge.errors import ProfileError
from multiedge.fleet import Device
from multiedge.graph import Graph
from multiedge.profile import Profile
from multiedge.quantity import Knowledge
from profilers.engine.macs import count_work


def merge(profiles: Sequence[Profile]) -> Profile:
    """One profile that knows every device of `profiles`; where two know a device, the later one counts.

    ProfileError if they are of different models or input shapes."""
    if not profiles:
        raise ProfileError("nothing to merge: expected at least one profile")
    merged = profiles[0]
    for other in profiles[1:]:
        _require_same_model(merged.graph, other.graph)
        merged = replace(
            merged,
            seconds={**merged.seconds, **other.seconds},
            sources={**merged.sources, **other.sources},
            spread_s={**merged.spread_s, **other.spread_s},
            overhead_s={**merged.overhead_s, **other.overhead_s},
            fused=merged.fused | other.fused,
            known={**merged.known, **other.known},
            notes=tuple(dict.fromkeys((*merged.notes, *other.notes))),
            settings={
                **merged.settings,
                "devices": {**merged.settings.get("devices", {}), **other.settings.get("devices", {})},
                "host": {**merged.settings.get("host", {}), **other.settings.get("host", {})},
            },
        )
    return merged


def renamed(profile: Profile, device: str, name: str) -> Profile:
    """The profile with the times of `device` alone, under the name that another fleet knows it by.

    This is how a profile measured on a device ('this machine, 1 thread') becomes that device's in a fleet's profile."""
    return replace(
        profile,
        seconds={name: profile.seconds_on(device)},
        sources={name: f"measured on the device ({profile.settings.get('machine', 'machine not stated')})"},
        spread_s={name: profile.spread_s[device]} if device in profile.spread_s else {},
        overhead_s={name: profile.overhead_s.get(device, 0.0)},
        known={name: Knowledge.MEASURED},
        settings={**profile.settings, "devices": {}, "host": {}},
    )


def profile_of_trace(graph: Graph, path: str | os.PathLike[str], device: Device) -> Profile:
    """A profile of the device alone, from the file that the profiler of its runtime wrote there.

    For onnxruntime: a JSON file that was taken with optimisation disabled. ProfileError if its backend reads no such files.
    """
    backend = resolved(device).backend
    timer = load_backend(backend).node_timer()
    if timer is None:
        raise ProfileError(
            f"{os.fspath(path)}: backend '{backend}' of device '{device.name}' reads no profiles with times of nodes"
        )
    work = count_work(graph)
    return Profile(
        graph=graph,
        macs=work.macs,
        flops=work.flops,
        seconds={device.name: timer.read(graph, Path(path))},
        sources={device.name: f"{backend}'s profile {os.fspath(path)}"},
        uncounted=work.uncounted,
        known={device.name: Knowledge.MEASURED},
        settings={"profiler": "trace"},
    )


def _require_same_model(one: Graph, other: Graph) -> None:
    if one.model_hash != other.model_hash or [n.writes for n in one.nodes] != [n.writes for n in other.nodes]:
        raise ProfileError(f"cannot merge profiles of {one.name} and {other.name}: they are different models")
    for name in one.inputs:
        shapes = (one.tensors[name].shape, other.tensors[name].shape)
        if shapes[0] != shapes[1]:
            raise ProfileError(
                f"cannot merge: input '{name}' has shape {shapes[0]} in one profile and {shapes[1]} in the other"
            )
