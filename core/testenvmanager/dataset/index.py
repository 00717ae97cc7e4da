"""Dataset indexes: the inputs and their labels."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from typing import Any

from core.common.utils import get_file_format
from multiedge.errors import ConfigError, did_you_mean
from multiedge.formats.documents import parse_json, read_json, read_text
from multiedge.formats.fields import Field, Kind

Row = list[Any]
"""One item of an index: the input, then its label, then any other values."""

_INDEX = Kind("dataset index")
_LABELS = ("label", "y", "target")


def read_rows(path: str, label: str | None = None) -> list[Row]:
    """The rows of an index file; `label` names the label's column in a .csv, .json or .jsonl file.

    Raises ConfigError for a missing or damaged file, or one that has no such column.
    """
    return _READERS[get_file_format(path)](path, label)


def _read_txt(path: str, label: str | None) -> list[Row]:
    """Words separated by spaces. If any first word is a relative path, every word of every line becomes an absolute
    path under the index's folder, label included: Ianvs does so, and metrics take the label's last path component."""
    rows = [line.split() for line in read_text(path, _INDEX).split("\n") if line.strip()]
    if any(not os.path.isabs(row[0]) for row in rows):
        folder = os.path.dirname(path)
        return [[os.path.abspath(os.path.join(folder, word)) for word in row] for row in rows]
    return [list(row) for row in rows]


def _read_csv(path: str, label: str | None) -> list[Row]:
    reader = csv.reader(io.StringIO(read_text(path, _INDEX)))
    try:
        # Places count lines, not records: a quoted value may hold line ends.
        lines = [(reader.line_num, line) for line in reader if line]
    except csv.Error as error:
        raise ConfigError(f"{path}:{reader.line_num}: not valid CSV: {error}") from None
    header = lines[0][1] if lines else []
    return [_row(_csv_record(header, line, f"{path}:{number}"), path, label) for number, line in lines[1:]]


def _csv_record(header: Sequence[str], line: Sequence[str], place: str) -> Field:
    if len(line) != len(header):
        raise ConfigError(f"{place}: expected {len(header)} values as the header names, got {len(line)}")
    return Field(dict(zip(header, line, strict=True)), place, _INDEX)


def _read_json(path: str, label: str | None) -> list[Row]:
    return [_row(record, path, label) for record in read_json(path, _INDEX).items()]


def _read_jsonl(path: str, label: str | None) -> list[Row]:
    lines = enumerate(read_text(path, _INDEX).split("\n"), 1)
    return [_row(parse_json(line, f"{path}:{number}", _INDEX), path, label) for number, line in lines if line.strip()]


_READERS: dict[str, Callable[[str, str | None], list[Row]]] = {
    "txt": _read_txt,
    "csv": _read_csv,
    "json": _read_json,
    "jsonl": _read_jsonl,
}
FORMATS = tuple(_READERS)


def _row(record: Field, path: str, label: str | None) -> Row:
    """The values of a record with named fields: the first that is not the label is the input."""
    fields = record.mapping()
    label_name = _label_of(record, label)
    values = [_resolved(field.value, path) for name, field in fields.items() if name != label_name]
    if not values:
        raise record.expected("a record with a value beside the label")
    return [values[0], *([] if label_name is None else [fields[label_name].value]), *values[1:]]


def _label_of(record: Field, label: str | None) -> str | None:
    if label and label not in record:
        raise record.error(f"no field '{label}'{did_you_mean(label, record.mapping())}")
    return label or next((name for name in _LABELS if name in record), None)


def _resolved(value: Any, path: str) -> Any:
    """The absolute path of a file that lies under the index's folder; anything else as it is."""
    candidate = os.path.abspath(os.path.join(os.path.dirname(path), value)) if isinstance(value, str) and value else ""
    return candidate if candidate and os.path.exists(candidate) else value
