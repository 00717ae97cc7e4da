"""What steps of a sequence cost on a plan, and what a text takes that is made of such steps.

A text is a step of all tokens of its prompt, then steps of one token each. Costs are known at a few sizes of a step. Between
them, that of one more token is taken as linear in the context, since only attention and the states depend on it; that of a
prompt as a power of its length, since it lies between constant (weights are read once) and quadratic (attention).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, order=True)
class StepSize:
    """The size of a step: `tokens` of it, the last ones of `context` tokens of the sequence."""

    tokens: int
    context: int

    @property
    def is_prompt(self) -> bool:
        """Whether nothing is before it."""
        return self.tokens == self.context


@dataclass(frozen=True)
class StepCost:
    """Expected cost of a step.

    Attributes:
        size: Its size.
        latency_s: Time of the step alone in an idle pipeline, from the end of the one before.
        interval_s: Time of the step on what is busiest: a device, a link or the caller.
        full_latency_s: Time of the step in a full pipeline, without waiting for others: less than alone, since processors that
            never rest are faster.
    """

    size: StepSize
    latency_s: float
    interval_s: float
    full_latency_s: float

    @property
    def times_s(self) -> tuple[float, float, float]:
        """`latency_s`, `interval_s` and `full_latency_s`."""
        return self.latency_s, self.interval_s, self.full_latency_s

    def time_s(self, sequences: int) -> float:
        """The time of a step while so many sequences each have one under way: that of all of them on what is busiest, if this
        is longer than the step alone."""
        return self.latency_s if sequences == 1 else max(self.full_latency_s, sequences * self.interval_s)


@dataclass(frozen=True)
class TextCost:
    """What a text is expected to take.

    Attributes:
        time_to_first_token_s: From the prompt to the first token; the mean of texts that begin at the same time. None if the
            cost of such a prompt is not known.
        time_per_output_token_s: Mean time from one token to the next; None for less than two tokens, or if it is not known.
        tokens_per_s: Tokens of all texts per second, prompts included; None if one of the above is not known.
    """

    time_to_first_token_s: float | None
    time_per_output_token_s: float | None
    tokens_per_s: float | None


def step_sizes(context: int, prompt: int) -> tuple[StepSize, ...]:
    """Sizes at which the costs of steps say what a text takes.

    Args:
        context: The most tokens of a sequence.
        prompt: The most tokens of a prompt.

    Returns:
        Steps of one token at the beginning and at the end of the context; and prompts of 4, 16, 64 and 256 tokens, further ones
        of twice as many each, and the longest one.
    """
    lengths = {4**power for power in range(1, 5)} | {2**power for power in range(8, 32)} | {prompt}
    prompts = (StepSize(length, length) for length in lengths if length <= prompt)
    return tuple(sorted({StepSize(1, 1), StepSize(1, context), *prompts}))


def text_cost(costs: Sequence[StepCost], prompt: int, tokens: int, sequences: int = 1) -> TextCost:
    """What texts take whose prompts have so many tokens.

    Args:
        costs: What steps cost.
        prompt: Tokens of each prompt.
        tokens: How many are made after each.
        sequences: How many texts are made at the same time.

    Returns:
        The TextCost.
    """
    first, each = prompt_cost(costs, prompt), token_cost(costs, prompt + tokens / 2) if tokens > 1 else None
    first_s = None if first is None else first.latency_s + first.interval_s * (sequences - 1) / 2
    each_s = None if each is None else each.time_s(sequences)
    if first is None or (tokens > 1 and each is None):
        return TextCost(first_s, each_s, None)
    all_s = first.time_s(sequences) + (tokens - 1) * (each_s or 0.0)
    return TextCost(first_s, each_s, sequences * tokens / all_s)


def token_cost(costs: Sequence[StepCost], context: float) -> StepCost | None:
    """The cost of one more token; None if that is not known at such a context."""
    known = sorted((cost for cost in costs if cost.size.tokens == 1), key=lambda cost: cost.size)
    return _between(known, context, is_power=False)


def prompt_cost(costs: Sequence[StepCost], tokens: int) -> StepCost | None:
    """The cost of a prompt; None if that is not known at such a length."""
    known = sorted((cost for cost in costs if cost.size.is_prompt), key=lambda cost: cost.size)
    return _between(known, tokens, is_power=True)


def _between(known: Sequence[StepCost], context: float, *, is_power: bool) -> StepCost | None:
    for cost in known:
        if cost.size.context == context:
            return cost
    for before, after in pairwise(known):
        low, high = before.size.context, after.size.context
        if low < context < high:
            share = math.log(context / low) / math.log(high / low) if is_power else (context - low) / (high - low)
            size = StepSize(round(context) if is_power else 1, round(context))
            pairs = zip(before.times_s, after.times_s, strict=True)
            return StepCost(size, *(_at(share, *pair, is_power=is_power) for pair in pairs))
    return None


def _at(share: float, low: float, high: float, *, is_power: bool) -> float:
    if is_power and low > 0 and high > 0:
        return math.exp(math.log(low) + share * math.log(high / low))
    return low + share * (high - low)
