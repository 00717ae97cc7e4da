"""`multiedge generate`: text from a language model, token by token."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
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
    if args.json:
        print(json.dumps(figures(generation), indent=1))
    else:
        print(flush=True)
        print(summary(generation), file=sys.stderr)
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
    )


def stages(args: argparse.Namespace) -> TextModel:
    """The model that the stages of a plan compute."""
    _refuse_given(args, ("state", "backend", "threads"), "which is a plan: it states that itself")
    fleet = read_fleet(args.devices) if args.devices else None
    return open_text_plan(args.place, fleet, args.executor or DEFAULT_EXECUTOR, tokenizer=args.tokenizer)


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
    }


def summary(generation: Generation) -> str:
    """One line: how many tokens, and how fast they came."""
    counts = f"{counted(generation.prompt_tokens, 'token')} in, {len(generation.tokens)} out"
    first, each = generation.time_to_first_token_s, generation.time_per_output_token_s
    times = [f"first after {human(first, 's')}"] if first is not None else []
    times += [f"then {human(each, 's')} each"] if each is not None else []
    return f"{counts}: {', '.join(times)}" if times else counts
