"""Profiles as files: JSON with a version, described field by field in docs/profile-schema.md.

A file holds the whole Graph (never the weights), so a plan can be made from it where the model is not at hand.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.errors import ProfileError
from multiedge.fleet import Device, Fleet
from multiedge.graph import Graph, Node, Tensor
from multiedge.profile import Floats, Profile

SCHEMA = "multiedge-profile"
VERSION = 1
SPEED_FIELDS = ("speed", "flops_per_s", "memory_bytes_per_s", "freq_hz", "threads")
"""What of a device its times depend on. Profilers keep these in `settings['devices']`."""

PathLike = str | os.PathLike[str]


def speed_data(fleet: Fleet) -> dict[str, dict[str, float]]:
    """What each device states about its speed, for `Profile.settings['devices']`."""
    return {device.name: _speed_of(device) for device in fleet.devices}


def _speed_of(device: Device) -> dict[str, float]:
    return {name: getattr(device, name) for name in SPEED_FIELDS if getattr(device, name) is not None}


def save_profile(profile: Profile, path: PathLike) -> None:
    """Writes the profile whole or not at all."""
    target = Path(path)
    text = json.dumps(profile_to_json(profile), indent=1, allow_nan=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def load_profile(path: PathLike) -> Profile:
    """The profile in a file; ProfileError that names file and place if it is missing, damaged or of a later version."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(f"{path}: no such profile; make one with: multiedge profile MODEL -o {path}") from None
    except (OSError, ValueError) as error:
        raise ProfileError(f"{path}: expected a profile in JSON: {error}") from error
    return profile_from_json(data, str(path))


def profile_to_json(profile: Profile) -> dict[str, Any]:
    """The profile as JSON data. `parameter_bytes`, `output_bytes`, `live_bytes` and `cuts` follow from the graph."""
    graph = profile.graph
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "model": {
            "name": graph.name,
            "hash": graph.model_hash,
            "path": graph.path,
            "ir_version": graph.ir_version,
            "opsets": dict(graph.opsets),
            "inputs": list(graph.inputs),
            "outputs": list(graph.outputs),
        },
        "devices": {
            name: {"source": profile.sources.get(name, ""), "overhead_s": profile.overhead_s.get(name, 0.0)}
            for name in profile.seconds
        },
        "nodes": [_node_to_json(profile, index) for index in range(len(profile))],
        "cuts": [{"after": cut.after, "tensors": list(cut.tensors), "bytes": cut.nbytes} for cut in graph.cuts],
        "tensors": [_tensor_to_json(tensor) for tensor in graph.tensors.values()],
        "parameters": [_tensor_to_json(tensor) for tensor in graph.parameters.values()],
        "fused_tensors": sorted(profile.fused),
        "uncounted": list(profile.uncounted),
        "settings": _plain(profile.settings),
    }


def _node_to_json(profile: Profile, index: int) -> dict[str, Any]:
    node = profile.graph.nodes[index]
    found: dict[str, Any] = {"name": node.name, "op_type": node.op_type, "inputs": list(node.inputs)}
    found["outputs"] = list(node.outputs)
    if node.domain:
        found["domain"] = node.domain
    if node.captures:
        found["captures"] = list(node.captures)
    if node.attributes:
        found["attributes"] = _plain(node.attributes)
    return {
        **found,
        "macs": int(profile.macs[index]),
        "flops": float(profile.flops[index]),
        "parameter_bytes": int(profile.parameter_bytes[index]),
        "output_bytes": int(profile.output_bytes[index]),
        "live_bytes": int(profile.live_bytes[index]),
        "seconds": {name: float(values[index]) for name, values in profile.seconds.items()},
        "spread_s": {name: float(values[index]) for name, values in profile.spread_s.items()},
    }


def _tensor_to_json(tensor: Tensor) -> dict[str, Any]:
    shape = None if tensor.shape is None else list(tensor.shape)
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": shape, "bytes": tensor.nbytes}


def _plain(value: Any) -> Any:
    """The value in JSON's own types; numbers that JSON lacks become {"float": "inf"}."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _attribute(value: Any) -> Any:
    """An attribute's value from JSON: tuples for lists."""
    if isinstance(value, list):
        return tuple(_attribute(item) for item in value)
    return float(value["float"]) if isinstance(value, dict) and set(value) == {"float"} else value


def profile_from_json(data: Any, place: str = "profile") -> Profile:
    """The profile that `profile_to_json` described; ProfileError that names `place` if the data is not one."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ProfileError(f'{place}: not a profile (expected "schema": "{SCHEMA}")')
    if data.get("version") != VERSION:
        raise ProfileError(f"{place}: version {data.get('version')} of the format; this program reads {VERSION}: profile again")
    try:
        return _profile(data)
    except KeyError as error:
        raise ProfileError(f"{place}: damaged profile, {error} is missing; profile the model again") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ProfileError(f"{place}: damaged profile, {error}; profile the model again") from error


def _profile(data: Mapping[str, Any]) -> Profile:
    nodes, devices = data["nodes"], data["devices"]

    def column(values: Sequence[Any]) -> Floats:
        found = np.array(values, dtype=np.float64)
        if not np.isfinite(found).all() or (found < 0).any():
            raise ValueError("a cost is negative or not a number")
        return found

    return Profile(
        graph=_graph(data),
        macs=np.array([node["macs"] for node in nodes], dtype=np.int64),
        flops=column([node["flops"] for node in nodes]),
        seconds={name: column([node["seconds"][name] for node in nodes]) for name in devices},
        sources={name: device["source"] for name, device in devices.items()},
        spread_s={name: column([node["spread_s"][name] for node in nodes]) for name in (nodes[0]["spread_s"] if nodes else ())},
        overhead_s={name: float(device["overhead_s"]) for name, device in devices.items()},
        uncounted=tuple(data["uncounted"]),
        fused=frozenset(data.get("fused_tensors", ())),
        settings=data["settings"],
    )


def _graph(data: Mapping[str, Any]) -> Graph:
    model = data["model"]
    return Graph(
        name=model["name"],
        nodes=tuple(_node(node) for node in data["nodes"]),
        inputs=tuple(model["inputs"]),
        outputs=tuple(model["outputs"]),
        tensors={tensor["name"]: _tensor(tensor) for tensor in data["tensors"]},
        parameters={tensor["name"]: _tensor(tensor) for tensor in data["parameters"]},
        opsets={str(domain): int(version) for domain, version in model["opsets"].items()},
        ir_version=int(model["ir_version"]),
        model_hash=model["hash"],
        path=model["path"],
    )


def _node(data: Mapping[str, Any]) -> Node:
    return Node(
        name=data["name"],
        op_type=data["op_type"],
        inputs=tuple(data["inputs"]),
        outputs=tuple(data["outputs"]),
        domain=data.get("domain", ""),
        captures=tuple(data.get("captures", ())),
        attributes={key: _attribute(value) for key, value in data.get("attributes", {}).items()},
    )


def _tensor(data: Mapping[str, Any]) -> Tensor:
    shape = None if data["shape"] is None else tuple(data["shape"])
    return Tensor(data["name"], data["dtype"], shape, data["bytes"])


def require_fits(profile: Profile, graph: Graph, fleet: Fleet) -> None:
    """Raises ProfileError, with the reason, if the profile is of another model or does not know the fleet as it is."""
    if profile.graph.model_hash != graph.model_hash:
        raise ProfileError(
            f"the profile was made of {profile.graph.name} (hash {profile.graph.model_hash[:12] or 'none'}),"
            f" the model is {graph.name} (hash {graph.model_hash[:12] or 'none'}); profile this model"
        )
    if [node.writes for node in profile.graph.nodes] != [node.writes for node in graph.nodes]:
        raise ProfileError(f"the profile lists the nodes of {graph.name} in another order or number; profile it again")
    wrong = _size_that_differs(profile.graph, graph)
    if wrong:
        raise ProfileError(wrong)
    stated = profile.settings.get("devices", {})
    for device in fleet.devices:
        profile.seconds_on(device.name)
        now, then = _speed_of(device), stated.get(device.name)
        changed = [] if then is None else [key for key in SPEED_FIELDS if now.get(key) != then.get(key)]
        if changed:
            raise ProfileError(
                f"device '{device.name}': the profile was made for {changed[0]} {then.get(changed[0], 'not stated')},"
                f" {fleet.name} says {now.get(changed[0], 'not stated')}; profile the model for this fleet"
            )


def _size_that_differs(old: Graph, new: Graph) -> str:
    for name in new.inputs:
        if name in old.tensors and name in new.tensors and old.tensors[name].shape != new.tensors[name].shape:
            return (
                f"the profile was made with input '{name}' of shape {list(old.tensors[name].shape or ())},"
                f" now it has {list(new.tensors[name].shape or ())}; profile the model with these shapes"
            )
    return ""


@dataclass(frozen=True)
class Change:
    """A node's time on a device in two profiles; `node` is '' for the sum of all nodes."""

    device: str
    node: str
    before_s: float
    after_s: float

    @property
    def ratio(self) -> float:
        return self.after_s / self.before_s if self.before_s > 0 else math.inf


def diff(before: Profile, after: Profile) -> tuple[Change, ...]:
    """What changed between two profiles of one model: for each device that both know the sum, then its nodes by the
    size of the change in seconds. ProfileError if they are of different models."""
    names = [node.name for node in before.graph.nodes]
    if names != [node.name for node in after.graph.nodes]:
        raise ProfileError(f"cannot compare: {before.graph.name} and {after.graph.name} have different nodes")
    found = []
    for device in (name for name in before.seconds if name in after.seconds):
        old, new = before.seconds[device], after.seconds[device]
        found.append(Change(device, "", float(old.sum()), float(new.sum())))
        order = np.argsort(-np.abs(new - old), kind="stable")
        found += [Change(device, names[i], float(old[i]), float(new[i])) for i in order.tolist() if old[i] != new[i]]
    return tuple(found)
