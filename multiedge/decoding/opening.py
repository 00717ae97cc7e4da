"""Language models that are computed: a whole model in this process, or the stages of a plan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from multiedge.backends.contract import Session
from multiedge.backends.stages import load_backend, open_part, stateful
from multiedge.decoding.inputs import step_signature
from multiedge.decoding.stepped import Item, SteppedModel
from multiedge.executors.flow.drive import WAIT_S
from multiedge.executors.flow.pipeline import Pipeline, open_pipeline
from multiedge.fleet import REFERENCE_BACKEND, Device, Fleet
from multiedge.onnx_io import read_runnable
from multiedge.onnx_io.reader import declared_graph
from multiedge.onnx_io.states import Pair
from multiedge.plan import Manifest

PathLike = str | os.PathLike[str]


def open_whole(
    path: PathLike, states: Sequence[Pair] = (), *, backend: str = REFERENCE_BACKEND, threads: int = 1, sequences: int = 1
) -> SteppedModel:
    """The language model of an ONNX file, computed in this process.

    Args:
        path: The file.
        states: States by the names of their input and output; those of optimum and onnxruntime-genai need none.
        backend: What computes it.
        threads: Of the backend.
        sequences: How many sequences may be open at the same time.

    Returns:
        The model.

    Raises:
        ModelError: If it is no language model, or cannot be opened.
    """
    step_signature(declared_graph(path, states))  # refused before weights are read
    device = Device("local", threads=threads, backend=backend)
    return stepped(open_part(load_backend(backend), Path(path), device), path, states, sequences)


def stepped(session: Session, path: PathLike, states: Sequence[Pair] = (), sequences: int = 1) -> SteppedModel:
    """The same with an open session of the file, which `close` closes."""
    graph = declared_graph(path, states)
    keeping = stateful(session, graph.states, graph.extended, sequences)
    return SteppedModel(keeping.run, step_signature(graph), sequences, str(path), keeping.close)


def open_stages(
    plan: PathLike | Manifest, fleet: Fleet | None = None, executor: str = "inline", **options: Any
) -> SteppedModel:
    """The language model that the stages of a plan compute together.

    Args:
        plan: A plan folder or its manifest.
        fleet: The devices; by default every device is this machine with one thread, and links cost nothing.
        executor: Name of an executor; options are its own.

    Returns:
        The model, which may be used from one thread.

    Raises:
        ConfigError: If there is no such executor or option.
        ModelError: If it is no language model.
        PipelineError: If a stage cannot start.
    """
    manifest = plan if isinstance(plan, Manifest) else read_runnable(plan)
    step_signature(declared_graph(manifest.model, manifest.state_pairs))  # refused before workers start
    return model_of(open_pipeline(manifest, fleet, executor, warmup_items=0, **options), manifest)


def model_of(pipeline: Pipeline, manifest: Manifest) -> SteppedModel:
    """The same with an open pipeline of the plan, which `close` closes."""
    signature = step_signature(declared_graph(manifest.model, manifest.state_pairs))
    sequences = min((part.sequences for part in manifest.parts if part.states), default=1)
    return SteppedModel(OneByOne(pipeline), signature, sequences, manifest.directory, pipeline.close)


class OneByOne:
    """Runs the items of one thread through a pipeline, each once the one before is answered."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._executor, self._numbers = pipeline.executor, count()

    def __call__(self, item: Item) -> Item:
        self._executor.submit(next(self._numbers), item)
        while True:
            for result in self._executor.poll(WAIT_S):
                return result.require()
