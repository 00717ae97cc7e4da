"""Profiles in the format of PipeEdge's `profiler_results.yml`, which Ianvs's multi-edge example reads.

One entry per layer: `layer` (from 1), `time` (seconds a batch), `memory` (MB, 10^6 bytes), `shape_in` and `shape_out` (lists
of shapes without the batch axis). A layer here is one node; PipeEdge's own are parts of transformer blocks.
Format after the documentation of PipeEdge (Y. Hu et al., PipeEdge: Pipeline Parallelism for Large-Scale Model Inference on
Heterogeneous Edge Devices, DSD 2022).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from multiedge.errors import ProfileError
from multiedge.files import write_text
from multiedge.graph import Graph, Node, Tensor
from multiedge.profile import Profile

MEGABYTE = 1e6
PathLike = str | os.PathLike[str]
LAYER_KEYS = ("layer", "time", "memory", "shape_in", "shape_out")


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
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ProfileError(f"{path}: cannot be read as profiler results: {error}") from error
    if not isinstance(data, dict) or not data.get("profile_data"):
        raise ProfileError(f"{path}: expected a list 'profile_data' of layers, as PipeEdge's profiler writes it")
    layers = sorted(data["profile_data"], key=lambda layer: layer.get("layer", 0))
    for index, layer in enumerate(layers):
        missing = [key for key in LAYER_KEYS if key not in layer]
        if missing or layer["layer"] != index + 1:
            raise ProfileError(f"{path}: profile_data[{index}]: expected layer {index + 1} with {', '.join(LAYER_KEYS)}")
    count = len(layers)
    return Profile(
        graph=_chain(data, layers),
        macs=np.zeros(count, dtype=np.int64),
        flops=np.zeros(count),
        seconds={device: np.array([float(layer["time"]) for layer in layers])},
        sources={device: f"read from {path}"},
        uncounted=("MACs of every layer (the file holds none)",),
        settings={"profiler": "pipeedge", "batch_size": data.get("batch_size", 1)},
    )


def _shapes(graph: Graph, names: tuple[str, ...]) -> list[list[int]]:
    shapes = [graph.tensors[name].shape for name in names if name in graph.tensors]
    return [[dim if isinstance(dim, int) else 1 for dim in shape[1:]] for shape in shapes if shape is not None]


def _chain(data: Mapping[str, Any], layers: list[dict[str, Any]]) -> Graph:
    batch = int(data.get("batch_size", 1))
    dtype = str(data.get("dtype", "float32")).removeprefix("torch.")
    width = np.dtype(dtype).itemsize
    tensors: dict[str, Tensor] = {}

    def boundary(after: int, shapes: list[list[int]]) -> tuple[str, ...]:
        names = tuple(f"layer_{after}_out_{position}" for position in range(len(shapes)))
        for name, shape in zip(names, shapes, strict=True):
            tensors[name] = Tensor(name, dtype, (batch, *shape), batch * prod(shape) * width)
        return names

    bounds = [boundary(0, layers[0]["shape_in"]), *(boundary(i, layer["shape_out"]) for i, layer in enumerate(layers, 1))]
    parameters = {f"memory_{i}": int(max(layer["memory"], 0) * MEGABYTE) for i, layer in enumerate(layers, 1)}
    nodes = [
        Node(f"layer_{i}", "Layer", (*bounds[i - 1], f"memory_{i}"), bounds[i], domain="pipeedge")
        for i in range(1, len(bounds))
    ]
    return Graph(
        name=str(data.get("model_name", "model")),
        nodes=tuple(nodes),
        inputs=bounds[0],
        outputs=bounds[-1],
        tensors=tensors,
        parameters={name: Tensor(name, "uint8", (nbytes,), nbytes) for name, nbytes in parameters.items()},
    )
