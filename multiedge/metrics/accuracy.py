"""How correct the answers are: against labels, and against the model before it was cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multiedge.errors import ConfigError
from multiedge.metrics.difference import Array, difference


def top_k_accuracy(labels: npt.ArrayLike, scores: npt.ArrayLike, k: int = 1) -> float | None:
    """Share of items whose label is among the k largest of its scores; ties go to the smaller class.

    `labels` has shape (n,), `scores` (n, classes). None without items.
    """
    truth, rated = np.asarray(labels), np.asarray(scores)
    if rated.ndim != 2 or truth.shape != rated.shape[:1]:
        raise ConfigError(f"accuracy: expected labels (n,) and scores (n, classes), got {truth.shape} and {rated.shape}")
    if not truth.size:
        return None
    # Of unsigned scores, which have no negative, the order would be turned round.
    best = np.argsort(-rated.astype(np.float64), axis=1, kind="stable")[:, :k]
    return float((best == truth[:, None]).any(axis=1).mean())


@dataclass(frozen=True)
class Fidelity:
    """How a cut model's outputs differ from the whole model's. `top1_agreement` is the share of items with the same
    largest entry of the first output, None where that is not one vector an item. `max_relative_error` is the largest
    absolute error over the largest magnitude of the same output in the reference."""

    items: int
    top1_agreement: float | None
    max_absolute_error: float
    max_relative_error: float


def fidelity(reference: Sequence[Mapping[str, Array]], outputs: Sequence[Mapping[str, Array]]) -> Fidelity:
    """Compares outputs item by item, tensors by name. Raises ConfigError if items, names or shapes differ.

    A NaN where the reference has none counts as an infinite error.
    """
    if len(reference) != len(outputs):
        raise ConfigError(f"fidelity: {len(reference)} reference items against {len(outputs)}")
    absolute = relative = 0.0
    same: list[bool] = []
    for number, (whole, parts) in enumerate(zip(reference, outputs, strict=True)):
        if set(whole) != set(parts):
            raise ConfigError(f"fidelity: item {number} has outputs {sorted(parts)}, expected {sorted(whole)}")
        for position, name in enumerate(whole):
            wanted, got = np.asarray(whole[name]), np.asarray(parts[name])
            if wanted.shape != got.shape:
                place = f"item {number}, output '{name}'"
                raise ConfigError(f"fidelity: {place} has shape {got.shape}, expected {wanted.shape}")
            apart = difference(wanted, got)
            absolute, relative = max(absolute, apart.absolute), max(relative, apart.relative)
            if position == 0 and wanted.ndim and wanted.size == wanted.shape[-1] > 0:
                same.append(bool(wanted.argmax() == got.argmax()))
    agreement = sum(same) / len(same) if same and len(same) == len(reference) else None
    return Fidelity(len(reference), agreement, absolute, relative)
