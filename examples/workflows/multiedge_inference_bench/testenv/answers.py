"""Metrics of the answers of a workflow: what was asked, and how many answers are right."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sedna.common.class_factory import ClassFactory, ClassType

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from workflow_bench.folder import parse_answer


@ClassFactory.register(ClassType.GENERAL, alias="asked")
def asked(y_true: Any, y_pred: dict[str, Any]) -> str:
    """The number of items that accuracy is counted of, and what they are."""
    return str(y_pred["items"])


@ClassFactory.register(ClassType.GENERAL, alias="accuracy")
def accuracy(y_true: Any, y_pred: dict[str, Any]) -> float:
    """Percent of the answers that are right; one of several numbers is right if all of them are."""
    expected = [parse_answer(y_true[row]) for row in y_pred["rows"]]
    right = [answer == wanted for answer, wanted in zip(y_pred["answers"], expected, strict=True)]
    return round(100.0 * sum(right) / len(right), 1)


@ClassFactory.register(ClassType.GENERAL, alias="latency_ms")
def latency_ms(y_true: Any, y_pred: dict[str, Any]) -> float:
    """The mean over the items: of a cascade, the median says only which of the two ways is taken more often."""
    items = [item.latency_s for item in y_pred["measurements"].items if not item.error]
    return float(f"{1000 * sum(items) / len(items):.4g}")
