"""Outputs of a converted model against those of the reference backend."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from multiedge.backends.contract import Array, Session, Tensors
from multiedge.backends.conversion.samples import Sample
from multiedge.errors import ModelError, one_line
from multiedge.metrics.difference import difference

FLOOR = 1e-3
"""Errors are relative to the largest expected value of an output, but at least to this share of the largest one in the first
sample: where only zeros are expected, the smallest rounding would be infinitely wrong."""
AGAIN = 2
"""So many samples run twice, the second time after all others: what a session keeps from one run to the next shows then."""


@dataclass(frozen=True)
class SampleError:
    """The output that is farthest from the reference for one sample.

    Attributes:
        sample: Name of the sample.
        output: Name of the output.
        relative: Largest difference over the largest expected value; inf for another type or shape, or no result at all.
        agreement: Share of the rows of all outputs whose largest value is in the same place; None if no output has rows.
        problem: What went wrong besides the values; '' if nothing did.
        exchanged_with: The output whose values it has; '' if it has those of none.
        classes: Where the reference's largest value is and where that of the converted model is, in the first output with one
            row; None if no output has.
    """

    sample: str
    output: str
    relative: float
    agreement: float | None = None
    problem: str = ""
    exchanged_with: str = ""
    classes: tuple[int, int] | None = None


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
        return bool(self.errors) and all(
            math.isfinite(each.relative) and each.relative <= self.tolerance for each in self.errors
        )

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
    """Runs both sessions on every sample; the candidate as a pipeline does, with inputs in memory that is used again.

    The first samples run again at the end, and the outputs of their first run must then be as they were. An error of the
    reference is a ModelError, unless the sample is not required; an error of the candidate fails the sample, but where its
    memory was not enough, that is a ModelError, too.
    """
    runner = _Runner(candidate)
    judge = _Judge(tolerance, {})
    errors: dict[str, SampleError] = {}
    left_out: list[str] = []
    again: list[tuple[Sample, Tensors, Tensors]] = []
    for sample in samples:
        try:
            expected: Tensors = reference.run(sample.tensors)
        except Exception as error:  # each runtime has its own classes of errors
            if sample.is_required:
                raise ModelError(
                    f"the reference cannot run sample '{sample.name}': {one_line(error)}; give --inputs"
                ) from error
            left_out.append(sample.name)
            continue
        actual, errors[sample.name] = judge.run(runner, sample, expected)
        if len(again) < AGAIN:
            again.append((sample, expected, actual))
    for sample, expected, actual in reversed(again):
        later = judge.error(sample, expected, actual)
        _, second = judge.run(runner, sample, expected)
        errors[sample.name] = _first_above(
            tolerance,
            errors[sample.name],
            replace(later, problem="changes when the session runs again"),
            replace(second, problem=second.problem or "differs when the sample is run again"),
        )
    return Comparison(tolerance, tuple(errors.values()), tuple(left_out))


def _first_above(tolerance: float, first: SampleError, *others: SampleError) -> SampleError:
    """The first of these errors that does not pass, otherwise the first one."""
    return next((each for each in (first, *others) if each.relative > tolerance), first)


class _Runner:
    """Runs a session on inputs that lie where the inputs of the same size before them were, as messages of a pipeline do."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._places: dict[tuple[str, str, tuple[int, ...]], Array] = {}

    def run(self, tensors: Tensors) -> Tensors:
        """The outputs; ModelError if the session has changed an input."""
        feed = {name: self._placed(name, value) for name, value in tensors.items()}
        outputs = self._session.run(feed)
        for name, value in tensors.items():
            if feed[name] is not value and feed[name].tobytes() != value.tobytes():
                raise ModelError(f"changes its input '{name}', which others may read")
        return outputs

    def _placed(self, name: str, value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.dtype.hasobject:
            return value
        place = self._places.setdefault((name, value.dtype.str, value.shape), np.empty_like(value))
        place[...] = value
        return place


@dataclass(frozen=True)
class _Judge:
    """Errors of outputs; `scales` are the largest expected values of each output in the first sample."""

    tolerance: float
    scales: dict[str, float]

    def run(self, runner: _Runner, sample: Sample, expected: Tensors) -> tuple[Tensors, SampleError]:
        for name, value in expected.items():
            self.scales.setdefault(name, _scale(value))
        try:
            actual = runner.run(sample.tensors)
        except MemoryError as error:  # it tells nothing about the outputs
            raise ModelError(f"there is not enough memory to run sample '{sample.name}'") from error
        except Exception as error:  # each runtime has its own classes of errors
            return {}, SampleError(sample.name, "", math.inf, problem=one_line(error))
        return actual, self.error(sample, expected, actual)

    def error(self, sample: Sample, expected: Tensors, actual: Tensors) -> SampleError:
        errors = {name: relative_error(value, actual.get(name), self.scales[name]) for name, value in expected.items()}
        if sample.is_extreme:
            errors = {name: error if math.isinf(error) else 0.0 for name, error in errors.items()}
        relative, name = max((error, name) for name, error in errors.items())
        rows = [share for each, value in expected.items() for share in _agreement(value, actual.get(each))]
        agreement = sum(rows) / len(rows) if rows else None
        other = self._exchanged(name, expected, actual) if relative > self.tolerance else ""
        classes = next((pair for each, value in expected.items() for pair in _classes(value, actual.get(each))), None)
        problem = _problem(expected[name], actual.get(name))
        return SampleError(sample.name, name, relative, agreement, problem, other, classes)

    def _exchanged(self, name: str, expected: Tensors, actual: Tensors) -> str:
        """The output whose values `name` has."""
        others = (other for other, value in expected.items() if other != name and self._is_right(value, actual.get(name)))
        return next(others, "")

    def _is_right(self, expected: Any, actual: Any) -> bool:
        return relative_error(expected, actual) <= self.tolerance


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
    if _has_rows(expected, actual):
        yield float(np.mean(np.asarray(expected).argmax(-1) == np.asarray(actual).argmax(-1)))


def _classes(expected: Any, actual: Any) -> Iterator[tuple[int, int]]:
    """The places of the largest values, if this is one row of numbers."""
    if _has_rows(expected, actual) and np.asarray(expected).size == np.asarray(expected).shape[-1]:
        yield int(np.argmax(expected)), int(np.argmax(actual))


def _has_rows(expected: Any, actual: Any) -> bool:
    if isinstance(expected, list) or _problem(expected, actual):
        return False
    wanted = np.asarray(expected)
    return wanted.ndim >= 2 and wanted.shape[-1] > 1 and wanted.size > 0 and wanted.dtype.kind == "f"
