"""A language model with its tokenizer: prompts in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from multiedge.decoding.contract import StepModel, Tokens
from multiedge.decoding.generation import Generation, Limits, Piece, generate
from multiedge.decoding.sampling import Sampling
from multiedge.decoding.tokenizer import TextTokenizer, read_tokenizer
from multiedge.defaults import DEFAULT_EXECUTOR
from multiedge.fleet import REFERENCE_BACKEND, Fleet
from multiedge.plan import Manifest


class TextModel:
    """A model and its tokenizer; a context manager that closes the model."""

    def __init__(self, model: StepModel, tokenizer: TextTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    def generate(self, prompt: str | Tokens, sampling: Sampling | None = None, limits: Limits | None = None) -> Iterator[Piece]:
        """The text that follows a prompt, given as text or as tokens (n,), a piece per token as it comes.

        See `multiedge.decoding.generation.generate`.
        """
        return generate(self.model, self.tokenizer, self.tokens_of(prompt), sampling, limits)

    def complete(self, prompt: str | Tokens, sampling: Sampling | None = None, limits: Limits | None = None) -> Generation:
        """The same as one value, once it has ended."""
        tokens = self.tokens_of(prompt)
        return Generation.of(tokens.size, self.generate(tokens, sampling, limits))

    def tokens_of(self, prompt: str | Tokens) -> Tokens:
        """The tokens of a prompt, (n,)."""
        return self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt

    def close(self) -> None:
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
) -> TextModel:
    """The language model of an ONNX file, computed in this process, with the tokenizer beside it.

    Args:
        path: The file.
        tokenizer: A `tokenizer.json` elsewhere.
        states: States by the names of their input and output; those of optimum and onnxruntime-genai need none.
        backend: What computes it.
        threads: Of the backend.

    Returns:
        The model, which is closed at the end of a `with` block.

    Raises:
        ConfigError: If there is no tokenizer.
        ModelError: If model or tokenizer cannot be opened.
        MissingDependencyError: Without the package `tokenizers`.
    """
    from multiedge.decoding.opening import open_whole

    text = read_tokenizer(Path(path), Path(tokenizer) if tokenizer else None)
    return TextModel(open_whole(path, tuple(states), backend=backend, threads=threads), text)


def open_text_plan(
    plan: str | Path | Manifest,
    fleet: Fleet | None = None,
    executor: str = DEFAULT_EXECUTOR,
    *,
    tokenizer: str | Path | None = None,
    **options: Any,
) -> TextModel:
    """The language model that the stages of a plan compute, with the tokenizer beside the whole model.

    Args:
        plan: A plan folder or its manifest.
        fleet: The devices; by default every device is this machine with one thread, and links cost nothing.
        executor: Name of an executor.
        tokenizer: A `tokenizer.json` elsewhere.
        **options: Of the executor.

    Returns:
        The model, which is to be used from one thread and closed at the end of a `with` block.

    Raises:
        ConfigError: If there is no tokenizer, or no such executor or option.
        ModelError: If it is no language model, or the tokenizer cannot be read.
        PipelineError: If a stage cannot start.
        MissingDependencyError: Without the package `tokenizers`.
    """
    from multiedge.decoding.opening import open_stages
    from multiedge.onnx_io import read_runnable

    manifest = plan if isinstance(plan, Manifest) else read_runnable(plan)
    text = read_tokenizer(Path(manifest.model), Path(tokenizer) if tokenizer else None)
    return TextModel(open_stages(manifest, fleet, executor, **options), text)
