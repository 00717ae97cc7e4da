"""What a benchmark measured, as a value: kept as JSON in benchmarks/results/, shown as tables in docs/benchmarks.md."""

from __future__ import annotations

import datetime
import json
import statistics
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from multiedge.report import environment

SCHEMA = "multiedge-benchmark/1"
RESULTS = Path(__file__).resolve().parent / "results"
OTHER_PACKAGES = ("onnx-ir", "protobuf", "grpcio")
"""Versions that matter for a comparison and not for a run of this library."""

Case = Mapping[str, "str | int"]


@dataclass(frozen=True)
class Measure:
    """One measured quantity: its unit ("1" for a ratio or a count) and what it says."""

    unit: str
    what: str


@dataclass(frozen=True)
class Figure:
    """Median over the samples, and its spread: the quartiles. None where the spread is not known."""

    median: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, samples: Iterable[float]) -> Figure:
        """The figure of one or more samples; one sample has no spread."""
        values = list(samples)
        if len(values) == 1:
            return cls(values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True)
class Row:
    """The figures of one case, by their measure. What was not measured is absent; `failure` says why nothing was. `details`
    is JSON data that tables do not show, such as a placement."""

    case: Case
    figures: Mapping[str, Figure] = field(default_factory=dict)
    failure: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def median(self, measure: str) -> float | None:
        """The median of this measure; None if it was not measured."""
        figure = self.figures.get(measure)
        return None if figure is None else figure.median


@dataclass(frozen=True)
class Origin:
    """When, on which commit and machine, and with which versions a benchmark ran. `commit` is None if it was not recorded."""

    date: str
    commit: str | None
    machine: Mapping[str, str | int]
    versions: Mapping[str, str]

    @classmethod
    def here(cls) -> Origin:
        """This day, checkout, machine and environment."""
        machine = environment.machine()
        machine["memory_gib"] = round(machine.pop("memory_bytes") / 2**30)
        return cls(datetime.date.today().isoformat(), environment.commit(), machine, _versions())


def _versions() -> dict[str, str]:
    versions = environment.versions()
    for name in OTHER_PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True)
class Record:
    """One run of one benchmark. `seconds` is how long the whole run took, None if that was not recorded."""

    benchmark: str
    settings: Mapping[str, str | int]
    seconds: float | None
    origin: Origin
    measures: Mapping[str, Measure]
    rows: Sequence[Row]

    def row(self, **case: str | int) -> Row:
        """The row of this case; LookupError if there is none."""
        for row in self.rows:
            if case.items() <= row.case.items():
                return row
        raise LookupError(f"benchmark '{self.benchmark}' has no row for {case}")


def read(path: Path) -> Record:
    """The record in a file. ValueError, which names the file, if it is none or its rows do not fit its measures."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("schema") != SCHEMA:
            raise ValueError(f"expected the schema '{SCHEMA}'")
        record = Record(
            **{
                **data,
                "origin": Origin(**data["origin"]),
                "measures": {name: Measure(**measure) for name, measure in data["measures"].items()},
                "rows": [_row(row) for row in data["rows"]],
            }
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path.name}: no record of a benchmark: {error}") from error
    unknown = sorted({name for row in record.rows for name in row.figures} - set(record.measures))
    if unknown:
        raise ValueError(f"{path.name}: rows have figures without a measure: {', '.join(unknown)}")
    return record


def _row(data: dict[str, Any]) -> Row:
    figures = {name: Figure(**figure) for name, figure in data.pop("figures", {}).items()}
    return Row(figures=figures, **data)


def write(record: Record, path: Path) -> None:
    """Writes the record, one row per line."""
    data = {"schema": SCHEMA, **asdict(record)}
    rows = [json.dumps(_compact(row), ensure_ascii=False) for row in data.pop("rows")]
    head = json.dumps(data, indent=1, ensure_ascii=False).removesuffix("\n}")
    path.write_text(f"{head},\n" + ' "rows": [\n  ' + ",\n  ".join(rows) + "\n ]\n}\n", encoding="utf-8")


def _compact(row: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty, and with five significant digits."""
    figures = {
        name: {key: _rounded(value) for key, value in figure.items() if value is not None}
        for name, figure in row["figures"].items()
    }
    return {key: value for key, value in {**row, "figures": figures}.items() if value}


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.5g}")


def add_option(parser: ArgumentParser) -> None:
    """The option that all benchmarks have: where their record goes."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
