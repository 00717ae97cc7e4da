"""What is known of one conversion: its state, the settings that it was made with, how far its outputs are from the reference.

It is a JSON file beside the folder of what was made, replaced atomically at each change of the state.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from multiedge.backends.conversion.gate import SampleError
from multiedge.errors import ModelError
from multiedge.files import write_text
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Field, Kind

SCHEMA = "multiedge.conversion/1"
KIND = Kind("record of a conversion", ModelError, "convert again with: multiedge convert")


class State(str, Enum):
    """How far a conversion is. Only what has succeeded is opened."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


@dataclass(frozen=True)
class Conversion:
    """One model, converted for one backend with one set of options on one kind of processor.

    Attributes:
        state: How far it is.
        model: The ONNX file.
        backend: Name of the backend's class.
        version: Version of its runtime.
        precision: What it computes with.
        options: All its options.
        tolerance: The largest relative error that passes; None if nothing is compared.
        started_s: When it began, in seconds since 1970; None before.
        finished_s: When it ended; None before.
        reason: Why it failed; '' otherwise.
        is_final: Whether it would fail again: the converter refused, or the outputs were wrong.
        errors: How far the outputs were from the reference.
        left_out: Samples that the reference refused.
        agreement: Share of rows whose largest value was in the same place; None if not known.
        inputs: Name of the values of the inputs that were kept for the part, which calibrate it; '' if there were none.
        accuracy: Share of those inputs that got their label; None if there are no labels.
        reference_accuracy: The same of the reference backend.
        latency_s: Median time of one run; None if not measured.
        reference_latency_s: The same of the reference backend.
        artefact: Digest of each file that was made, by name; the first is opened.
    """

    state: State
    model: str
    backend: str
    version: str
    precision: str
    options: Mapping[str, Any]
    tolerance: float | None = None
    started_s: float | None = None
    finished_s: float | None = None
    reason: str = ""
    is_final: bool = False
    errors: tuple[SampleError, ...] = ()
    left_out: tuple[str, ...] = ()
    agreement: float | None = None
    inputs: str = ""
    accuracy: float | None = None
    reference_accuracy: float | None = None
    latency_s: float | None = None
    reference_latency_s: float | None = None
    artefact: Mapping[str, str] = field(default_factory=dict)

    @property
    def worst_error(self) -> float | None:
        """The largest relative error; None if nothing was compared."""
        return max((each.relative for each in self.errors), default=None)

    @property
    def latency_ratio(self) -> float | None:
        """Time of one run over that of the reference; None if not measured."""
        if self.latency_s is None or not self.reference_latency_s:
            return None
        return self.latency_s / self.reference_latency_s


def conversion_to_json(conversion: Conversion) -> dict[str, Any]:
    """The record as JSON data; an infinite error is null."""
    return {
        "schema": SCHEMA,
        "state": conversion.state.value,
        "model": conversion.model,
        "backend": conversion.backend,
        "version": conversion.version,
        "precision": conversion.precision,
        "options": dict(conversion.options),
        "tolerance": conversion.tolerance,
        "started_s": conversion.started_s,
        "finished_s": conversion.finished_s,
        "reason": conversion.reason,
        "is_final": conversion.is_final,
        "errors": [_error_to_json(each) for each in conversion.errors],
        "left_out": list(conversion.left_out),
        "agreement": conversion.agreement,
        "inputs": conversion.inputs,
        "accuracy": conversion.accuracy,
        "reference_accuracy": conversion.reference_accuracy,
        "latency_s": conversion.latency_s,
        "reference_latency_s": conversion.reference_latency_s,
        "artefact": dict(conversion.artefact),
    }


def _error_to_json(error: SampleError) -> dict[str, Any]:
    return {
        "sample": error.sample,
        "output": error.output,
        "relative": error.relative if math.isfinite(error.relative) else None,
        "agreement": error.agreement,
        "problem": error.problem,
        "exchanged_with": error.exchanged_with,
        "classes": error.classes,
    }


def save_conversion(conversion: Conversion, path: Path) -> None:
    """Writes the record atomically; ModelError if the file cannot be written."""
    write_text(path, json.dumps(conversion_to_json(conversion), indent=1) + "\n", error=ModelError)


def load_conversion(path: Path) -> Conversion:
    """The record in the file; ModelError that names what is wrong with it."""
    data = read_json(path, KIND)
    if data["schema"].value != SCHEMA:
        raise data.error(f"expected schema '{SCHEMA}'")
    return Conversion(
        state=data["state"].enum(State),
        model=data["model"].text(),
        backend=data["backend"].text(),
        version=data["version"].text(),
        precision=data["precision"].text(),
        options=data["options"].mapping_of(Field.data),
        tolerance=data["tolerance"].optional(Field.number),
        started_s=data["started_s"].optional(Field.number),
        finished_s=data["finished_s"].optional(Field.number),
        reason=data["reason"].text(),
        is_final=data["is_final"].boolean(),
        errors=data["errors"].list_of(_read_error),
        left_out=data["left_out"].list_of(Field.text),
        agreement=data["agreement"].optional(Field.number),
        inputs=data["inputs"].optional(Field.text, ""),
        accuracy=data["accuracy"].optional(Field.number),
        reference_accuracy=data["reference_accuracy"].optional(Field.number),
        latency_s=data["latency_s"].optional(Field.number),
        reference_latency_s=data["reference_latency_s"].optional(Field.number),
        artefact=data["artefact"].mapping_of(Field.text),
    )


def _read_error(data: Field) -> SampleError:
    return SampleError(
        data["sample"].text(),
        data["output"].text(),
        data["relative"].optional(Field.number, math.inf),
        data["agreement"].optional(Field.number),
        data["problem"].text(),
        data["exchanged_with"].optional(Field.text, ""),
        data["classes"].optional(lambda pair: pair.pair_of(Field.count)),
    )
