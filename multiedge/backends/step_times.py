"""What each step of a workflow takes for each item, and for which items it is computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multiedge.backends.composed.opening import open_composed
from multiedge.backends.composed.session import Computed
from multiedge.backends.contract import Backend, Tensors
from multiedge.backends.stages import CONVERTED, open_part
from multiedge.fleet import Device
from multiedge.profile import Floats


@dataclass(frozen=True)
class Operations:
    """What was computed of some items, one alone after the other.

    Attributes:
        segments: The segment of each operation, in the order in which they run; one of several pieces is there several times.
        outputs: The tensors that each operation makes.
        seconds: (items, operations), what each took, also to find that there is nothing to compute.
        present: (items, operations), whether what it makes is there.
    """

    segments: tuple[str, ...]
    outputs: tuple[tuple[str, ...], ...]
    seconds: Floats = field(repr=False)
    present: npt.NDArray[np.bool_] = field(repr=False)

    @property
    def rates(self) -> dict[str, float]:
        """The share of the items for which there is each tensor that an operation makes, by name."""
        shares = self.present.mean(axis=0)
        return {name: float(share) for names, share in zip(self.outputs, shares, strict=True) for name in names}


def record_operations(
    path: Path, items: Iterable[Tensors], backend: Backend, device: Device | None = None, keep: Path | None = None
) -> Operations:
    """Runs items through a composed file and notes what each operation took.

    Args:
        path: The composed file.
        items: Arrays by name of the input; at least one. The first one is also run before, untimed.
        backend: Opens the models.
        device: Whose threads compute; None is one thread.
        keep: The folder that keeps the models as files of their own; by default one beside the file.

    Returns:
        The Operations.

    Raises:
        ModelError: If the file cannot be opened.
        StageError: If a function fails; and whatever else an operation raises.
    """
    session = open_composed(path, keep or path.parent / CONVERTED, lambda model: open_part(backend, model, device))
    rows: list[list[Computed]] = []
    try:
        for item in items:
            if not rows:
                session.run(item)
                session.observe = lambda computed: rows[-1].append(computed)
            rows.append([])
            session.run(item)
    finally:
        session.close()
    seconds = np.array([[each.seconds for each in row] for row in rows])
    present = np.array([[each.made[0] for each in row] for row in rows])
    return Operations(tuple(each.name for each in rows[0]), tuple(each.outputs for each in rows[0]), seconds, present)
