"""Profiles in the format of PipeEdge's `profiler_results.yml`, which Ianvs's multi-edge example reads.

One entry per layer: `layer` (from 1), `time` (seconds a batch), `memory` (MB, 10^6 bytes), `shape_in` and `shape_out` (lists
of shapes without the batch axis). A layer here is one node; PipeEdge's own are parts of transformer blocks.
Format after the documentation of PipeEdge (Y. Hu et al., PipeEdge: Pipeline Parallelism for Large-Scale Model Inference on
Heterogeneous Edge Devices, DSD 2022).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import yaml

from multiedge.errors import ProfileError
from multiedge.files import write_text
from multiedge.formats.documents import read_yaml
from multiedge.formats.fields import Field, Kind
from multiedge.graph import Graph, Node, Tensor
from multiedge.profile import Profile
from multiedge.quantity import FACTOR

MEGABYTE = 1e6
PathLike = str | os.PathLike[str]
MOST_MEGABYTES = 2**40
KIND = Kind("file of profiler results", ProfileError, "write it with PipeEdge's profiler")


def profiler_results(profile: Profile, device: str) -> dict[str, Any]:
    """The profile's times on one device in PipeEdge's format: one layer per node, in topological order."""
    graph, seconds = profile.graph, profile.seconds_on(device)
    first = graph.tensors[graph.inputs[0]]
    batch = first.shape[0] if first.shape and isinstance(first.shape[0], int) else 1
    memory = profile.parameter_bytes + profile.live_bytes
    return {
        "model_name": graph.name,
        "dtype": f"torch.{first.dtype}",
        "batch_size": batch,
        "layers": len(profile),
        "profile_data": [
            {
                "layer": index + 1,
                "time": float(seconds[index]),
                "memory": float(memory[index]) / MEGABYTE,
                "shape_in": _shapes(graph, graph.cuts[index].tensors),
                "shape_out": _shapes(graph, graph.cuts[index + 1].tensors or graph.outputs),
            }
            for index in range(len(profile))
        ],
    }


def write_profiler_results(profile: Profile, device: str, path: PathLike) -> None:
    """Writes `profiler_results.yml` for one device atomically."""
    write_text(path, yaml.safe_dump(profiler_results(profile, device), default_flow_style=None))


def read_profiler_results(path: PathLike, device: str = "device") -> Profile:
    """A Profile of a chain with one node per layer, its times under the name `device`.

    What the format does not hold is not made up: there are no MACs, and `memory` counts as parameters.
    """
    data = read_yaml(path, KIND)
    layers = sorted(data["profile_data"].list_of(_layer, least=1), key=lambda layer: layer.number)
    for index, layer in enumerate(layers):
        if layer.number != index + 1:
            raise data["profile_data"].error(f"expected each layer from 1 to {len(layers)} once, got no layer {index + 1}")
    batch = data["batch_size"].optional(lambda size: size.integer(least=1), 1)
    count = len(layers)
    return Profile(
        graph=_chain(data, batch, layers),
        macs=np.zeros(count, dtype=np.int64),
        flops=np.zeros(count),
        seconds={device: np.array([layer.seconds for layer in layers])},
        sources={device: f"read from {path}"},
        uncounted=("MACs of every layer (the file holds none)",),
        settings={"profiler": "pipeedge", "batch_size": batch},
    )


@dataclass(frozen=True)
class _Layer:
    """One entry of `profile_data`; shapes are without the batch axis."""

    number: int
    seconds: float
    memory_bytes: int
    shapes_in: tuple[tuple[int, ...], ...]
    shapes_out: tuple[tuple[int, ...], ...]


def _layer(field: Field) -> _Layer:
    # PipeEdge takes the difference of two readings of memory, which can be negative.
    memory_bytes = int(max(field["memory"].number(most=MOST_MEGABYTES), 0) * MEGABYTE)
    shapes_in, shapes_out = (field[key].list_of(_shape) for key in ("shape_in", "shape_out"))
    return _Layer(field["layer"].integer(least=1), field["time"].quantity(FACTOR), memory_bytes, shapes_in, shapes_out)


def _shape(field: Field) -> tuple[int, ...]:
    return field.list_of(Field.count)


def _shapes(graph: Graph, names: tuple[str, ...]) -> list[list[int]]:
    shapes = [graph.tensors[name].shape for name in names if name in graph.tensors]
    return [[dim if isinstance(dim, int) else 1 for dim in shape[1:]] for shape in shapes if shape is not None]


def _chain(data: Field, batch: int, layers: Sequence[_Layer]) -> Graph:
    dtype = data["dtype"].optional(_dtype, np.dtype("float32"))
    tensors: dict[str, Tensor] = {}

    def boundary(after: int, shapes: Sequence[tuple[int, ...]]) -> tuple[str, ...]:
        names = tuple(f"layer_{after}_out_{position}" for position in range(len(shapes)))
        for name, shape in zip(names, shapes, strict=True):
            tensors[name] = Tensor(name, dtype.name, (batch, *shape), batch * prod(shape) * dtype.itemsize)
        return names

    bounds = [boundary(0, layers[0].shapes_in), *(boundary(layer.number, layer.shapes_out) for layer in layers)]
    parameters = {f"memory_{layer.number}": layer.memory_bytes for layer in layers}
    nodes = [
        Node(f"layer_{i}", "Layer", (*bounds[i - 1], f"memory_{i}"), bounds[i], domain="pipeedge")
        for i in range(1, len(bounds))
    ]
    return Graph(
        name=data["model_name"].optional(Field.text, "model"),
        nodes=tuple(nodes),
        inputs=bounds[0],
        outputs=bounds[-1],
        tensors=tensors,
        parameters={name: Tensor(name, "uint8", (nbytes,), nbytes) for name, nbytes in parameters.items()},
    )


def _dtype(field: Field) -> np.dtype[Any]:
    try:
        return np.dtype(field.text().removeprefix("torch."))
    except TypeError:
        raise field.expected("the name of a dtype such as torch.float32") from None
