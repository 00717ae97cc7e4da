"""Every runtime that is installed, in each of its precisions: error, agreement, time and memory beside onnxruntime.

    python benchmarks/backends.py [MODEL ...] [--budget-s 20] [--keep DIR] [--json FILE]

Each model is taken as a whole and as the middle one of three parts of equal work. A conversion that does not pass the gate is
listed with its reason. Latencies are those of one thread, all runtimes of a model in turn; memory is the peak of a process with
the model that runs it once. The whole models answer twenty photographs of ImageNet where the package foolbox is installed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples" / "imagenet" / "multiedge_inference_bench"))

import numpy as np

from benchmarks.models import path_of
from benchmarks.page import Benchmark
from benchmarks.record import Figure, Measure, Record, Row, add_option
from benchmarks.tables import between, case, figure, table
from multiedge.backends import BACKENDS
from multiedge.backends.contract import Backend, Session, Tensors
from multiedge.backends.conversion.footprint import peak_bytes
from multiedge.backends.conversion.gate import relative_error
from multiedge.backends.conversion.ready import converted
from multiedge.backends.stages import CONVERTED, load_backend, open_part, openable
from multiedge.backends.timing import Accuracy, time_in_turn
from multiedge.errors import MultiedgeError, one_line
from multiedge.fleet import REFERENCE_BACKEND, Device, Fleet
from multiedge.onnx_io import random_inputs, read_graph, write_parts
from multiedge.onnx_io.reader import declared_graph
from multiedge.run import plan_model, profile_model

MODELS = ("vit_b16", "efficientnet_lite0", "squeezenet")
WHOLE, PART = "whole", "part 2"
TRAINED = "efficientnet_lite0"
"""Has the weights with which photographs are classified."""


@dataclass(frozen=True)
class Variant:
    """A backend with the options of one precision; `failure` is why it cannot run here."""

    name: str
    precision: str
    backend: Backend | None
    failure: str = ""

    def case(self, model: str, cut: str) -> Mapping[str, str]:
        return {"model": model, "cut": cut, "backend": self.name, "precision": self.precision}


def variants() -> list[Variant]:
    """The reference first, then each registered backend that opens models, once for each precision that it can be told."""
    made: list[Variant] = []
    for name in sorted(BACKENDS.names(), key=lambda name: name != REFERENCE_BACKEND):
        plain = load_backend(name)
        if ".onnx" not in plain.formats and not plain.tolerances:
            continue
        can_choose = any(each.name == "precision" for each in fields(plain))
        for precision in plain.precisions if can_choose else plain.precisions[:1]:
            made.append(_variant(name, precision, {"precision": precision} if can_choose else {}))
    return made


def _variant(name: str, precision: str, options: Mapping[str, Any]) -> Variant:
    try:
        backend = load_backend(name, options)
        _ = backend.version
    except (MultiedgeError, ImportError) as error:
        return Variant(name, precision, None, one_line(error))
    return Variant(name, precision, backend)


def measure(models: Sequence[str], keep: Path, budget_s: float) -> list[Row]:
    """A row for each model, cut, backend and precision."""
    rows: list[Row] = []
    for model in models:
        for cut, path in _cuts(path_of(model), keep / model):
            print(f"{model}, {cut}", file=sys.stderr, flush=True)
            pictures = photographs(keep) if cut == WHOLE else []
            rows += rows_of(model, cut, path, pictures, budget_s)
    return rows


def _cuts(path: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """The model, and its middle part of three."""
    graph = read_graph(path)
    fleet = Fleet(tuple(Device(f"d{number}", speed=1.0) for number in range(3)))
    plan = plan_model(profile_model(graph, fleet), fleet, "equal_flops")
    parts = write_parts(graph, plan, folder / "parts")
    whole = folder / "model.onnx"
    if not whole.exists():
        shutil.copyfile(path, whole)
    yield WHOLE, whole
    yield PART, folder / "parts" / parts.parts[1].file


def photographs(keep: Path) -> list[tuple[Any, int]]:
    """(1, 3, 224, 224) and class of each photograph; none where the packages are missing."""
    try:
        index, pictures, preprocess = (import_module(f"imagenet_bench.{name}") for name in ("index", "pictures", "preprocess"))
        listed = pictures.prepare_pictures(keep / "pictures")
    except (ImportError, MultiedgeError):
        return []
    return [(preprocess.read_picture(path), label) for path, label in index.read_index(listed)]


def rows_of(model: str, cut: str, path: Path, pictures: Sequence[tuple[Any, int]], budget_s: float) -> list[Row]:
    """The rows of one model: what each variant answers and takes, all in turn."""
    inputs = random_inputs(declared_graph(path))
    rows: dict[Variant, Row] = {}
    with ExitStack() as opened:
        sessions: dict[Variant, Session] = {}
        for variant in variants():
            try:
                row, session = _opened(variant, model, cut, path)
            except MultiedgeError as error:
                row, session = Row(variant.case(model, cut), failure=one_line(error)), None
            rows[variant] = row
            if session is not None:
                opened.callback(session.close)
                sessions[variant] = session
        answers = {variant: _answers(session, pictures) for variant, session in sessions.items()}
        runs = [_run(session, inputs) for session in sessions.values()]
        timings = time_in_turn(runs, Accuracy(relative=0.01, budget_s=budget_s, least=7, most=200, warmup=2))
    reference = next(iter(sessions))
    base_s = timings[0].median_s
    for variant, timing in zip(sessions, timings, strict=True):
        figures = {
            **rows[variant].figures,
            **_of_pictures(model, answers[variant], answers[reference], pictures),
            "latency_s": Figure.of(timing.wall_s.tolist()),
            "ratio": Figure(timing.median_s / base_s),
            **_memory(variant, path, inputs),
        }
        rows[variant] = replace(rows[variant], figures=figures)
    return list(rows.values())


def _run(session: Session, inputs: Tensors) -> Any:
    return lambda: session.run(inputs)


def _opened(variant: Variant, model: str, cut: str, path: Path) -> tuple[Row, Session | None]:
    """The row with what the gate has found, and a session if it has passed."""
    row = Row(variant.case(model, cut))
    if variant.backend is None:
        return replace(row, failure=variant.failure), None
    keep = path.parent / CONVERTED
    if openable_itself(variant.backend, path):
        return row, open_part(variant.backend, path, keep=keep)
    record = converted(variant.backend, path, keep)
    known = {"error": record.worst_error, "agreement": record.agreement}
    row = replace(
        row, figures={name: Figure(value) for name, value in known.items() if value is not None and np.isfinite(value)}
    )
    if record.reason:
        return replace(row, failure=record.reason.removeprefix(f"{path}: ")), None
    return row, open_part(variant.backend, path, keep=keep)


def openable_itself(backend: Backend, path: Path) -> bool:
    """Whether the backend opens the file as it is."""
    return path.suffix in backend.formats and openable(backend, path) == path


def _answers(session: Session, pictures: Sequence[tuple[Any, int]]) -> list[Any]:
    return [session.run({session.inputs[0]: picture})[session.outputs[0]] for picture, _ in pictures]


def _of_pictures(
    model: str, answers: Sequence[Any], expected: Sequence[Any], pictures: Sequence[tuple[Any, int]]
) -> dict[str, Figure]:
    """Agreement and error on photographs, and how many are classified rightly."""
    if not pictures:
        return {}
    classes = [int(answer.argmax()) for answer in answers]
    same = [one == int(other.argmax()) for one, other in zip(classes, expected, strict=True)]
    errors = [relative_error(other, answer) for answer, other in zip(answers, expected, strict=True)]
    figures = {"agreement": Figure(sum(same) / len(same)), "picture_error": Figure(max(errors))}
    if model == TRAINED:
        figures["right"] = Figure(sum(one == label for one, (_, label) in zip(classes, pictures, strict=True)))
    return figures


def _memory(variant: Variant, path: Path, inputs: Tensors) -> dict[str, Figure]:
    assert variant.backend is not None
    peak = peak_bytes(variant.backend, openable(variant.backend, path), inputs)
    return {} if peak is None else {"peak_bytes": Figure(peak)}


def section(record: Record) -> str:
    """What the record says, and its table."""
    shown = [row for row in record.rows if not row.failure]
    others = [row for row in shown if row.case["backend"] != REFERENCE_BACKEND and row.case["precision"] == "float32"]
    ratios = [ratio for row in others if (ratio := row.median("ratio")) is not None]
    right = [count for row in others if (count := row.median("right")) is not None]
    names = sorted({str(row.case["backend"]) for row in shown})
    columns = [
        case("model"),
        case("cut"),
        case("backend"),
        case("precision"),
        figure("error", "error", ".1e"),
        figure("agreement", "agree, %", ".0f", 100),
        figure("ratio", "latency", ".2f"),
        figure("peak_bytes", "MiB", ".0f", 2.0**-20),
        figure("right", "right", ".0f"),
    ]
    took = f": in float32 one run takes {between(ratios, '.2f')} times as long as in {REFERENCE_BACKEND}" if ratios else ""
    answered = f" Of 20 photographs EfficientNet-Lite0 gets {between(right, '.0f')} right." if right else ""
    return (
        f"{', '.join(names)}{took}.{answered}\n\n"
        "Error: the largest difference over the largest expected value in the samples of the gate. Agreement: the share of"
        " photographs with the same class as in onnxruntime; of a part, of rows whose largest value is in the same place."
        f" Latency: over that of {REFERENCE_BACKEND} in float32, with one thread. MiB: the peak of the processes of one"
        f" run.\n\n{table(columns, shown)}"
    )


BENCHMARK = Benchmark(
    "backends",
    "Runtimes in each precision",
    {
        "error": Measure("1", "largest relative error in the samples of the gate"),
        "agreement": Measure("1", "share of photographs, or of rows of samples, whose largest value is in the same place"),
        "picture_error": Measure("1", "largest relative error on the photographs"),
        "latency_s": Measure("s", "wall time of one run with one thread"),
        "ratio": Measure("1", "median latency over that of onnxruntime in float32"),
        "peak_bytes": Measure("B", "VmHWM of a process that opens the model and runs it once"),
        "right": Measure("1", "photographs of 20 that are classified rightly"),
    },
    section,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"ONNX files or names (default: {' '.join(MODELS)})")
    parser.add_argument(
        "--budget-s", type=float, default=20.0, help="seconds for the timing of each model (default: %(default)g)"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep parts and conversions in this folder")
    add_option(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="multiedge-backends-") as folder:
        keep = args.keep or Path(folder)
        settings: dict[str, str | int] = {"budget_s": f"{args.budget_s:g}", "threads": 1}
        return BENCHMARK.finish(settings, lambda: measure(args.models, keep, args.budget_s), args.json)


if __name__ == "__main__":
    sys.exit(main())
