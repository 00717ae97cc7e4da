"""Language models that are computed: a whole model in this process, or the stages of a plan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from secrets import randbits
from typing import Any

from multiedge.backends.contract import Session
from multiedge.backends.stages import for_states, load_backend, open_part, stateful
from multiedge.decoding.drafting import Draft
from multiedge.decoding.inputs import StepSignature, step_signature
from multiedge.decoding.stepped import Item, SteppedModel
from multiedge.decoding.tokenizer import TOKENIZER_FILE, TextTokenizer, read_tokenizer
from multiedge.errors import ConfigError, require_least
from multiedge.executors.flow.drive import WAIT_S
from multiedge.executors.flow.pipeline import Pipeline, open_pipeline
from multiedge.fleet import REFERENCE_BACKEND, Device, Fleet
from multiedge.graph import Graph
from multiedge.onnx_io import read_runnable
from multiedge.onnx_io.reader import declared_graph
from multiedge.onnx_io.states import Pair
from multiedge.plan import Manifest

PathLike = str | os.PathLike[str]
NUMBER_BITS = 61
"""Numbers of sequences begin below 2 to this power, which leaves the larger ones of int64 to front ends."""


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
    graph = declared_graph(path, states)
    step_signature(graph)  # refused before weights are read
    device = Device("local", threads=threads, backend=backend)
    return stepped(open_part(for_states(load_backend(backend), graph.states), Path(path), device), path, states, sequences)


def stepped(session: Session, path: PathLike, states: Sequence[Pair] = (), sequences: int = 1) -> SteppedModel:
    """The same with an open session of the file, which `close` closes."""
    graph = declared_graph(path, states)
    keeping = stateful(session, graph.states, graph.extended, sequences, graph.outputs)
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
    first = randbits(NUMBER_BITS)  # servers keep the states of other callers as well
    return SteppedModel(OneByOne(pipeline), signature, sequences, manifest.directory, pipeline.close, first)


def open_draft(path: PathLike, tokens: int, graph: Graph, tokenizer: TextTokenizer, sequences: int = 1) -> Draft:
    """A small model that proposes tokens for another one, computed in this process.

    Args:
        path: Its ONNX file.
        tokens: How many it proposes for a step.
        graph: The other model, with open dimensions as its file declares them.
        tokenizer: That of the other model.
        sequences: How many texts may be made at the same time.

    Returns:
        The draft.

    Raises:
        ConfigError: If it has other tokens, or one of the two models has a state that cannot be cut.
        ModelError: If it is no language model, or cannot be opened.
    """
    own, other = step_signature(declared_graph(path)), step_signature(graph)
    for name, signature in ((str(path), own), (graph.name, other)):
        if signature.no_cut:
            raise ConfigError(f"{name}: {signature.no_cut}: no draft can propose some that may be wrong")
    _require_same_tokens(Path(path), own, other, tokenizer)
    require_least("draft_tokens", tokens, 1)
    return Draft(open_whole(path, sequences=sequences), tokens, other.vocabulary)


def _require_same_tokens(draft: Path, own: StepSignature, other: StepSignature, tokenizer: TextTokenizer) -> None:
    """ConfigError if a draft has other tokens, by its tokenizer, or by their number where it has none."""
    if (draft.parent / TOKENIZER_FILE).is_file():
        if read_tokenizer(draft).raw.get_vocab() != tokenizer.raw.get_vocab():
            raise ConfigError(
                f"{draft}: has other tokens than the model: its {TOKENIZER_FILE} differs; use one of the same family"
            )
    elif own.vocabulary != other.vocabulary:
        raise ConfigError(
            f"{draft}: has logits of {own.vocabulary} tokens and the model of {other.vocabulary}; if both have the same tokens"
            f" all the same, put the draft's {TOKENIZER_FILE} beside it"
        )


class OneByOne:
    """Runs the items of one thread through a pipeline, each once the one before is answered."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._executor, self._numbers = pipeline.executor, count()

    def __call__(self, item: Item) -> Item:
        self._executor.submit(next(self._numbers), item)
        while True:
            for result in self._executor.poll(WAIT_S):
                return result.require()
