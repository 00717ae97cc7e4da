"""How many answers are right: those of parts against labels, or against the model as it is in the reference backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from multiedge.backends.contract import Tensors
from multiedge.errors import ConfigError
from multiedge.plan import MeasuredAccuracy

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Judge:
    """What answers are measured against.

    Attributes:
        expected: The places of the largest values in the answers of the model as it is, for each item.
        labels: The right class of each item; empty if they are not known.
        limit: The largest loss that is permitted.
    """

    expected: tuple[Places, ...]
    labels: tuple[int, ...]
    limit: float

    @classmethod
    def of(cls, outputs: Sequence[Tensors], labels: Sequence[int], limit: float) -> Judge:
        """What measures against these answers of the model; ConfigError if they have no rows, or several for a label."""
        expected = tuple(places_of(each) for each in outputs)
        if labels and any(each.size != 1 for each in expected):
            raise ConfigError("labels: expected a model that gives one row of classes for each item; leave the labels out")
        return cls(expected, tuple(labels), limit)

    def measured(self, outputs: Sequence[Tensors]) -> MeasuredAccuracy:
        """What these answers, one for each item, cost."""
        actual = [places_of(each) for each in outputs]
        if self.labels:
            reference, value = (
                _share(each == label for each, label in zip(answers, self.labels, strict=True))
                for answers in (self.expected, actual)
            )
            return MeasuredAccuracy("accuracy", len(actual), reference, value, self.limit)
        agreement = _share(each == wanted for each, wanted in zip(actual, self.expected, strict=True))
        return MeasuredAccuracy("agreement", len(actual), 1.0, agreement, self.limit)


def places_of(outputs: Tensors) -> Places:
    """The place of the largest value in each row of the first output that has rows; ConfigError if none has."""
    for value in outputs.values():
        if isinstance(value, np.ndarray) and value.ndim >= 2 and value.shape[-1] > 1 and value.dtype.kind == "f":
            return np.asarray(value.argmax(-1), dtype=np.int64)
    raise ConfigError("accuracy: no output of the model has rows of numbers, so that answers cannot be compared")


def _share(results: Any) -> float:
    """The mean over items of the share of rows that are right."""
    return float(np.mean([float(np.mean(each)) for each in results]))
