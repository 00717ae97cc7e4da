"""Metrics of the answers: `accuracy` against the labels, `fidelity` against the whole model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sedna.common.class_factory import ClassFactory, ClassType

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from imagenet_bench.index import class_of

from multiedge.metrics.accuracy import top_k_accuracy


@ClassFactory.register(ClassType.GENERAL, alias="accuracy")
def accuracy(y_true: Any, y_pred: dict[str, Any]) -> float | str:
    """Top-1 in percent; a text if the weights are random, because a number would look like a result."""
    if not y_pred["trained"]:
        return "meaningless: random weights"
    share = top_k_accuracy([class_of(label) for label in y_true], y_pred["logits"])
    return round(100.0 * (share or 0.0), 2)


@ClassFactory.register(ClassType.GENERAL, alias="fidelity")
def fidelity(y_true: Any, y_pred: dict[str, Any]) -> float | None:
    """Share of pictures whose top class is that of the whole model; 1.0 for a correct cut."""
    agreement: float | None = y_pred["fidelity"].top1_agreement
    return agreement


@ClassFactory.register(ClassType.GENERAL, alias="max_error")
def max_error(y_true: Any, y_pred: dict[str, Any]) -> str:
    """Largest absolute difference of any logit from the whole model's."""
    return f"{y_pred['fidelity'].max_absolute_error:.1e}"
