"""Every legal backend and precision, converted, compared and timed in turn on one model: see `multiedge.backends.choices`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from multiedge.backends import BACKENDS
from multiedge.backends.automatic import installed_version
from multiedge.backends.choices import Choice, Choices, Outcome, path_of, save_choices, stored_choices
from multiedge.backends.contract import Backend, Tensors
from multiedge.backends.conversion.ready import converted
from multiedge.backends.conversion.record import Conversion, State
from multiedge.backends.stages import CONVERTED, Call, device_backend, open_part
from multiedge.backends.timing import Accuracy, Progress, Timing, silent, time_in_turn
from multiedge.defaults import CONVERSION_LIMIT_S
from multiedge.errors import ModelError, MultiedgeError
from multiedge.fleet import REFERENCE_BACKEND, Device
from multiedge.onnx_io.inputs import random_feed
from multiedge.onnx_io.reader import declared_graph

FIRST = Accuracy(relative=0.05, budget_s=2.0, least=5, most=9, warmup=2)
"""The rounds after which those that are clearly slower are left out."""
LAST = Accuracy(relative=0.01, budget_s=3.0, least=15, most=200, warmup=1)
"""The rounds of those that are left, which decide."""
CLEARLY = 1.1
"""A candidate whose interval begins above this many times the end of the fastest one's is clearly slower."""
CONVERTING = 0.7
"""Share of the work, as progress shows it, that conversions take."""


@dataclass(frozen=True)
class Candidate:
    """A backend and a precision that may run a model on a device, as a device that names both."""

    device: Device
    version: str

    @property
    def backend(self) -> Backend:
        return device_backend(self.device)

    @property
    def is_reference(self) -> bool:
        """Whether the others are compared with it."""
        return self.device.backend == REFERENCE_BACKEND and not self.device.precision

    def row(self, outcome: Outcome) -> Choice:
        """Its row without measurements."""
        backend = self.backend
        return Choice(self.device.backend, backend.numbers, self.version, outcome, is_approximate=backend.is_approximate)


@dataclass(frozen=True)
class _Open:
    """A candidate with its session, ready to be timed."""

    row: Choice
    call: Call


def candidates(device: Device, precision: str = "") -> list[Candidate]:
    """What may run the device's stages here: every installed backend with each of its precisions, the reference first.

    A backend counts if it computes on the device's processor, with the precisions whose outputs can be judged: those with a
    tolerance, and approximate ones. With a `precision`, only those that compute with it, and the reference.
    """
    reference = replace(device, backend=REFERENCE_BACKEND, precision="")
    found = [Candidate(reference, installed_version(REFERENCE_BACKEND))]
    for name in BACKENDS.names():
        version = installed_version(name)
        if not version:
            continue
        own = device_backend(replace(device, backend=name, precision=""))
        if device.gpu is not None and "gpu" not in own.processors:
            continue
        judged = {*own.tolerances, *own.approximate}
        wanted = [each for each in own.selectable if each in judged and precision in ("", each)]
        others = [each for each in wanted if (name, each) != (REFERENCE_BACKEND, own.numbers)]
        found += [Candidate(replace(device, backend=name, precision=each), version) for each in others]
    return found


def measure_choices(
    model: Path,
    device: Device,
    *,
    precision: str = "",
    least_agreement: float | None = None,
    again: bool = False,
    recalibrated: bool = False,
    inputs: Sequence[Path] = (),
    limit_s: float = CONVERSION_LIMIT_S,
    progress: Progress = silent,
) -> Choices:
    """The candidates for a model on a device of this machine, timed with the device's threads, and kept for `auto`.

    What was measured before with the same versions is not measured again, and no conversion is made twice.

    Args:
        model: An ONNX file.
        device: Its threads and its processor count.
        precision: Only candidates that compute with it, and the reference; '' for all.
        least_agreement: The agreement from which approximate precisions, such as int8, may be taken; None if they may not.
        again: Whether to convert and time anew.
        recalibrated: Whether inputs were kept beside the model since it was measured: approximate precisions are made of these.
        inputs: .npz files with inputs to compare in addition; approximate precisions are compared on those that are kept.
        limit_s: Seconds after which a conversion is stopped.
        progress: Called with the step and the share of the work that is done.

    Returns:
        The Choices; candidates that cannot run are among them, with the reason.

    Raises:
        ModelError: If the reference cannot run the model, or the figures cannot be kept.
    """
    tried = candidates(device, precision)
    place = path_of(model, device)
    if not again and not recalibrated and not inputs:
        known = stored_choices(place)
        if known is not None and _is_of(known, tried):
            return _kept(replace(known, least_agreement=least_agreement), place)

    def convert(backend: Backend) -> Conversion:
        compared = () if backend.is_approximate else inputs
        return converted(backend, model, model.parent / CONVERTED, again=again, inputs=compared, limit_s=limit_s)

    feed = random_feed(declared_graph(model))
    rows: list[Choice] = []
    opened: list[_Open] = []
    try:
        for number, each in enumerate(tried):
            progress(f"{each.device.backend} {each.backend.numbers}", CONVERTING * number / len(tried))
            ready = _opened(each, model, feed, convert)
            if isinstance(ready, _Open):
                opened.append(ready)
            else:
                rows.append(ready)
        rows = [*_timed(opened, lambda step, share: progress(step, CONVERTING + (1 - CONVERTING) * share)), *rows]
    finally:
        for ready in opened:
            ready.call.session.close()
    return _kept(Choices(model.name, device.threads, tuple(rows), least_agreement), place)


def _kept(choices: Choices, place: Path) -> Choices:
    save_choices(choices, place)
    return choices


def _is_of(known: Choices, tried: Sequence[Candidate]) -> bool:
    """Whether all these candidates were measured with the versions that are installed."""
    held = {(row.backend, row.precision, row.version) for row in known.rows}
    return all((each.device.backend, each.backend.numbers, each.version) in held for each in tried)


def _opened(each: Candidate, model: Path, feed: Tensors, convert: Callable[[Backend], Conversion]) -> _Open | Choice:
    """The candidate, ready to be timed, or its row if it cannot run the model or is wrong."""
    if each.is_reference:
        row = replace(each.row(Outcome.TIMED), error=0.0, agreement=1.0)
        return _Open(row, Call(open_part(each.backend, model, each.device), feed, model))
    try:
        record = convert(each.backend)
        if record.state is not State.SUCCESS:
            return replace(each.row(Outcome.FAILED), error=record.worst_error, reason=record.reason)
        row = replace(each.row(Outcome.TIMED), error=record.worst_error, agreement=record.agreement)
        call = Call(open_part(each.backend, model, each.device), feed, model)
        call()
    except MultiedgeError as error:
        return replace(each.row(Outcome.FAILED), reason=str(error))
    return _Open(row, call)


def _timed(opened: Sequence[_Open], progress: Progress) -> list[Choice]:
    """A row for each, in their order: all are timed for a few rounds, then those that may be the fastest until it is known."""
    if not opened:
        raise ModelError("expected the reference backend to run the model, got no candidate that can")
    first = time_in_turn([each.call for each in opened], FIRST)
    exact = [timing for each, timing in zip(opened, first, strict=True) if not each.row.is_approximate]
    best = min(exact, key=lambda timing: timing.median_s)  # approximate ones may not be taken
    bound_s = CLEARLY * best.median_s * (1 + best.relative_error)
    is_left = [_least_s(timing) <= bound_s for timing in first]
    left = [each.call for each, stays in zip(opened, is_left, strict=True) if stays]
    last = iter(time_in_turn(left, LAST, progress) if len(left) > 1 else [best])
    return [
        _row(each.row, next(last), Outcome.TIMED) if stays else _row(each.row, timing, Outcome.SLOWER)
        for each, timing, stays in zip(opened, first, is_left, strict=True)
    ]


def _least_s(timing: Timing) -> float:
    """What the median is at least: the beginning of its interval, which may be wide, but no less than the shortest run."""
    return max(timing.median_s * (1 - timing.relative_error), float(timing.wall_s.min()))


def _row(row: Choice, timing: Timing, outcome: Outcome) -> Choice:
    return replace(row, outcome=outcome, seconds=timing.median_s, spread_s=timing.relative_error * timing.median_s)
