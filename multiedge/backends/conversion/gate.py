"""Outputs of a converted model against those of the reference backend."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from multiedge.backends.contract import Session, Tensors
from multiedge.backends.conversion.samples import Sample
from multiedge.errors import ModelError, one_line
from multiedge.metrics.difference import difference

FLOOR = 1e-3
"""Errors are relative to the largest expected value of an output, but at least to this share of the largest one in the first
sample: where only zeros are expected, the smallest rounding would be infinitely wrong."""


@dataclass(frozen=True)
class SampleError:
    """The output that is farthest from the reference for one sample.

    Attributes:
        sample: Name of the sample.
        output: Name of the output.
        relative: Largest difference over the largest expected value; inf for another type or shape, or no result at all.
        agreement: Share of the rows of all outputs whose largest value is in the same place; None if no output has rows.
        problem: What went wrong besides the values; '' if nothing did.
    """

    sample: str
    output: str
    relative: float
    agreement: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Comparison:
    """How far a converted model is from the reference, for each sample that the reference could compute.

    Attributes:
        tolerance: The largest relative error that passes.
        errors: In the order of the samples.
        left_out: Samples of open sizes that the reference refuses.
    """

    tolerance: float
    errors: tuple[SampleError, ...]
    left_out: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether every error is within the tolerance; not, if there was nothing to compare."""
        return bool(self.errors) and all(each.relative <= self.tolerance for each in self.errors)

    @property
    def worst(self) -> SampleError | None:
        """The sample with the largest error; None if there is none."""
        return max(self.errors, key=lambda each: each.relative, default=None)

    @property
    def agreement(self) -> float | None:
        """Mean of the samples' agreement; None if no output has rows."""
        known = [each.agreement for each in self.errors if each.agreement is not None]
        return sum(known) / len(known) if known else None


def compare(reference: Session, candidate: Session, samples: Sequence[Sample], tolerance: float) -> Comparison:
    """Runs both sessions on every sample.

    An error of the reference is a ModelError, unless the sample is not required; an error of the candidate fails the sample.
    """
    errors: list[SampleError] = []
    left_out: list[str] = []
    scales: dict[str, float] = {}
    for sample in samples:
        try:
            expected = reference.run(sample.tensors)
        except Exception as error:  # each runtime has its own classes of errors
            if sample.is_required:
                raise ModelError(
                    f"the reference cannot run sample '{sample.name}': {one_line(error)}; give --inputs"
                ) from error
            left_out.append(sample.name)
            continue
        for name, value in expected.items():
            scales.setdefault(name, _scale(value))
        errors.append(_error(sample, expected, candidate, scales))
    return Comparison(tolerance, tuple(errors), tuple(left_out))


def _error(sample: Sample, expected: Tensors, candidate: Session, scales: dict[str, float]) -> SampleError:
    try:
        actual = candidate.run(sample.tensors)
    except Exception as error:  # each runtime has its own classes of errors
        return SampleError(sample.name, "", math.inf, problem=one_line(error))
    relative, name = max((relative_error(value, actual.get(name), scales[name]), name) for name, value in expected.items())
    rows = [share for each, value in expected.items() for share in _agreement(value, actual.get(each))]
    agreement = sum(rows) / len(rows) if rows else None
    return SampleError(sample.name, name, relative, agreement, _problem(expected[name], actual.get(name)))


def relative_error(expected: Any, actual: Any, scale: float = 0.0) -> float:
    """The largest difference over the largest expected value, or over FLOOR of `scale` if that is larger.

    inf where types, shapes or lengths differ, or where a value is missing.
    """
    if isinstance(expected, list):
        if not isinstance(actual, list) or len(expected) != len(actual):
            return math.inf
        return max((relative_error(*pair, scale) for pair in zip(expected, actual, strict=True)), default=0.0)
    if _problem(expected, actual):
        return math.inf
    apart = difference(np.asarray(expected), np.asarray(actual))
    floor = max(apart.scale, FLOOR * scale)
    return 0.0 if apart.absolute == 0 else apart.absolute / floor if floor > 0 else math.inf


def _problem(expected: Any, actual: Any) -> str:
    if actual is None:
        return "gives no such output"
    if isinstance(expected, list) or isinstance(actual, list):
        return ""
    wanted, got = np.asarray(expected), np.asarray(actual)
    if wanted.shape != got.shape:
        return f"gives shape {list(got.shape)}, expected {list(wanted.shape)}"
    return "" if wanted.dtype == got.dtype else f"gives {got.dtype}, expected {wanted.dtype}"


def _scale(value: Any) -> float:
    array = np.asarray(value) if not isinstance(value, list) else np.zeros(0)
    if array.dtype.kind not in "fiu" or not array.size:
        return 0.0
    finite = np.abs(array[np.isfinite(array)].astype(np.float64))
    return float(finite.max(initial=0.0))


def _agreement(expected: Any, actual: Any) -> Iterator[float]:
    """The share of rows with the largest value in the same place, if these are rows of numbers."""
    if isinstance(expected, list) or _problem(expected, actual):
        return
    wanted = np.asarray(expected)
    if wanted.ndim >= 2 and wanted.shape[-1] > 1 and wanted.size and wanted.dtype.kind == "f":
        yield float(np.mean(wanted.argmax(-1) == np.asarray(actual).argmax(-1)))
