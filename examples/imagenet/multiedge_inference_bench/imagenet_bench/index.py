"""Dataset indexes in Ianvs's form: one line per picture, its path and its class, separated by a space."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from multiedge.errors import ConfigError
from multiedge.files import write_text


def write_index(path: Path, rows: Iterable[tuple[str, int]]) -> int:
    """How many rows were written. Paths are relative to the index, so the folder can be moved as a whole."""
    lines = [f"{picture} {label}\n" for picture, label in rows]
    write_text(path, "".join(lines))
    return len(lines)


def read_index(path: Path) -> list[tuple[Path, int]]:
    """(picture, class) of every line; ConfigError that names the first invalid line."""
    if not path.is_file():
        raise ConfigError(f"{path}: expected a dataset index, found no file; run prepare.py first")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        picture, _, label = line.rpartition(" ")
        if not picture or not label.isdigit():
            raise ConfigError(f"{path}:{number}: expected 'PICTURE CLASS', got {line!r}")
        rows.append((path.parent / picture, int(label)))
    if not rows:
        raise ConfigError(f"{path}: expected at least one picture, got an empty index")
    return rows


def class_of(label: object) -> int:
    """The class in a label as the host passes it; a host that makes every word of a relative index an absolute
    path turns class 3 into '/abs/dir/3'."""
    return int(str(label).rpartition("/")[2])
