"""Several texts at the same time, so that every stage of a pipeline has work."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from multiedge.decoding.contract import Tokens
from multiedge.decoding.drafting import NO_PROPOSALS, Proposals
from multiedge.decoding.generation import Finish, Generation, Piece, Turns
from multiedge.decoding.sampling import Sampling
from multiedge.decoding.stepped import SteppedModel
from multiedge.errors import require_least
from multiedge.executors.flow.pipeline import Pipeline
from multiedge.measurements import Measurements


def generate_together(
    pipeline: Pipeline,
    model: SteppedModel,
    prompts: Sequence[Tokens],
    tokens: int,
    sampling: Sampling | None = None,
    in_flight: int | None = None,
    clock: Callable[[], float] = time.monotonic,
    proposals: Proposals = NO_PROPOSALS,
) -> tuple[list[Generation], Measurements]:
    """Makes the same number of tokens after each prompt, several prompts at the same time.

    Args:
        pipeline: Where steps are computed; nothing of it is under way.
        model: Its language model.
        prompts: Tokens of each prompt, (n,).
        tokens: How many are made after each; tokens that end texts do not.
        sampling: How tokens are chosen; the most likely ones unless stated otherwise.
        in_flight: How many sequences are open at the same time; by default as many as have their states kept.
        clock: Seconds.
        proposals: What proposes tokens; so many sequences of it are open, too.

    Returns:
        What was made after each prompt, without text, and the measurements, whose items are the steps.

    Raises:
        ConfigError: For a number out of its range.
        StageError: For a step that failed again and again.
    """
    require_least("tokens", tokens, 1)
    count = model.most if in_flight is None else in_flight
    require_least("in_flight", count, 1)
    waiting, made = deque(enumerate(prompts)), {}

    def follow() -> Generator[Any, Any, None]:
        while waiting:
            number, prompt = waiting.popleft()
            begin_s, pieces = clock(), list[Piece]()
            with closing(model.open()) as sequence, closing(proposals.open()) as proposer:
                turns = Turns(prompt[None], sampling or Sampling(), tokens, proposer)
                while turns.left:
                    given = turns.next()
                    logits = yield from sequence.exchange(given, 1 + turns.proposed)
                    for token in turns.take(logits):
                        pieces.append(Piece("", int(token[0]), clock() - begin_s, None, turns.step, turns.proposed))
                    sequence.cut(turns.length)
            made[number] = replace(Generation.of(prompt.size, pieces), finish=Finish.LENGTH)

    measurements = pipeline.follow(follow() for _ in range(min(count, len(prompts))))
    return [made[number] for number in range(len(prompts))], measurements
