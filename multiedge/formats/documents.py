"""Loading of JSON and YAML, safe and bounded: what cannot be read is an error of one line, with the place."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

from multiedge.errors import MultiedgeError, lower_first, no_such
from multiedge.formats.fields import ANY_FILE, Field, Keys, Kind
from multiedge.quantity import human_bytes

MAX_YAML_BYTES = 16 << 20
MAX_JSON_BYTES = 1 << 30

PathLike = str | os.PathLike[str]


def read_text(path: PathLike, kind: Kind = ANY_FILE, most_bytes: int = MAX_JSON_BYTES) -> str:
    """The content of a text file in UTF-8, with '\\n' for every line end; the kind's error, one line, if it has none."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise _error(kind, str(path), f"is {what}; expected a {kind.name}")
        if status.st_size > most_bytes:
            raise _error(kind, str(path), f"expected at most {human_bytes(most_bytes)}, got {human_bytes(status.st_size)}")
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise kind.error(no_such(path, kind.name) + (f"; {kind.source}" if kind.source else "")) from None
    except OSError as error:
        raise kind.error(f"{path}: cannot be read: {lower_first(error.strerror or 'unknown reason')}") from None
    except UnicodeDecodeError as error:
        raise _error(kind, str(path), f"expected text in UTF-8; byte {error.start} is not") from None
    except ValueError:
        raise kind.error(f"{str(path)!r}: a path cannot hold a null character") from None


def read_json(path: PathLike, kind: Kind = ANY_FILE) -> Field:
    """The content of a JSON file; the kind's error, one line, if it cannot be read."""
    return parse_json(read_text(path, kind, MAX_JSON_BYTES), str(path), kind)


def read_yaml(path: PathLike, kind: Kind = ANY_FILE, *, with_lines: bool = False) -> Field:
    """The content of a YAML file, by the safe loader; the kind's error, one line, if it cannot be read. `with_lines` is that of
    `parse_yaml`."""
    return parse_yaml(read_text(path, kind, MAX_YAML_BYTES), str(path), kind, with_lines=with_lines)


def parse_json(text: str | bytes, place: str, kind: Kind = ANY_FILE) -> Field:
    """The value that a JSON text holds; `place` begins every error."""
    try:
        return Field(json.loads(text), place, kind)
    except json.JSONDecodeError as error:
        where = f"{place}:{error.lineno}" if "\n" in error.doc.strip() else place
        raise _error(kind, where, f"not valid JSON: {lower_first(error.msg)} at column {error.colno}") from None
    except UnicodeDecodeError as error:
        raise _error(kind, place, f"not valid JSON: byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise _error(kind, place, "not valid JSON: nested too deeply") from None
    except ValueError:  # Python limits the digits of a whole number.
        raise _error(kind, place, "not valid JSON: a number has too many digits") from None


def parse_yaml(text: str, place: str, kind: Kind = ANY_FILE, *, with_lines: bool = False) -> Field:
    """The value that a YAML text holds, by the safe loader; `place` begins every error, with the line of the value behind it if
    `with_lines`."""
    import yaml

    from multiedge.formats.yaml_text import construct, problem_of

    lines: dict[Keys, int] | None = {} if with_lines else None
    try:
        value = construct(text, lines)
        return Field(value, place, replace(kind, lines=lines) if lines else kind)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{place}:{mark.line + 1}" if mark else place
        raise _error(kind, where, f"not valid yaml: {problem_of(error)}") from None
    except RecursionError:
        raise _error(kind, place, "not valid yaml: nested too deeply") from None


def _error(kind: Kind, place: str, message: str) -> MultiedgeError:
    return Field(None, place, kind).error(message)
