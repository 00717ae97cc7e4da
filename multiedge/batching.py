"""The batch of a plan: a model whose first dimension is open is planned for several batches, and the best one is taken.

An item of a plan with a batch of b holds b samples: costs, messages and memory are those of the whole item. What the samples
of an item have in common, such as reading the weights, is paid once for all; in return each waits for the whole item.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from multiedge.errors import ConfigError, InfeasibleError
from multiedge.graph import Graph
from multiedge.plan import Plan
from multiedge.profile import Profile

BATCHES = (1, 2, 4, 8)
"""Those that are tried where none is stated."""


@dataclass(frozen=True)
class Planned:
    """A model with the sizes of a batch, what it costs, and its plan."""

    graph: Graph
    profile: Profile
    plan: Plan


@dataclass(frozen=True)
class Arrivals:
    """How samples come: `rate_per_s` (None: all are there), and how long one may take at most, None for any time."""

    rate_per_s: float | None = None
    max_latency_s: float | None = None

    def __post_init__(self) -> None:
        if self.rate_per_s is not None and not 0 < self.rate_per_s < math.inf:
            raise ConfigError(f"--rate: expected samples per second, more than zero, got {self.rate_per_s:g}")

    def fill_s(self, batch: int) -> float:
        """Seconds for which the first sample of an item waits for the last."""
        return 0.0 if self.rate_per_s is None else (batch - 1) / self.rate_per_s

    def options(self, batch: int) -> dict[str, Any]:
        """What a strategy must keep so that samples are answered in time; InfeasibleError if waiting alone takes too long."""
        if self.max_latency_s is None:
            return {}
        left_s = self.max_latency_s - self.fill_s(batch)
        if batch > 1 and left_s <= 0:
            raise InfeasibleError(f"to wait for {batch} samples takes {self.fill_s(batch) * 1e3:.6g} ms alone")
        return {"max_latency_s": left_s}

    def check(self, plan: Plan) -> None:
        """InfeasibleError if samples come faster than the plan answers them: the queue would grow without end."""
        if self.rate_per_s is not None and samples_per_s(plan) < self.rate_per_s:
            raise InfeasibleError(f"{samples_per_s(plan):.4g} samples/s are fewer than the {self.rate_per_s:.4g} that come")


@dataclass(frozen=True)
class Tried:
    """What a batch gave: a plan, or `failure`, the reason why there is none. `latency_s` includes the wait for a full batch."""

    batch: int
    planned: Planned | None = None
    latency_s: float = 0.0
    failure: str = ""


def batch_shapes(
    declared: Graph, sized: Graph, given: Mapping[str, Sequence[int]] | None, batch: int
) -> dict[str, Sequence[int]]:
    """The shapes of the inputs for a batch.

    Args:
        declared: The model as read without shapes.
        sized: The model as read with the given ones.
        given: Shapes of inputs, by name.
        batch: Samples in an item.

    Returns:
        The given shapes, and those of the inputs whose first dimension the model leaves open.

    Raises:
        ConfigError: If no first dimension is open, or a given shape has one of its own.
    """
    if not declared.free_batch:
        raise ConfigError(f"--batch: the first dimension of each input of {declared.name} is fixed; leave --batch out")
    shapes = dict(given or {})
    for name in declared.free_batch:
        if name in shapes and shapes[name][0] != 1:
            raise ConfigError(f"--batch: --shape gives '{name}' a first dimension of {shapes[name][0]}; give 1, or no --batch")
        if name in sized.input_shapes:
            shapes[name] = (batch, *sized.input_shapes[name][1:])
    return shapes


def try_batches(batches: Sequence[int], arrivals: Arrivals, plan: Callable[[int, dict[str, Any]], Planned]) -> list[Tried]:
    """Each batch with its plan; `plan` gets the batch and the options that the arrivals ask for.

    Raises InfeasibleError if there is no plan for any.
    """
    tried: list[Tried] = []
    for batch in batches:
        try:
            planned = plan(batch, arrivals.options(batch))
            planned = replace(planned, plan=replace(planned.plan, batch=batch))
            arrivals.check(planned.plan)
        except InfeasibleError as error:
            tried.append(Tried(batch, failure=str(error)))
        else:
            tried.append(Tried(batch, planned, planned.plan.estimate.latency_s + arrivals.fill_s(batch)))
    if not any(each.planned for each in tried):
        raise InfeasibleError("; ".join(f"batch {each.batch}: {each.failure}" for each in tried))
    return tried


def best(tried: Sequence[Tried]) -> Planned:
    """The plan of the least value per sample; of equal ones that of the smallest batch."""
    return min((each.planned for each in tried if each.planned), key=lambda planned: value_per_sample(planned.plan))


def value_per_sample(plan: Plan) -> float:
    """The objective for one sample: seconds or joules are shared by the samples of an item, latency is that of each."""
    return plan.value if plan.objective == "latency" else plan.value / plan.batch


def samples_per_s(plan: Plan) -> float:
    """The most samples per second."""
    return plan.estimate.fps_bound * plan.batch
