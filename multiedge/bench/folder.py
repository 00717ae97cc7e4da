"""The results of a benchmark as a folder: results.json and results.csv with the rows, a table, a picture and a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from multiedge import __version__
from multiedge.bench.figure import STYLE, draw
from multiedge.bench.grid import Case
from multiedge.bench.rows import MEASURES, PLANNED, Row, read_row, row_to_json
from multiedge.bench.summary import TOLERANCE, cells, summarise
from multiedge.bench.tables import counted, to_csv, to_latex, with_interval
from multiedge.files import write_text
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Field, Kind
from multiedge.report.environment import machine
from multiedge.report.graph_svg import standalone
from multiedge.report.plan_text import batch_lines
from multiedge.report.units import human

SCHEMA = "multiedge-bench"
VERSION = 1
ROWS, FILES = "results.json", ("results.csv", "table.tex", "figure.svg", "report.html")
_KIND = Kind("benchmark's results", remedy="give another folder, or --fresh to begin again")
COSTS = "static profile; speed 1 is 60 GFLOP/s and 10 GB/s on every machine"


def suite_of(rows: Sequence[Row]) -> str:
    """The version of the suite that all models and fleets of the rows are of; '' if there is none."""
    versions = {row.suite for row in rows}
    return versions.pop() if len(versions) == 1 else ""


def batches_of(rows: Sequence[Row]) -> list[str]:
    """A line for each model that leaves its batch open: its figures are those of one sample."""
    free = {row.model: row.free_batch for row in rows if row.free_batch}
    return [f"{model}: {line}" for model, names in free.items() for line in batch_lines(names, gives_shapes=False)]


def results_data(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows, summary and origin as JSON data."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "suite": suite_of(rows),
        "costs": COSTS,
        "tolerance": TOLERANCE,
        "machine": machine(),
        "summary": [asdict(standing) for standing in summarise(rows)],
        "rows": [row_to_json(row) for row in rows],
    }


def read_rows(directory: Path) -> list[Row]:
    """The rows that an earlier or interrupted benchmark left in the folder; none if there is no file of rows."""
    path = directory / ROWS
    if not path.exists():
        return []
    data = read_json(path, _KIND)
    if data["schema"].value != SCHEMA or data["version"].value != VERSION:
        raise data.error(f"expected results of `multiedge bench`, version {VERSION}")
    return list(data["rows"].list_of(read_row))


def kept_rows(directory: Path, versions: Iterable[str]) -> list[Row]:
    """The rows in the folder; ConfigError if some are of other package versions than those given, since rows must be
    comparable."""
    rows, known = read_rows(directory), set(versions)
    stale = next((row for row in rows if row.versions not in known), None)
    if stale:
        raise Field(None, str(directory / ROWS), _KIND).error(
            f"its rows are of {stale.versions}; here: {'; '.join(sorted(known))}"
        )
    return rows


def require_same_names(directory: Path, kept: Sequence[Row], cases: Iterable[Case]) -> None:
    """Raises ConfigError if kept rows have the name of a model or fleet that has changed since: one name is one instance."""
    digests = {(kind, name): digest for case in cases for kind, name, digest in case.digests}
    for row in kept:
        for kind, name, digest in (("model", row.model, row.model_digest), ("fleet", row.fleet, row.fleet_digest)):
            if digests.get((kind, name), digest) != digest:
                raise Field(None, str(directory / ROWS), _KIND).error(f"its rows are of another {kind} that is called '{name}'")


def save_rows(directory: Path, rows: Sequence[Row]) -> Path:
    """Replaces the file of rows atomically."""
    return write_text(directory / ROWS, json.dumps(results_data(rows), indent=1, allow_nan=False) + "\n")


def write_all(directory: Path, rows: Sequence[Row]) -> list[Path]:
    """Writes the rows, the table, the picture and the page; the paths."""
    saved = save_rows(directory, rows)
    standings, table = summarise(rows), cells(rows)
    texts = (
        to_csv(rows),
        to_latex(standings, suite_of(rows)),
        standalone(draw(standings, table), STYLE),
        page(rows),
    )
    return [saved, *(write_text(directory / name, text) for name, text in zip(FILES, texts, strict=True))]


def page(rows: Sequence[Row]) -> str:
    """The page's HTML."""
    suite = suite_of(rows)
    environment = Environment(
        loader=PackageLoader("multiedge.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"human": human, "reach": with_interval}
    standings, table = summarise(rows), cells(rows)
    return environment.get_template("bench.html.j2").render(
        title=f"Strategies on suite {suite}" if suite else "Strategies side by side",
        version=__version__,
        suite=suite,
        costs=COSTS,
        measures=MEASURES,
        tolerance=TOLERANCE,
        standings=standings,
        counted=counted(standings),
        figure=draw(standings, table),
        instances=_by_instance(rows),
        refusals=[row for row in rows if row.status != PLANNED],
        rows=rows,
        batches=batches_of(rows),
        versions=sorted({row.versions for row in rows}),
        machine=machine(),
    )


def _by_instance(rows: Sequence[Row]) -> list[tuple[tuple[str, str], Row, list[Any]]]:
    """Each instance with a row of it and its cells."""
    first: dict[tuple[str, str], Row] = {}
    for row in rows:
        first.setdefault(row.instance, row)
    table = cells(rows)
    return [(instance, row, [cell for cell in table if cell.instance == instance]) for instance, row in first.items()]
