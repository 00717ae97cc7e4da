"""One conversion in this process: convert, compare, and keep the result only if its outputs are right."""

from __future__ import annotations

import errno
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from multiedge.backends.contract import Backend, Session
from multiedge.backends.conversion.bisection import first_wrong_node
from multiedge.backends.conversion.gate import Comparison, SampleError, compare
from multiedge.backends.conversion.inputs import PartInputs
from multiedge.backends.conversion.record import Conversion, State, save_conversion
from multiedge.backends.conversion.samples import Sample, samples_of, usual_samples
from multiedge.backends.conversion.write import write_converted
from multiedge.backends.loading import named_errors
from multiedge.backends.timing import Accuracy, time_in_turn
from multiedge.errors import ModelError, MultiedgeError
from multiedge.files import make_owned_folder, temporary_folder
from multiedge.graph import Graph
from multiedge.onnx_io.manifest import digest_of
from multiedge.onnx_io.reader import declared_graph

TIMING = Accuracy(relative=0.05, budget_s=0.5, least=5, most=50, warmup=1)
MOST_APPROXIMATE = 1.0
"""The largest relative error of an approximate precision: one above has nothing to do with the values."""
PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE})
"""What the system refuses now and may grant later: room on the disk, memory, open files."""


def convert_checked(
    backend: Backend,
    reference: Backend,
    conversion: Conversion,
    folder: Path,
    inputs: Sequence[Sample] = (),
    kept: PartInputs | None = None,
) -> Conversion:
    """Converts `conversion.model` into `folder`, if the outputs are those of the reference, and keeps the record beside it.

    The record is at `folder` with '.json' appended. What fails leaves nothing but the record. An approximate precision is
    calibrated and compared on the inputs that were `kept` for the part, otherwise on samples of usual values.
    """
    record = folder.with_name(f"{folder.name}.json")
    running = replace(conversion, state=State.RUNNING, started_s=time.time())
    save_conversion(running, record)
    draft = make_owned_folder(folder.parent, "making-")
    try:
        ended = _converted(backend, reference, running, draft, inputs, kept)
        if ended.state is State.SUCCESS:
            _put(draft, folder)
    except MultiedgeError as error:
        ended = replace(running, state=State.FAILED, reason=str(error), is_final=not any(map(_is_passing, _causes(error))))
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    ended = replace(ended, finished_s=time.time())
    save_conversion(ended, record)
    return ended


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, its cause, the cause of that, ..."""
    while error is not None:
        yield error
        error = error.__cause__


def _is_passing(error: BaseException) -> bool:
    """Whether it is due to the machine as it is now, not to the model: another attempt may succeed."""
    if isinstance(error, OSError):
        return error.errno in PASSING
    if isinstance(error, subprocess.CalledProcessError):
        return error.returncode == -signal.SIGKILL  # as the system does where memory is short; a crash would come again
    return isinstance(error, MemoryError)


def _put(draft: Path, folder: Path) -> None:
    """Gives the finished draft its name. What has it already is of an earlier attempt, and not known to be right."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(draft, folder)
    except OSError as error:
        raise ModelError(f"{folder}: converted parts cannot be kept here: {error.strerror}") from error


def _converted(
    backend: Backend,
    reference: Backend,
    conversion: Conversion,
    draft: Path,
    inputs: Sequence[Sample],
    kept: PartInputs | None,
) -> Conversion:
    part = Path(conversion.model)
    target = draft / f"{part.stem}{backend.formats[0]}"
    graph = declared_graph(part)
    samples = _samples(backend, graph, inputs, kept)
    write_converted(backend, part, target, [each.tensors for each in samples] if backend.is_approximate else ())
    files = sorted(draft.iterdir(), key=lambda path: path != target)
    artefact = {path.name: digest_of(path) for path in files if path.is_file()}
    tolerance = MOST_APPROXIMATE if backend.is_approximate else conversion.tolerance or 0.0
    compared, times = _compare(reference, backend, part, target, samples, tolerance)
    labels = kept.labels if kept else ()
    known = replace(
        conversion,
        errors=compared.errors,
        left_out=compared.left_out,
        agreement=compared.agreement,
        accuracy=_accuracy(compared, labels, 1),
        reference_accuracy=_accuracy(compared, labels, 0),
        reference_latency_s=times[0] if times else None,
        latency_s=times[1] if times else None,
    )
    if compared.passed:
        return replace(known, state=State.SUCCESS, artefact=artefact)
    if backend.is_approximate:
        reason = f"{part}: {conversion.backend} gives outputs of {conversion.precision} that have nothing to do with the right"
        return replace(known, state=State.FAILED, reason=f"{reason} ones: {_words(compared.worst, tolerance)}", is_final=True)
    reason = f"{part}: {conversion.backend} gives wrong outputs: {_words(compared.worst, compared.tolerance)}"
    wrong = next((sample for sample in samples if compared.worst and sample.name == compared.worst.sample), None)
    if wrong is not None and compared.worst is not None and not compared.worst.exchanged_with:
        node = first_wrong_node(graph, wrong, compared.tolerance, reference.open, lambda path: _opened(backend, path))
        reason += f"; {node or 'no node is wrong: this sample alone is right in a new session'}"
    return replace(known, state=State.FAILED, reason=reason, is_final=True)


def _samples(backend: Backend, graph: Graph, inputs: Sequence[Sample], kept: PartInputs | None) -> list[Sample]:
    """What is compared. With inputs at hand, the sizes that are made up need not be possible."""
    if not backend.is_approximate:
        made = samples_of(graph, backend.numbers)
        return [*(replace(sample, is_required=not inputs) for sample in made), *inputs]
    given = [Sample(f"input {number + 1}", item) for number, item in enumerate(kept.items)] if kept else []
    return [*given, *inputs] or usual_samples(graph)


def _accuracy(compared: Comparison, labels: Sequence[int], which: int) -> float | None:
    """The share of the first samples whose class is their label: of the reference, 0, or of what was converted, 1."""
    answers = [each.classes for each in compared.errors[: len(labels)]]
    right = [pair is not None and pair[which] == label for pair, label in zip(answers, labels, strict=False)]
    return sum(right) / len(right) if right else None


def _compare(
    reference: Backend, backend: Backend, part: Path, target: Path, samples: Sequence[Sample], tolerance: float
) -> tuple[Comparison, tuple[float, float] | None]:
    """The comparison, and if it passed the median times of a run in both."""
    expected = reference.open(part)
    try:
        with named_errors(f"{part}: {type(backend).__name__} cannot open what it has converted"):
            candidate = backend.open(target)
        try:
            compared = compare(expected, candidate, samples, tolerance)
            return compared, _times(expected, candidate, _first(samples, compared)) if compared.passed else None
        finally:
            candidate.close()
    finally:
        expected.close()


def _first(samples: Sequence[Sample], compared: Comparison) -> Sample:
    """The first sample that the reference could run."""
    return next(sample for sample in samples if sample.name == compared.errors[0].sample)


def _times(reference: Session, candidate: Session, sample: Sample) -> tuple[float, float]:
    runs = [lambda: reference.run(sample.tensors), lambda: candidate.run(sample.tensors)]
    first, second = time_in_turn(runs, TIMING)
    return first.median_s, second.median_s


def _opened(backend: Backend, part: Path) -> Session:
    """A session on an ONNX file, converted into a folder that is removed when it is open."""
    with temporary_folder("convert-") as folder:
        target = Path(folder) / f"{part.stem}{backend.formats[0]}"
        write_converted(backend, part, target)
        with named_errors(f"{part}: {type(backend).__name__} cannot open this file"):
            return backend.open(target)


def _words(worst: SampleError | None, tolerance: float) -> str:
    if worst is None:
        return "there was nothing to compare"
    place = f"output '{worst.output}' of sample '{worst.sample}'" if worst.output else f"sample '{worst.sample}'"
    if worst.exchanged_with:
        return f"{place} has the values of output '{worst.exchanged_with}'"
    if worst.problem:
        return f"{place} {worst.problem}"
    what = "is not finite where it must be" if math.isinf(worst.relative) else f"has relative error {worst.relative:.3g}"
    return f"{place} {what}, tolerance {tolerance:g}"
