"""Profiles as files: JSON with a version, described field by field in docs/profile-schema.md.

A file holds the whole Graph (never the weights), so a plan can be made from it where the model is not at hand.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from multiedge.errors import ProfileError, describe
from multiedge.files import write_text
from multiedge.fleet import Device, Fleet
from multiedge.formats.composed import composition_to_json, read_composition
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Field, Kind
from multiedge.formats.pipeline_cost import pipeline_cost_to_json, read_pipeline_cost
from multiedge.formats.spans import read_span_cost, span_cost_to_json
from multiedge.formats.states import read_extended, read_states, states_to_json
from multiedge.graph import Dim, Graph, Node, Tensor
from multiedge.profile import Floats, MemoryUse, Profile
from multiedge.quantity import Knowledge

SCHEMA = "multiedge-profile"
VERSION = 1
KIND = Kind("profile", ProfileError, "profile the model again", "make one with: multiedge profile MODEL -o PROFILE")
SPEED_FIELDS = ("speed", "flops_per_s", "memory_bytes_per_s", "freq_hz", "threads")
"""What of a device its times depend on. Profilers keep these in `settings['devices']`."""

PathLike = str | os.PathLike[str]


def speed_data(fleet: Fleet) -> dict[str, dict[str, float]]:
    """What each device states about its speed, for `Profile.settings['devices']`."""
    return {device.name: _speed_of(device) for device in fleet.devices}


def _speed_of(device: Device) -> dict[str, float]:
    return {name: getattr(device, name) for name in SPEED_FIELDS if getattr(device, name) is not None}


def save_profile(profile: Profile, path: PathLike) -> None:
    """Writes a profile as JSON, atomically.

    Args:
        profile: The profile.
        path: The file; its folder is created if needed.
    """
    write_text(path, json.dumps(profile_to_json(profile), indent=1, allow_nan=False) + "\n")


def load_profile(path: PathLike) -> Profile:
    """The profile in a file.

    Args:
        path: A file that `save_profile` wrote.

    Returns:
        The Profile.

    Raises:
        ProfileError: If the file is missing, damaged or of another version; it names file and place.
    """
    return _profile(read_json(path, KIND))


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
            "free_batch": list(graph.free_batch),
            "measured_sizes": list(graph.measured_sizes),
            **states_to_json(graph.states, graph.extended),
            **({"whole_inputs": [_tensor_to_json(each) for each in graph.whole_inputs.values()]} if graph.whole_inputs else {}),
            **_kept_to_json(graph),
            **({"composition": composition_to_json(graph.composition)} if graph.composition else {}),
        },
        "devices": {
            name: {
                "source": profile.sources.get(name, ""),
                "overhead_s": profile.overhead_s.get(name, 0.0),
                "known": profile.knowledge_of((name,)).value,
                **({"spans": span_cost_to_json(profile.spans[name])} if name in profile.spans else {}),
            }
            for name in profile.seconds
        },
        "nodes": [_node_to_json(profile, index) for index in range(len(profile))],
        "cuts": [{"after": cut.after, "tensors": list(cut.tensors), "bytes": cut.nbytes} for cut in graph.cuts],
        "tensors": [_tensor_to_json(tensor) for tensor in graph.tensors.values()],
        "parameters": [_tensor_to_json(tensor) for tensor in graph.parameters.values()],
        "fused_tensors": sorted(profile.fused),
        "uncounted": list(profile.uncounted),
        "memory_use": asdict(profile.memory_use),
        "notes": list(profile.notes),
        "pipeline": pipeline_cost_to_json(profile.pipeline),
        "settings": plain_data(profile.settings),
        **({"mean_times": True} if profile.is_mean else {}),
    }


def _kept_to_json(graph: Graph) -> dict[str, Any]:
    """What is to be known of a model with states, beside them."""
    if not graph.states:
        return {}
    return {"recomputed": list(graph.recomputed), "growing": list(graph.growing), "sequences": graph.sequences}


def _node_to_json(profile: Profile, index: int) -> dict[str, Any]:
    node = profile.graph.nodes[index]
    optional = {
        "domain": node.domain,
        "captures": list(node.captures),
        "attributes": plain_data(node.attributes),
        "bodies": plain_data(node.bodies),
    }
    return {
        "name": node.name,
        "op_type": node.op_type,
        "inputs": list(node.inputs),
        "outputs": list(node.outputs),
        **{key: value for key, value in optional.items() if value},
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
    rate = {} if tensor.rate == 1 else {"rate": tensor.rate}
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": shape, "bytes": tensor.nbytes, **rate}


def plain_data(value: Any) -> Any:
    """The value in JSON's own types; numbers that JSON lacks become {"float": "inf"}."""
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain_data(item) for item in value]
    if isinstance(value, np.generic):
        return plain_data(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _attribute(field: Field) -> Any:
    """A node's attribute: tuples for lists."""
    if isinstance(field.value, list):
        return field.list_of(_attribute)
    if isinstance(field.value, Mapping) and set(field.value) == {"float"}:
        return float(field["float"].choice(("inf", "-inf", "nan")))
    return field.data()


def profile_from_json(data: object, place: str = "profile") -> Profile:
    """The profile that `profile_to_json` described; ProfileError that names `place` if the data is not one."""
    return _profile(Field(data, place, KIND))


def _profile(document: Field) -> Profile:
    if "schema" not in document or document["schema"].value != SCHEMA:
        raise ProfileError(f'{document.place}: not a profile (expected "schema": "{SCHEMA}")')
    version = document["version"].value
    if version != VERSION:
        raise document.error(f"version {describe(version)} of the format; this program reads {VERSION}")
    nodes, devices = document["nodes"].items(), document["devices"].mapping()
    spreads = nodes[0]["spread_s"].mapping() if nodes else {}
    graph = _graph(document)
    if graph.unsized:
        raise ProfileError(f"{document.place}: the size of '{graph.unsized[0]}' is not known; profile again with --shape")
    return Profile(
        graph=graph,
        macs=np.array([node["macs"].integer() for node in nodes], dtype=np.int64),
        flops=_costs(node["flops"] for node in nodes),
        seconds=_columns([node["seconds"] for node in nodes], devices),
        sources={name: device["source"].text() for name, device in devices.items()},
        spread_s=_columns([node["spread_s"] for node in nodes], spreads),
        overhead_s={name: device["overhead_s"].number(least=0) for name, device in devices.items()},
        uncounted=document["uncounted"].list_of(Field.text),
        fused=frozenset(document["fused_tensors"].optional(_texts, ())),
        settings=document["settings"].mapping_of(Field.data),
        memory_use=document["memory_use"].optional(_memory_use, MemoryUse()),
        known={name: device["known"].optional(_knowledge, Knowledge.ESTIMATED) for name, device in devices.items()},
        notes=document["notes"].optional(_texts, ()),
        pipeline=document["pipeline"].optional(read_pipeline_cost),
        is_mean=document["mean_times"].optional(Field.boolean, False),
        spans={name: read_span_cost(device["spans"], len(nodes)) for name, device in devices.items() if device["spans"].given},
    )


def _memory_use(field: Field) -> MemoryUse:
    return MemoryUse(
        field["working_copies"].count(),
        field["buffered_items"].count(),
        field["packing_copies"].mapping_of(Field.count),
        field["folded"].optional(lambda folded: folded.mapping_of(Field.text), {}),
        field["body_copies"].optional(lambda copies: copies.mapping_of(Field.count), {}),
        field["weight_copies"].optional(Field.count, 1),
    )


def _knowledge(field: Field) -> Knowledge:
    return field.enum(Knowledge)


def _costs(fields: Iterable[Field]) -> Floats:
    return np.array([field.number(least=0) for field in fields], dtype=np.float64)


def _columns(rows: Sequence[Field], names: Iterable[str]) -> dict[str, Floats]:
    return {name: _costs(row[name] for row in rows) for name in names}


def _texts(field: Field) -> tuple[str, ...]:
    return field.list_of(Field.text)


def _graph(document: Field) -> Graph:
    model = document["model"]
    return Graph(
        name=model["name"].text(),
        nodes=document["nodes"].list_of(_node),
        inputs=_texts(model["inputs"]),
        outputs=_texts(model["outputs"]),
        tensors=_tensors(document["tensors"]),
        parameters=_tensors(document["parameters"]),
        opsets=model["opsets"].mapping_of(Field.integer),
        ir_version=model["ir_version"].integer(),
        model_hash=model["hash"].text(),
        path=model["path"].optional(Field.text),
        free_batch=model["free_batch"].optional(_texts, ()),
        measured_sizes=model["measured_sizes"].optional(_texts, ()),
        states=read_states(model),
        extended=read_extended(model),
        whole_inputs=model["whole_inputs"].optional(_tensors, {}),
        recomputed=model["recomputed"].optional(_texts, ()),
        growing=model["growing"].optional(_texts, ()),
        sequences=model["sequences"].optional(lambda count: count.integer(1), 1),
        composition=model["composition"].optional(read_composition),
    )


def _node(field: Field) -> Node:
    return Node(
        name=field["name"].text(),
        op_type=field["op_type"].text(),
        inputs=_texts(field["inputs"]),
        outputs=_texts(field["outputs"]),
        domain=field["domain"].optional(Field.text, ""),
        captures=field["captures"].optional(_texts, ()),
        attributes=field["attributes"].optional(lambda attributes: attributes.mapping_of(_attribute), {}),
        bodies=field["bodies"].optional(lambda bodies: bodies.list_of(lambda body: body.mapping_of(_texts)), ()),
    )


def _tensors(field: Field) -> dict[str, Tensor]:
    tensors = field.list_of(_tensor)
    return {tensor.name: tensor for tensor in tensors}


def _tensor(field: Field) -> Tensor:
    return Tensor(
        field["name"].text(),
        field["dtype"].optional(Field.text),
        field["shape"].optional(lambda shape: shape.list_of(_dimension)),
        field["bytes"].optional(Field.count),
        field["rate"].optional(lambda rate: rate.number(0, 1), 1.0),
    )


def _dimension(field: Field) -> Dim:
    if not field.given:
        return None
    return field.text() if isinstance(field.value, str) else field.count()


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
    stated = Field(profile.settings.get("devices", {}), "profile: settings.devices", KIND)
    for device in fleet.devices:
        profile.seconds_on(device.name)
        if not stated[device.name].given:
            continue
        now, then = _speed_of(device), stated[device.name].mapping_of(Field.data)
        changed = [key for key in SPEED_FIELDS if now.get(key) != then.get(key)]
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
    changes = []
    for device in (name for name in before.seconds if name in after.seconds):
        old, new = before.seconds[device], after.seconds[device]
        changes.append(Change(device, "", float(old.sum()), float(new.sum())))
        order = np.argsort(-np.abs(new - old), kind="stable")
        changes += [Change(device, names[i], float(old[i]), float(new[i])) for i in order.tolist() if old[i] != new[i]]
    return tuple(changes)
