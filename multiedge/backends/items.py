"""Batches for runtimes that compute one item at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from multiedge.backends.contract import Array
from multiedge.errors import ModelError

RunItem = Callable[[dict[str, Array]], dict[str, Array]]


def run_items(run: RunItem, feed: Mapping[str, Array]) -> dict[str, Array]:
    """What `run` makes of each item, joined along the first axis, along which the inputs are split.

    ModelError if the inputs do not have the same number of items, or have none.
    """
    counts = {len(array) if array.ndim else 0 for array in feed.values()}
    if len(counts) != 1 or counts == {0}:
        raise ModelError(f"expected the same number of items in each input, and one at least, got {sorted(counts)}")
    made = [run({name: array[place : place + 1] for name, array in feed.items()}) for place in range(counts.pop())]
    return made[0] if len(made) == 1 else {name: np.concatenate([item[name] for item in made]) for name in made[0]}
