"""`multiedge generate`: text from a language model, token by token."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from multiedge.commands._terminal import print_plain
from multiedge.decoding.contract import Tokens
from multiedge.decoding.generation import Generation, Limits, Piece
from multiedge.decoding.sampling import Sampling
from multiedge.decoding.text_model import TextModel, open_text_model, open_text_plan
from multiedge.defaults import DEFAULT_EXECUTOR
from multiedge.errors import ConfigError, require_least
from multiedge.fleet import REFERENCE_BACKEND
from multiedge.formats.devices import read_fleet
from multiedge.onnx_io.states import parse_pairs
from multiedge.quantity import counted
from multiedge.report.units import human
from multiedge.step_costs import TextCost

FROM_STDIN = "-"


def run(args: argparse.Namespace) -> int:
    """Prints the text as it comes; its figures go to stderr."""
    sampling = Sampling(args.temperature, args.top_k, args.top_p, args.seed or 0)
    if args.seed is not None and sampling.is_greedy:
        raise ConfigError("--seed: has no effect at temperature 0, which takes the most likely token; add --temperature")
    limits = Limits(args.max_tokens, tuple(args.stop), args.ignore_end)
    text = sys.stdin.read() if args.prompt == FROM_STDIN else args.prompt
    with (stages if Path(args.place).is_dir() else whole_model)(args) as model:
        prompt = prompt_tokens(model, text, args.chat)
        pieces = model.generate(prompt, sampling, limits)
        generation = Generation.of(prompt.size, pieces if args.json else printed(pieces))
        expected = model.expected(generation)
    if args.json:
        print(json.dumps({**figures(generation), "expected": asdict(expected)}, indent=1))
    else:
        print(flush=True)
        print(summary(generation, expected), file=sys.stderr)
    return 0


def whole_model(args: argparse.Namespace) -> TextModel:
    """The model in a file."""
    _refuse_given(args, ("devices", "executor"), "which is a model and no plan")
    threads = 1 if args.threads is None else args.threads
    require_least("--threads", threads, 1)
    return open_text_model(
        args.place,
        tokenizer=args.tokenizer,
        states=parse_pairs(args.state),
        backend=args.backend or REFERENCE_BACKEND,
        threads=threads,
        draft=args.draft,
        draft_tokens=args.draft_tokens,
    )


def stages(args: argparse.Namespace) -> TextModel:
    """The model that the stages of a plan compute."""
    _refuse_given(args, ("state", "backend", "threads"), "which is a plan: it states that itself")
    fleet = read_fleet(args.devices) if args.devices else None
    return open_text_plan(
        args.place,
        fleet,
        args.executor or DEFAULT_EXECUTOR,
        tokenizer=args.tokenizer,
        draft=args.draft,
        draft_tokens=args.draft_tokens,
    )


def _refuse_given(args: argparse.Namespace, names: Sequence[str], reason: str) -> None:
    """ConfigError for an option that has no effect."""
    for name in names:
        if vars(args)[name]:
            raise ConfigError(f"--{name}: has no effect for {args.place}, {reason}; leave it out")


def prompt_tokens(model: TextModel, text: str, is_chat: bool) -> Tokens:
    """The tokens of a prompt, (n,); those of a conversation with one message if `is_chat`."""
    if is_chat:
        return model.tokenizer.encode_chat([{"role": "user", "content": text}])
    return model.tokens_of(text)


def printed(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The pieces, each printed as it comes."""
    for piece in pieces:
        print_plain(piece.text, end="")
        sys.stdout.flush()
        yield piece


def figures(generation: Generation) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "text": generation.text,
        "finish": generation.finish.value if generation.finish else None,
        "prompt_tokens": generation.prompt_tokens,
        "tokens": generation.tokens,
        "time_to_first_token_s": generation.time_to_first_token_s,
        "time_per_output_token_s": generation.time_per_output_token_s,
        "tokens_per_s": generation.tokens_per_s,
        "times_s": generation.times_s,
        "steps": generation.steps,
        "steps_per_token": generation.steps_per_token,
        "proposed_tokens": generation.proposed,
        "accepted_share": generation.accepted_share,
    }


def summary(generation: Generation, expected: TextCost) -> str:
    """How many tokens, how fast they came, and how fast they were expected to; what a draft has brought."""
    counts = f"{counted(generation.prompt_tokens, 'token')} in, {len(generation.tokens)} out"
    first, each = generation.time_to_first_token_s, generation.time_per_output_token_s
    times = [f"first after {_beside(first, expected.time_to_first_token_s)}"] if first is not None else []
    times += [f"then {_beside(each, expected.time_per_output_token_s)} each"] if each is not None else []
    line = f"{counts}: {', '.join(times)}" if times else counts
    return f"{line}\n{_drafted(generation)}" if generation.proposed else line


def _drafted(generation: Generation) -> str:
    """One line: what a draft has brought."""
    share, steps = 100 * (generation.accepted_share or 0.0), human(generation.steps_per_token, "1")
    accepted = f"{share:.0f} % of {counted(generation.proposed, 'proposed token')} accepted"
    return f"draft: {accepted}, {steps} steps of the model per token, {human(generation.tokens_per_s, '1')} tokens/s"


def _beside(seconds: float, expected_s: float | None) -> str:
    """A time, and the expected one where there is any."""
    return human(seconds, "s") + ("" if expected_s is None else f" (expected {human(expected_s, 's')})")
