"""`multiedge convert`: models and parts for another runtime, with proof that their outputs are right."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multiedge.backends.contract import Backend
from multiedge.backends.conversion.footprint import peak_bytes
from multiedge.backends.conversion.ready import converted, folder_of
from multiedge.backends.conversion.record import Conversion, State, conversion_to_json
from multiedge.backends.stages import CONVERTED, load_backend
from multiedge.commands import _choosing, _options
from multiedge.commands._calibrating import keep_given
from multiedge.commands._reporting import Told, conversion_report, task_of, task_of_chosen, task_of_opened
from multiedge.commands._terminal import Column, new_console, print_columns, print_line, share_bar
from multiedge.errors import ConfigError, ModelError, no_such
from multiedge.fleet import REFERENCE_BACKEND
from multiedge.onnx_io import read_manifest
from multiedge.onnx_io.inputs import random_feed
from multiedge.onnx_io.items import npz_files
from multiedge.onnx_io.reader import declared_graph
from multiedge.quantity import counted, human_bytes

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Converted:
    """One part with its record. Memory is the peak of a process with the runtime; None where it is not known."""

    part: Path
    folder: Path
    record: Conversion
    peak_bytes: int | None = None
    reference_bytes: int | None = None


def run(args: argparse.Namespace) -> int:
    """0 if every part was converted and gives the right outputs, otherwise 1."""
    for option in ("devices", "min_agreement", "type"):
        _options.require_with(args, option, "auto")
    with conversion_report(args.report) as report:
        if args.auto:
            chosen = _choosing.measured(args)
            report(task_of_chosen(chosen[0]))
            return 0 if all(each.best() for each in chosen) else 1
        return _run(args, report)


def _run(args: argparse.Namespace, report: Told) -> int:
    flags = {} if args.precision is None else {"precision": args.precision}
    backend = load_backend(args.backend, _options.with_own(flags, args.option))
    parts = parts_of(Path(args.model))
    if args.report and ".onnx" in backend.formats:  # a user of Kubernetes names any runtime
        report(task_of_opened(args.backend, backend, parts[0]))
        return 0
    results = _converted(args, backend, parts)
    report(task_of(args.backend, [each.record for each in results], _first_file(results[0])))
    return 0 if all(each.record.state is State.SUCCESS for each in results) else 1


def _first_file(result: Converted) -> Path:
    """What is opened of a part that was converted; its folder where that failed."""
    return result.folder / next(iter(result.record.artefact), "")


def _converted(args: argparse.Namespace, backend: Backend, parts: Sequence[Path]) -> list[Converted]:
    """Converts, and prints what came of it."""
    require_convertible(args, backend)
    if args.inputs and backend.is_approximate:
        keep_given(args)
    results = []
    with share_bar(f"converting {Path(args.model).name} for {args.backend}") as progress:
        for number, part in enumerate(parts):
            progress(f"{number + 1} of {len(parts)}", number / len(parts))
            results.append(convert(backend, part, args))
    if args.json:
        print(json.dumps([_data(each) for each in results], indent=1))
    else:
        show(f"{Path(args.model).name} for {args.backend} {backend.version}, {backend.numbers}", results, new_console())
    return results


def parts_of(path: Path) -> list[Path]:
    """The file itself, or the parts of the plan in a folder, each file once."""
    if path.is_dir():
        return [path / name for name in dict.fromkeys(part.file for part in read_manifest(path).parts)]
    if not path.is_file():
        raise ModelError(no_such(path, "model file"))
    return [path]


def require_convertible(args: argparse.Namespace, backend: Backend) -> None:
    """ConfigError for a backend that converts nothing or compares nothing, and as `_choosing.require_usable`."""
    if backend.opens(Path("model.onnx")):
        raise ConfigError(f"--backend {args.backend}: opens .onnx files itself, so there is nothing to convert")
    if not backend.tolerances and not backend.is_approximate:
        raise ConfigError(f"--backend {args.backend}: states no tolerances, so its outputs cannot be judged")
    _options.require_with(args, "labels", "inputs")
    if args.labels and not backend.is_approximate:
        raise ConfigError(
            f"--labels: accuracy is measured of approximate precisions, and {backend.numbers} is none; leave it out"
        )
    _choosing.require_usable(args, takes_parts_inputs=backend.is_approximate)


def convert(backend: Backend, part: Path, args: argparse.Namespace) -> Converted:
    keep = part.parent / CONVERTED
    # An approximate precision is compared on the inputs that are kept beside the part.
    given = [] if backend.is_approximate else [path for place in args.inputs for path in npz_files(Path(place))]
    record = converted(backend, part, keep, again=args.again, inputs=given, limit_s=args.limit)
    folder = folder_of(backend, part, keep)
    if record.state is not State.SUCCESS:
        return Converted(part, folder, record)
    return Converted(part, folder, record, *_memory(backend, folder / next(iter(record.artefact)), part))


def _memory(backend: Backend, path: Path, part: Path) -> tuple[int | None, int | None]:
    """What a process takes with the converted file, and with the part in the reference backend."""
    inputs = random_feed(declared_graph(part))
    if not all(isinstance(value, np.ndarray) and not value.dtype.hasobject for value in inputs.values()):
        return None, None
    return peak_bytes(backend, path, inputs), peak_bytes(load_backend(REFERENCE_BACKEND), part, inputs)


def _data(result: Converted) -> dict[str, Any]:
    return {
        **conversion_to_json(result.record),
        "folder": str(result.folder),
        "peak_bytes": result.peak_bytes,
        "reference_peak_bytes": result.reference_bytes,
    }


def show(title: str, results: Sequence[Converted], console: Console) -> None:
    """Prints a table of the parts, what its columns are, and why parts have failed."""
    records = [each.record for each in results]
    columns = [
        Column("part", [each.part.name for each in results], is_number=False),
        Column("state", [record.state.value for record in records], is_number=False),
        Column("error", [_figure(record.worst_error, ".2g") for record in records]),
        Column("agreement", [_figure(record.agreement, ".1%") for record in records], leaves=1),
        *_accuracies(records),
        Column("latency", [_figure(record.latency_ratio, ".2f") for record in records]),
        Column("memory", [_bytes(each.peak_bytes) for each in results]),
        Column(f"of {REFERENCE_BACKEND}", [_bytes(each.reference_bytes) for each in results], leaves=2),
    ]
    print_columns(console, title, columns)
    compared = [record for record in records if record.errors]
    if compared:
        _show_meaning(compared[0], console)
    for result in results:
        if result.record.reason:
            print_line(console, result.record.reason, style="red")
    if any(record.state is State.SUCCESS for record in records):
        print_line(console, f"kept in {results[0].folder.parent}")


def _accuracies(records: Sequence[Conversion]) -> list[Column]:
    """The accuracy and that of the reference, where it was measured of a part."""
    if all(record.accuracy is None for record in records):
        return []
    pairs = [f"{_figure(record.accuracy, '.1%')} of {_figure(record.reference_accuracy, '.1%')}" for record in records]
    return [Column("accuracy", pairs)]


def _show_meaning(first: Conversion, console: Console) -> None:
    """Prints what the figures are relative to."""
    samples = counted(len(first.errors), "input" if first.inputs else "sample")
    judged = "judged by agreement" if first.tolerance is None else f"tolerance {first.tolerance:g}"
    print_line(console, f"error: largest difference from {REFERENCE_BACKEND} over the largest value, in {samples}; {judged}")
    print_line(console, f"latency: one run with one thread over that of {REFERENCE_BACKEND}; memory: peak of a process with it")


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _bytes(value: int | None) -> str:
    return "-" if value is None else human_bytes(value)
