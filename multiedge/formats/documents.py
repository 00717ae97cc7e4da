"""Loading of JSON and YAML, safe and bounded: what cannot be read is an error of one line, with the place."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import yaml

from multiedge.errors import MultiedgeError, describe, lower_first, no_such
from multiedge.formats.fields import ANY_FILE, MAX_DEPTH, Field, Kind
from multiedge.quantity import human_bytes

MAX_YAML_BYTES = 16 << 20
MAX_JSON_BYTES = 1 << 30
MAX_YAML_NODES = 1_000_000
"""The most values in a YAML text, with each alias counted as a copy of its value."""

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


def read_yaml(path: PathLike, kind: Kind = ANY_FILE) -> Field:
    """The content of a YAML file, by the safe loader; the kind's error, one line, if it cannot be read."""
    return parse_yaml(read_text(path, kind, MAX_YAML_BYTES), str(path), kind)


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


def parse_yaml(text: str, place: str, kind: Kind = ANY_FILE) -> Field:
    """The value that a YAML text holds, by the safe loader; `place` begins every error."""
    try:
        return Field(_construct(text), place, kind)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{place}:{mark.line + 1}" if mark else place
        raise _error(kind, where, f"not valid yaml: {_problem_of(error)}") from None
    except RecursionError:
        raise _error(kind, place, "not valid yaml: nested too deeply") from None


def _construct(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count_values(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """The safe loader; a scalar that looks like a number or a date and is none is an error with its line."""

    def fetch_flow_collection_start(self, kind: Any) -> None:
        # The scanner looks at every open bracket for each token: thousands of them take minutes.
        if self.flow_level >= MAX_DEPTH:
            raise RecursionError
        super().fetch_flow_collection_start(kind)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError):
            raise _problem(node, f"{describe(node.value)} is not a valid {node.tag.rpartition(':')[2]}") from None


def _count_values(node: yaml.Node, counts: dict[yaml.Node, int]) -> int:
    """How many values `node` holds, aliases counted as copies; an error if they are too many or a key stands twice."""
    if node in counts:
        if not counts[node]:
            raise _problem(node, "a value holds itself by an alias")
        return counts[node]
    counts[node] = 0
    count = 1 + sum(_count_values(child, counts) for child in _children(node))
    if count > MAX_YAML_NODES:
        raise _problem(node, f"more than {MAX_YAML_NODES} values, aliases counted as copies")
    counts[node] = count
    return count


def _children(node: yaml.Node) -> list[yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return node.value if isinstance(node, yaml.SequenceNode) else []
    keys: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in keys:
                raise _problem(key, f"the key {describe(key.value)} is given twice in one mapping")
            keys.add((key.tag, key.value))
    return [child for pair in node.value for child in pair]


def _problem(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _problem_of(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"the character {chr(error.character)!r} is not allowed"
    return str(getattr(error, "problem", None) or "the text has no YAML structure")


def _error(kind: Kind, place: str, message: str) -> MultiedgeError:
    return Field(None, place, kind).error(message)
