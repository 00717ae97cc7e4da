"""Items taken out of a batch, and joined to one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from multiedge.backends.contract import Array, SequenceSession, Session, Tensors
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


def run_joined(session: Session, items: Sequence[Tensors]) -> list[dict[str, Array]]:
    """The outputs of each item; several are joined along their first axis, run once and taken apart again, or as a session of
    sequences does that.

    ModelError if the outputs do not have as many rows as the items: they belong to no items then.
    """
    if len(items) <= 1:
        return [session.run(item) for item in items]
    if isinstance(session, SequenceSession):
        return session.run_together(items)
    counts = [len(item[session.inputs[0]]) for item in items]
    joined = session.run({name: np.concatenate([item[name] for item in items]) for name in session.inputs})
    for name, array in joined.items():
        if len(array) != sum(counts):
            raise ModelError(
                f"output '{name}': expected {sum(counts)} rows for joined items, got {len(array)}; leave the batch out"
            )
    ends = np.cumsum(counts)[:-1]
    parts = {name: np.split(array, ends) for name, array in joined.items()}
    return [{name: pieces[place] for name, pieces in parts.items()} for place in range(len(items))]
