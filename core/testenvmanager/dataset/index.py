"""Dataset indexes: which inputs there are, and what is right for each."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from core.common.utils import get_file_format
from multiedge.errors import ConfigError, did_you_mean

Row = list[Any]
"""What an index says of one item: the input first, its label second, then whatever else there is."""

_LABELS = ("label", "y", "target")


def read_rows(path: str, label: str | None = None) -> list[Row]:
    """The rows of an index file; `label` names the label's column in a .csv, .json or .jsonl file.

    Raises ConfigError for a missing or damaged file, or one that has no such column.
    """
    reader = _READERS[get_file_format(path)]
    try:
        return reader(path, label)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such dataset index (looked from {os.getcwd()})") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: the dataset index cannot be read: {error}") from error


def _read_txt(path: str, label: str | None) -> list[Row]:
    """Words separated by spaces. If any first word is a relative path, every word of every line becomes an absolute
    path under the index's folder, label included: Ianvs does so, and metrics take the label's last path component."""
    with open(path, encoding="utf-8") as file:
        rows = [line.split() for line in file if line.strip()]
    if any(not os.path.isabs(row[0]) for row in rows):
        folder = os.path.dirname(path)
        return [[os.path.abspath(os.path.join(folder, word)) for word in row] for row in rows]
    return [list(row) for row in rows]


def _read_csv(path: str, label: str | None) -> list[Row]:
    with open(path, encoding="utf-8", newline="") as file:
        return _from_records(list(csv.DictReader(file)), path, label)


def _read_json(path: str, label: str | None) -> list[Row]:
    with open(path, encoding="utf-8") as file:
        return _from_records(json.load(file), path, label)


def _read_jsonl(path: str, label: str | None) -> list[Row]:
    with open(path, encoding="utf-8") as file:
        return _from_records([json.loads(line) for line in file if line.strip()], path, label)


_READERS: dict[str, Callable[[str, str | None], list[Row]]] = {
    "txt": _read_txt,
    "csv": _read_csv,
    "json": _read_json,
    "jsonl": _read_jsonl,
}
FORMATS = tuple(_READERS)


def _from_records(records: object, path: str, label: str | None) -> list[Row]:
    """Rows of records with named fields: the first field that is not the label is the input."""
    if not isinstance(records, list) or not all(isinstance(record, dict) and record for record in records):
        raise ConfigError(f"{path}: expected a list of records with named fields")
    return [_row(record, path, label) for record in records]


def _row(record: dict[str, Any], path: str, label: str | None) -> Row:
    named = _label_of(record, path, label)
    words = [_resolved(value, path) for key, value in record.items() if key != named]
    if not words:
        raise ConfigError(f"{path}: a record holds nothing but its label '{named}'")
    return [words[0], *([] if named is None else [record[named]]), *words[1:]]


def _label_of(record: Iterable[str], path: str, label: str | None) -> str | None:
    if label:
        if label not in record:
            raise ConfigError(f"{path}: a record has no field '{label}'{did_you_mean(label, record)}")
        return label
    return next((name for name in _LABELS if name in record), None)


def _resolved(value: Any, path: str) -> Any:
    """The absolute path of a file that lies under the index's folder; anything else as it is."""
    candidate = os.path.abspath(os.path.join(os.path.dirname(path), value)) if isinstance(value, str) and value else ""
    return candidate if candidate and os.path.exists(candidate) else value
