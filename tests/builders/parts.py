"""Plans without estimates, for tests that are about parts and not about devices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx

from multiedge.graph import Graph
from multiedge.onnx_io import read_graph, write_parts
from multiedge.plan import (
    Estimate,
    Manifest,
    Plan,
    Stage,
    StageEstimate,
    Transfer,
    direct_transfers,
    relay_transfers,
    require,
)

NOTHING = StageEstimate(0.0, 0.0, 0, 0, 0.0)
LARGE = 1_000_000
"""Weights with more rows times columns differ by row only, so that a model of a hundred MB stays a small file."""


def plan_of(graph: Graph, node_sets: Sequence[Sequence[int]], *, relay: bool = False) -> Plan:
    """A plan with one stage per set of nodes, on devices 'device_0', 'device_1', ..."""
    stages = tuple(Stage(f"device_{number}", tuple(nodes)) for number, nodes in enumerate(node_sets))
    transfers = _relay(graph, stages) if relay else direct_transfers(graph, stages)
    estimate = Estimate((NOTHING,) * len(stages), 0.0, "", 0.0, None, 0)
    return Plan("test", "throughput", stages, transfers, estimate, 0.0, model_hash=graph.model_hash)


def _relay(graph: Graph, stages: Sequence[Stage]) -> tuple[Transfer, ...]:
    return relay_transfers(graph, stages, [cut.nbytes or 0 for cut in graph.cuts])


def spans(count: int, boundaries: Sequence[int]) -> list[range]:
    """[0, count) cut at the boundaries."""
    ends = [0, *boundaries, count]
    return [range(start, stop) for start, stop in pairwise(ends)]


def random_boundaries(count: int, parts: int, generator: np.random.Generator) -> list[int]:
    """`parts` - 1 different places, or as many as there are, between 1 and `count` - 1."""
    return sorted(int(place) + 1 for place in generator.choice(count - 1, min(parts, count) - 1, replace=False))


def split_at(path: Path, boundaries: Sequence[int], directory: Path, **options: bool) -> Manifest:
    """Parts of the model in `path`, cut at these boundaries of its order."""
    relay = options.pop("relay", False)
    graph = read_graph(path)
    require([f"boundary {place} is outside the model" for place in boundaries if not 0 < place < len(graph.nodes)])
    return write_parts(graph, plan_of(graph, spans(len(graph.nodes), boundaries), relay=relay), directory, **options)


def with_random_weights(source: Path, target: Path, seed: int = 0) -> Path:
    """The model at `source` with its weights of one value (ConstantOfShape) made different from each other, in the same
    number of nodes: with constant weights every output is the same whatever the input, and comparing proves nothing."""
    model = onnx.load(source)
    shapes = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    generator = np.random.default_rng(seed)
    for number, node in enumerate(model.graph.node):
        if node.op_type == "ConstantOfShape" and node.input[0] in shapes:
            shape = shapes[node.input[0]]
            varied = 2 if np.prod(shape[:2]) < LARGE else 1
            rows = np.where(np.arange(len(shape)) < varied, shape, 1)
            # Activations keep their size: what is varied adds up as its root, what is alike as a whole.
            alike, unlike = np.prod(shape[varied:]), np.prod(shape[1:varied])
            spread = generator.normal(0.0, np.sqrt(1.0 / unlike) / alike, rows)
            values = spread if len(shape) > 1 else 0.5 + generator.random(rows)
            name = f"random_{number}"
            model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
            node.op_type = "Expand"
            node.input[:] = [name, node.input[0]]
            del node.attribute[:]
    onnx.save(model, target)
    return target
