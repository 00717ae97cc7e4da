"""Backends and precisions, timed on one model: what `multiedge convert --auto` measures, and what the backend `auto` takes.

The figures of a model are a file in the user's cache, under a name that depends on what the model is, the processor and the
device's threads, not on where the model lies: a part that a node has fetched is the same one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from multiedge.backends.kept import content_of, processor
from multiedge.errors import ModelError
from multiedge.files import cache_folder, write_text
from multiedge.fleet import REFERENCE_BACKEND, Device
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Kind
from multiedge.formats.records import reader_of

SCHEMA = "multiedge.choices/1"
KIND = Kind("file of measured choices", ModelError, "measure again with: multiedge convert --auto")
FOLDER = "choices"
ALIKE = 1.02
"""Times that differ by less than this factor count as equal."""


class Outcome(str, Enum):
    """What became of a candidate."""

    TIMED = "timed"
    SLOWER = "slower"
    """Left out after a few rounds, since it was clearly slower than another one."""
    FAILED = "failed"
    """It could not be converted, or its outputs were wrong."""
    INHERITED = "inherited"
    """Measured on the whole model of which this is a part."""


@dataclass(frozen=True)
class Choice:
    """One backend and precision for one model on one device, and what was measured of it.

    Attributes:
        backend: Name of the backend.
        precision: What it computes with.
        version: Version of the runtime.
        outcome: Whether it was timed to the end.
        seconds: Median of one run; None if it was not timed.
        spread_s: Half a 95 % confidence interval of the median; None if it is not known.
        error: The largest relative error against the reference backend; None if nothing was compared.
        agreement: Share of rows whose largest value was in the same place; None if not known.
        reason: Why it failed; '' otherwise.
        is_approximate: Whether its outputs differ by more than rounding, as those of int8 do; no error is then the right one.
    """

    backend: str
    precision: str
    version: str
    outcome: Outcome
    seconds: float | None = None
    spread_s: float | None = None
    error: float | None = None
    agreement: float | None = None
    reason: str = ""
    is_approximate: bool = False


@dataclass(frozen=True)
class Choices:
    """All candidates for one model on one device, as they were measured.

    Attributes:
        model: Name of the model's file.
        threads: Threads of the device.
        rows: The candidates, in the order in which they were tried.
        least_agreement: The agreement from which approximate candidates may be taken; None if they may not.
    """

    model: str
    threads: int
    rows: tuple[Choice, ...]
    least_agreement: float | None = None

    @property
    def reference_s(self) -> float | None:
        """Seconds of the reference backend with the numbers of the file, which is tried first; None if it was not timed."""
        first = self.rows[0] if self.rows else None
        return first.seconds if first and first.backend == REFERENCE_BACKEND and not first.is_approximate else None

    @property
    def usable(self) -> tuple[Choice, ...]:
        """The candidates that may be taken: those that are right, and approximate ones that are near enough."""
        return tuple(row for row in self.rows if row.outcome is not Outcome.FAILED and self._is_near(row))

    def best(self, precision: str = "") -> Choice | None:
        """The fastest candidate that is right; with a `precision`, among those that compute with it. None if there is none.

        Of those that are as fast within 2 %, it is the one with the smallest error.
        """
        times = [(row.seconds, row) for row in self.usable if row.seconds is not None and precision in ("", row.precision)]
        if not times:
            return None
        bound_s = ALIKE * min(seconds for seconds, _ in times)
        alike = [(row.error or 0.0, seconds, row) for seconds, row in times if seconds <= bound_s]
        return min(alike, key=lambda each: each[:2])[-1]

    def _is_near(self, row: Choice) -> bool:
        """Whether it is near enough to the reference to be taken."""
        if not row.is_approximate:
            return True
        return self.least_agreement is not None and row.agreement is not None and row.agreement >= self.least_agreement


def path_of(model: Path, device: Device) -> Path:
    """The file of the choices for a model on a device."""
    known = (content_of(model), device.threads, device.gpu, processor())
    return cache_folder(FOLDER) / f"{hashlib.sha256(repr(known).encode()).hexdigest()[:32]}.json"


def measured_choices(model: Path, device: Device) -> Choices | None:
    """What was measured for this model on such a device on this machine; None if nothing was, or the file is damaged."""
    if not cache_folder(FOLDER).is_dir() or not model.is_file():  # before the model is read, which takes time
        return None
    return stored_choices(path_of(model, device))


def stored_choices(path: Path) -> Choices | None:
    """The choices in the file; None if there is none, or it is damaged."""
    try:
        return load_choices(path) if path.is_file() else None
    except ModelError:
        return None


def save_choices(choices: Choices, path: Path) -> None:
    """Writes the file atomically; ModelError if it cannot be written."""
    data = {"schema": SCHEMA, **asdict(choices)}
    write_text(path, json.dumps(data, indent=1) + "\n", error=ModelError)


def load_choices(path: Path) -> Choices:
    """The choices in the file; ModelError that names what is wrong with it."""
    data = read_json(path, KIND)
    if data["schema"].value != SCHEMA:
        raise data.error(f"expected schema '{SCHEMA}'")
    choices: Choices = reader_of(Choices, uses_defaults=True)(data)
    return choices
