"""Sizes that depend on the data, measured: NonZero, NonMaxSuppression, a TopK whose k is computed, sequences, texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from multiedge.backends.stages import load_backend, open_part
from multiedge.files import temporary_folder
from multiedge.fleet import REFERENCE_BACKEND
from multiedge.graph import Graph, Tensor
from multiedge.onnx_io import write_parts
from multiedge.onnx_io.inputs import random_feed
from multiedge.plan import CALLER, Stage, Transfer, unestimated_plan


def measure_sizes(graph: Graph, *, backend: str = REFERENCE_BACKEND, seed: int = 0) -> Graph:
    """A model whose sizes are all known, by one run on random inputs where the file does not tell them.

    Args:
        graph: The model, read from a file; the shapes of its inputs are known.
        backend: Name of the runtime.
        seed: Of the inputs.

    Returns:
        The Graph; sizes that were known stay as they are.

    Raises:
        UnknownSizeError: If the shape of an input is not known.
        ModelError: If the model cannot run.
    """
    graph.require_inputs()
    if not graph.unsized:
        return graph
    values: dict[str, Any] = dict(random_feed(graph, seed))
    made = tuple(name for name in graph.unsized if name in graph.producer and name not in graph.parameters)
    if made:
        stages = (Stage.span("whole", 0, len(graph.nodes)),)
        plan = unestimated_plan("sizes", graph, stages)
        plan = replace(plan, transfers=(*plan.transfers, Transfer(0, CALLER, made, None)))
        with temporary_folder("sizes-") as folder:
            part = write_parts(graph, plan, folder).parts[0]
            session = open_part(load_backend(backend), folder / part.file, keep=folder)
            values.update(session.run(values))
            session.close()
    measured = {name: _measured(graph.tensors[name], values[name]) for name in graph.unsized if name in values}
    return replace(graph, tensors={**graph.tensors, **measured}, measured_sizes=(*graph.measured_sizes, *measured))


def _measured(tensor: Tensor, value: Any) -> Tensor:
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return replace(tensor, dtype=tensor.dtype or value.dtype.name, shape=value.shape, nbytes=value.nbytes)
    shape = value.shape if isinstance(value, np.ndarray) else tensor.shape
    return replace(tensor, shape=shape, nbytes=_nbytes(value))


def _nbytes(value: Any) -> int:
    """Bytes of texts, numbers, and lists and mappings of them."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.nbytes
    if isinstance(value, np.ndarray):
        return sum(map(_nbytes, value.ravel().tolist()))
    if isinstance(value, dict):
        return sum(_nbytes(key) + _nbytes(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_nbytes, value))
    return len(str(value).encode()) if isinstance(value, str | bytes) else np.asarray(value).nbytes
