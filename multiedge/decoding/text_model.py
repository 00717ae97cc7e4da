"""A language model with its tokenizer: prompts in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from multiedge.decoding.contract import StepModel, Tokens
from multiedge.decoding.drafting import NO_PROPOSALS, Proposals
from multiedge.decoding.generation import Generation, Limits, Piece, generate
from multiedge.decoding.sampling import Sampling
from multiedge.decoding.tokenizer import TextTokenizer, read_tokenizer
from multiedge.defaults import DEFAULT_DRAFT_TOKENS, DEFAULT_EXECUTOR
from multiedge.errors import ConfigError
from multiedge.fleet import REFERENCE_BACKEND, Fleet
from multiedge.graph import Graph
from multiedge.plan import Manifest
from multiedge.step_costs import StepCost, TextCost, text_cost


class TextModel:
    """A model and its tokenizer; a context manager that closes the model.

    Args:
        model: What makes the tokens.
        tokenizer: The model's.
        steps: What steps are expected to cost, where a plan states it.
        proposals: What proposes tokens; closed with the model.
    """

    def __init__(
        self,
        model: StepModel,
        tokenizer: TextTokenizer,
        steps: Sequence[StepCost] = (),
        proposals: Proposals = NO_PROPOSALS,
    ) -> None:
        self.model, self.tokenizer, self._steps, self._proposals = model, tokenizer, tuple(steps), proposals

    def generate(self, prompt: str | Tokens, sampling: Sampling | None = None, limits: Limits | None = None) -> Iterator[Piece]:
        """The text that follows a prompt, given as text or as tokens (n,), a piece per token as it comes.

        See `multiedge.decoding.generation.generate`.
        """
        return generate(self.model, self.tokenizer, self.tokens_of(prompt), sampling, limits, proposals=self._proposals)

    def complete(self, prompt: str | Tokens, sampling: Sampling | None = None, limits: Limits | None = None) -> Generation:
        """The same as one value, once it has ended."""
        tokens = self.tokens_of(prompt)
        return Generation.of(tokens.size, self.generate(tokens, sampling, limits))

    def expected(self, generation: Generation) -> TextCost:
        """What a text of so many tokens was expected to take; figures that the plan does not state are None, as all are where
        tokens were proposed."""
        return text_cost(() if generation.proposed else self._steps, generation.prompt_tokens, len(generation.tokens))

    def tokens_of(self, prompt: str | Tokens) -> Tokens:
        """The tokens of a prompt, (n,)."""
        return self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt

    def close(self) -> None:
        self._proposals.close()
        self.model.close()

    def __enter__(self) -> TextModel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_text_model(
    path: str | Path,
    *,
    tokenizer: str | Path | None = None,
    states: Iterable[tuple[str, str]] = (),
    backend: str = REFERENCE_BACKEND,
    threads: int = 1,
    draft: str | Path | None = None,
    draft_tokens: int | None = None,
) -> TextModel:
    """The language model of an ONNX file, computed in this process, with the tokenizer beside it.

    Args:
        path: The file.
        tokenizer: A `tokenizer.json` elsewhere.
        states: States by the names of their input and output; those of optimum and onnxruntime-genai need none.
        backend: What computes it.
        threads: Of the backend.
        draft: A small ONNX decoder of the same tokens, which proposes some for each step.
        draft_tokens: How many; DEFAULT_DRAFT_TOKENS unless stated otherwise.

    Returns:
        The model, which is closed at the end of a `with` block.

    Raises:
        ConfigError: If there is no tokenizer, or the draft cannot be one of this model.
        ModelError: If model or tokenizer cannot be opened.
        MissingDependencyError: Without the package `tokenizers`.
    """
    from multiedge.decoding.opening import open_whole
    from multiedge.onnx_io.reader import declared_graph

    text, pairs = read_tokenizer(Path(path), Path(tokenizer) if tokenizer else None), tuple(states)
    with ExitStack() as opened:
        proposals = _proposals(draft, draft_tokens, declared_graph(path, pairs), text)
        opened.callback(proposals.close)
        model = TextModel(open_whole(path, pairs, backend=backend, threads=threads), text, proposals=proposals)
        opened.pop_all()
    return model


def open_text_plan(
    plan: str | Path | Manifest,
    fleet: Fleet | None = None,
    executor: str = DEFAULT_EXECUTOR,
    *,
    tokenizer: str | Path | None = None,
    draft: str | Path | None = None,
    draft_tokens: int | None = None,
    **options: Any,
) -> TextModel:
    """The language model that the stages of a plan compute, with the tokenizer beside the whole model.

    Args:
        plan: A plan folder or its manifest.
        fleet: The devices; by default every device is this machine with one thread, and links cost nothing.
        executor: Name of an executor.
        tokenizer: A `tokenizer.json` elsewhere.
        draft: A small ONNX decoder of the same tokens, computed in this process, which proposes some for each step.
        draft_tokens: How many; DEFAULT_DRAFT_TOKENS unless stated otherwise.
        **options: Of the executor.

    Returns:
        The model, which is to be used from one thread and closed at the end of a `with` block.

    Raises:
        ConfigError: If there is no tokenizer, no such executor or option, or the draft cannot be one of this model.
        ModelError: If it is no language model, or the tokenizer cannot be read.
        PipelineError: If a stage cannot start.
        MissingDependencyError: Without the package `tokenizers`.
    """
    from multiedge.decoding.opening import open_stages
    from multiedge.onnx_io import read_runnable
    from multiedge.onnx_io.reader import declared_graph

    manifest = plan if isinstance(plan, Manifest) else read_runnable(plan)
    text = read_tokenizer(Path(manifest.model), Path(tokenizer) if tokenizer else None)
    steps = manifest.plan.steps if manifest.plan and fleet else ()  # on other devices they do not hold
    with ExitStack() as opened:
        proposals = _proposals(draft, draft_tokens, declared_graph(manifest.model, manifest.state_pairs), text)
        opened.callback(proposals.close)
        model = TextModel(open_stages(manifest, fleet, executor, **options), text, steps, proposals)
        opened.pop_all()
    return model


def _proposals(draft: str | Path | None, tokens: int | None, graph: Graph, tokenizer: TextTokenizer) -> Proposals:
    """What proposes tokens for a model."""
    from multiedge.decoding.opening import open_draft

    if draft is not None:
        return open_draft(draft, DEFAULT_DRAFT_TOKENS if tokens is None else tokens, graph, tokenizer)
    if tokens is not None:
        raise ConfigError("draft_tokens: has no effect without a draft, which proposes them; name one, or leave it out")
    return NO_PROPOSALS
