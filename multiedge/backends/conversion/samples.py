"""Inputs on which wrong conversions show: usual, large, small and zero values, and sizes that a converter may have mixed up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from multiedge.graph import Graph, Tensor
from multiedge.onnx_io import random_inputs

LARGE = {"float16": 4.0}
"""By how much larger than usual values may be, by precision; 100 for others. Beyond that, products leave the range."""
EXTREME = (1e4, -1e4)
"""Factors of values for which functions of small ranges, such as exponentials, overflow if they are not guarded."""
EQUAL, MOST_EQUAL = 4, 64
"""Size of all open dimensions in the sample of equal ones, where no input has a fixed one of at most MOST_EQUAL: a swapped axis
then gives the right shape with wrong values."""
BATCH = 2


@dataclass(frozen=True)
class Sample:
    """One set of inputs. `is_required` is whether the model must accept it: sizes that a file leaves open may be impossible.

    Of an `is_extreme` one only what is finite is compared: there, the smallest rounding may change a result."""

    name: str
    tensors: Mapping[str, Any]
    is_required: bool = True
    is_extreme: bool = False


def samples_of(graph: Graph, precision: str = "float32", seed: int = 0) -> list[Sample]:
    """Samples for a model whose open dimensions are as the file declares them; the first is of usual values."""
    graph = graph.of_file()
    usual = random_inputs(graph, seed)
    made = [Sample("random", usual), Sample("random, other values", random_inputs(graph, seed + 1))]
    if any(_is_float(value) for value in usual.values()):
        large = LARGE.get(precision, 100.0)
        # With opposite signs, activations that a sample leaves at zero are at work.
        made += [
            Sample(name, _times(usual, factor))
            for name, factor in (
                ("opposite signs", -1.0),
                ("large values", large),
                ("large values of opposite signs", -large),
                ("small values", 1e-3),
                ("zeros", 0.0),
            )
        ]
        if precision not in LARGE:
            made += [Sample(f"extreme values, factor {factor:g}", _times(usual, factor), is_extreme=True) for factor in EXTREME]
    dims = [list(graph.tensors[name].shape or ()) for name in graph.inputs]
    fixed = [dim for each in dims for dim in each if isinstance(dim, int) and 1 < dim <= MOST_EQUAL]
    if any(each and not isinstance(each[0], int) for each in dims):
        made.append(Sample("batch 2", random_inputs(_sized(graph, BATCH, None), seed), is_required=False))
    if any(not isinstance(dim, int) for each in dims for dim in each):
        equal = min(fixed, default=EQUAL)
        made.append(Sample("equal dimensions", random_inputs(_sized(graph, equal, equal), seed), is_required=False))
    return made


def usual_samples(graph: Graph, count: int = 4) -> list[Sample]:
    """Samples of usual values alone: a model of whole numbers has no ranges for others."""
    return [Sample(f"random {number + 1}", random_inputs(graph, number)) for number in range(count)]


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _times(tensors: Mapping[str, Any], factor: float) -> dict[str, Any]:
    return {name: value * value.dtype.type(factor) if _is_float(value) else value for name, value in tensors.items()}


def _sized(graph: Graph, batch: int, length: int | None) -> Graph:
    """The graph with its inputs' open dimensions set: the first to `batch`, the others to `length` if it is given."""
    names: dict[str, int] = {}

    def sized(tensor: Tensor) -> Tensor:
        dims = list(tensor.shape or ())
        for axis, dim in enumerate(dims):
            size = batch if axis == 0 else length
            if not isinstance(dim, int) and size is not None:
                dims[axis] = names.setdefault(dim, size) if dim else size
        return replace(tensor, shape=tuple(dims)) if tensor.shape is not None else tensor

    return replace(graph, tensors={**graph.tensors, **{name: sized(graph.tensors[name]) for name in graph.inputs}})
