"""Several texts at the same time, so that every stage of a pipeline has work."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any

from multiedge.decoding.contract import Tokens
from multiedge.decoding.generation import Finish, Generation
from multiedge.decoding.sampling import Sampler, Sampling
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
            sampler, begin_s = Sampler(sampling or Sampling()), clock()
            given = prompt[None]
            got: list[int] = []
            times_s: list[float] = []
            with closing(model.open()) as sequence:
                while len(got) < tokens:
                    logits = yield from sequence.exchange(given)
                    given = sampler.choose(logits[:, -1])[:, None]
                    got.append(int(given[0, 0]))
                    times_s.append(clock() - begin_s)
            made[number] = Generation(prompt.size, tuple(got), "", Finish.LENGTH, tuple(times_s))

    measurements = pipeline.follow(follow() for _ in range(min(count, len(prompts))))
    return [made[number] for number in range(len(prompts))], measurements
