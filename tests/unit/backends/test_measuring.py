"""Which backends and precisions are timed on a model, which are left out, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from multiedge.backends import BACKENDS, measuring
from multiedge.backends.automatic import resolved
from multiedge.backends.choices import Choice, Choices, Outcome, load_choices, path_of
from multiedge.backends.contract import Backend, Session
from multiedge.backends.conversion.gate import SampleError
from multiedge.backends.conversion.record import Conversion, State
from multiedge.backends.measuring import candidates, measure_choices
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.backends.timing import Accuracy, Timing
from multiedge.errors import ModelError
from multiedge.fleet import AUTO_BACKEND, Device
from tests.builders.onnx_models import layers, saved

DEVICE = Device("d", backend=AUTO_BACKEND)


@dataclass(frozen=True)
class Quick(Backend):
    """Opens what the reference opens, so that nothing is converted."""

    formats = (".onnx",)
    precisions = ("float32", "float16")
    tolerances: ClassVar = {"float32": 1e-4, "float16": 1e-2}
    precision: Literal["float32", "float16", "int8"] = "float32"

    @property
    def version(self) -> str:
        return "7"

    def open(self, path: Path, device: Device | None = None) -> Session:
        return OnnxRuntimeBackend().open(path, device)


@dataclass(frozen=True)
class Rough(Quick):
    precisions = ("int8",)
    tolerances: ClassVar = {}
    approximate = ("int8",)
    precision: Literal["float32", "float16", "int8"] = "int8"


@dataclass(frozen=True)
class Unjudged(Quick):
    tolerances: ClassVar = {}


@dataclass(frozen=True)
class Absent(Quick):
    @property
    def version(self) -> str:
        raise ImportError("no such package")


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("Quick", "Unjudged", "Absent")
    table = {name.lower(): f"{__name__}:{name}" for name in names}
    own = {"onnxruntime": "multiedge.backends.onnxruntime:OnnxRuntimeBackend"}
    monkeypatch.setattr(BACKENDS, "_table", {**own, **table})
    monkeypatch.setattr(BACKENDS, "names", lambda: tuple(table))  # of the reference, float32 alone
    monkeypatch.setattr(OnnxRuntimeBackend, "tolerances", {})  # the reference has one precision here
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(layers(2, 4), tmp_path / "m.onnx")


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> dict[str, Conversion]:
    """The record of each precision's conversion; all succeed at first."""
    records = {
        name: Conversion(State.SUCCESS, "m", "Quick", "7", name, {}, errors=(SampleError("random", "y", error, 1.0),))
        for name, error in (("float32", 1e-6), ("float16", 1e-3))
    }
    monkeypatch.setattr(measuring, "converted", lambda backend, *_, **__: records[backend.numbers])
    return records


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """Medians that each call of `time_in_turn` gives; those of further calls are of the same candidates."""
    medians: list[list[float]] = []

    def in_turn(actions: Sequence[Callable[[], object]], accuracy: Accuracy, *_: Any) -> list[Timing]:
        for action in actions:
            action()
        taken = medians.pop(0)
        assert len(taken) == len(actions)
        return [Timing(np.full(9, seconds), np.full(9, seconds)) for seconds in taken]

    monkeypatch.setattr(measuring, "time_in_turn", in_turn)
    return medians


def rows(choices: Choices) -> dict[tuple[str, str], Outcome]:
    return {(row.backend, row.precision): row.outcome for row in choices.rows}


def test_candidates_are_installed_can_be_judged_and_compute_on_the_processor() -> None:
    found = [(each.device.backend, each.backend.numbers) for each in candidates(DEVICE)]
    assert found == [("onnxruntime", "float32"), ("quick", "float32"), ("quick", "float16")]
    assert [each.device.precision for each in candidates(DEVICE, "float16")] == ["", "float16"]
    assert [each.device.backend for each in candidates(Device("d", "gpu", backend=AUTO_BACKEND))] == ["onnxruntime"]


def test_what_is_clearly_slower_is_left_out_and_the_fastest_is_taken(
    model: Path, conversions: dict[str, Conversion], timed: list[list[float]]
) -> None:
    timed += [[1.0, 5.0, 0.95], [1.0, 0.6]]
    steps: list[float] = []
    choices = measure_choices(model, DEVICE, progress=lambda step, share: steps.append(share))
    assert rows(choices) == {
        ("onnxruntime", "float32"): Outcome.TIMED,
        ("quick", "float32"): Outcome.SLOWER,
        ("quick", "float16"): Outcome.TIMED,
    }
    assert choices.best() == Choice("quick", "float16", "7", Outcome.TIMED, 0.6, 0.0, 1e-3, None)
    assert choices.best("float32") == choices.rows[0]
    assert load_choices(path_of(model, DEVICE)) == choices
    assert (resolved(DEVICE, model).backend, resolved(DEVICE, model).precision) == ("quick", "float16")
    assert steps == sorted(steps)
    assert steps


def test_of_candidates_as_fast_as_each_other_the_most_exact_is_taken(
    model: Path, conversions: dict[str, Conversion], timed: list[list[float]]
) -> None:
    timed += [[1.0, 1.0, 1.0], [1.0, 1.005, 0.99]]
    best = measure_choices(model, DEVICE).best()
    assert best is not None
    assert (best.backend, best.error) == ("onnxruntime", 0.0)


def test_what_is_wrong_or_cannot_be_converted_is_a_row_with_the_reason(
    model: Path, conversions: dict[str, Conversion], timed: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    conversions["float16"] = Conversion(State.FAILED, "m", "Quick", "7", "float16", {}, reason="wrong outputs")
    timed += [[1.0, 0.5]]
    choices = measure_choices(model, DEVICE)
    assert rows(choices)["quick", "float16"] is Outcome.FAILED
    assert choices.rows[-1].reason == "wrong outputs"

    def refuses(*_: object, **__: object) -> Conversion:
        raise ModelError("no network can be kept away")

    monkeypatch.setattr(measuring, "converted", refuses)
    timed += [[1.0]]
    choices = measure_choices(model, DEVICE, again=True)
    assert [row.reason for row in choices.rows] == ["", *["no network can be kept away"] * 2]
    assert choices.best() == choices.rows[0]


def test_what_was_measured_with_the_installed_versions_is_not_measured_again(
    model: Path, conversions: dict[str, Conversion], timed: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed += [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    first = measure_choices(model, DEVICE)
    assert measure_choices(model, DEVICE) == first
    assert timed == []
    monkeypatch.setattr(Quick, "version", property(lambda self: "8"))
    timed += [[1.0, 0.5, 0.5], [0.5, 0.5]]
    assert {row.version for row in measure_choices(model, DEVICE).rows[1:]} == {"8"}


def test_inputs_are_compared_by_what_is_exact_and_calibrate_what_is_not(
    model: Path, conversions: dict[str, Conversion], timed: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BACKENDS, "_table", {**BACKENDS._table, "rough": f"{__name__}:Rough"})
    monkeypatch.setattr(BACKENDS, "names", lambda: ("quick", "rough"))
    conversions["int8"] = replace(conversions["float32"], precision="int8", agreement=0.98)
    given: dict[str, list[tuple[Path, ...]]] = {}

    def convert(backend: Backend, *_: Any, inputs: Sequence[Path], **__: Any) -> Conversion:
        given.setdefault(backend.numbers, []).append(tuple(inputs))
        return conversions[backend.numbers]

    monkeypatch.setattr(measuring, "converted", convert)
    real = Path("real.npz")
    timed += [[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]] * 2
    measure_choices(model, DEVICE, recalibrated=True, inputs=[real])
    assert given == {"float32": [(real,)], "float16": [(real,)], "int8": [()]}
    measure_choices(model, DEVICE, recalibrated=True)
    assert len(given["int8"]) == 2


def test_what_is_approximate_is_timed_and_taken_only_from_an_agreement(
    model: Path, conversions: dict[str, Conversion], timed: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"onnxruntime": "multiedge.backends.onnxruntime:OnnxRuntimeBackend", "rough": f"{__name__}:Rough"}
    monkeypatch.setattr(BACKENDS, "_table", table)
    monkeypatch.setattr(BACKENDS, "names", lambda: ("rough",))
    conversions["int8"] = replace(conversions["float32"], precision="int8", agreement=0.98)
    timed += [[1.0, 0.1], [1.0, 0.1]]
    choices = measure_choices(model, DEVICE)
    assert [(row.precision, row.is_approximate, row.seconds) for row in choices.rows] == [
        ("float32", False, 1.0),
        ("int8", True, 0.1),
    ]
    assert choices.best() == choices.rows[0]
    assert measure_choices(model, DEVICE, least_agreement=0.99).best() == choices.rows[0]
    assert measure_choices(model, DEVICE, least_agreement=0.97).best() == choices.rows[1]
