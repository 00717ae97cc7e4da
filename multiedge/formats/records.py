"""Dataclasses as JSON, and back: what their types say is what a reader expects of each field."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from multiedge.formats.fields import Field, Kind

Message = TypeVar("Message")
_Read = Callable[[Field], Any]


@cache
def reader_of(kind: Any, *, uses_defaults: bool = False, finite: bool = False) -> _Read:
    """What reads a value of a type from a Field: the inverse of `dataclasses.asdict` and JSON.

    Args:
        kind: A dataclass, `str`, `int`, `float`, `bool`, `Any`, an Enum of words, a Literal of words, `X | None`,
            `tuple[X, ...]` or a mapping from texts to X.
        uses_defaults: Whether a field may be missing where its dataclass has a default; a message of another version may
            lack it. Otherwise every field must be there.
        finite: Whether numbers must be finite.

    Returns:
        A function of a Field, which raises the error of the Field's kind with the place of what is wrong.
    """

    def inner(of: Any) -> _Read:
        return reader_of(of, uses_defaults=uses_defaults, finite=finite)

    if kind is float:
        return lambda field: field.number(finite=finite)
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if is_dataclass(kind):
        return _record_reader(kind, inner, uses_defaults)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return lambda field: field.enum(kind)
    arguments, origin = get_args(kind), get_origin(kind)
    if origin is Literal:
        return lambda field: field.choice(arguments)
    if origin in (Union, UnionType):
        (some,) = (inner(each) for each in arguments if each is not NoneType)
        return lambda field: field.optional(some)
    entry = inner(arguments[0] if origin is tuple else arguments[1])
    return (lambda field: field.list_of(entry)) if origin is tuple else (lambda field: field.mapping_of(entry))


def _record_reader(kind: Any, inner: Callable[[Any], _Read], uses_defaults: bool) -> _Read:
    hints = get_type_hints(kind)
    readers = {each.name: inner(hints[each.name]) for each in fields(kind)}
    has_default = {each.name for each in fields(kind) if each.default is not MISSING or each.default_factory is not MISSING}
    may_lack = has_default if uses_defaults else frozenset()

    def read(field: Field) -> Any:
        return kind(**{name: read(field[name]) for name, read in readers.items() if name in field or name not in may_lack})

    return read


_SIMPLE: Mapping[Any, _Read] = {str: Field.text, int: Field.integer, bool: Field.boolean, Any: Field.data}


def encode_line(message: Any) -> bytes:
    """A dataclass as one line of JSON that names its class, as `LineDecoder` reads it."""
    data = {"type": type(message).__name__, **_values_of(message)}
    return json.dumps(data, separators=(",", ":"), default=_values_of).encode() + b"\n"


def _values_of(record: Any) -> dict[str, Any]:
    """The fields of a dataclass; unlike `asdict` it copies nothing."""
    return {each.name: getattr(record, each.name) for each in fields(record)}


class LineDecoder(Generic[Message]):
    """Puts messages of these dataclasses together from the pieces in which they arrive.

    `sender` begins the error of a line that is none; `most_bytes` bounds a line.
    """

    def __init__(self, kinds: Iterable[Callable[..., Message]], sender: str, kind: Kind, most_bytes: int | None = None) -> None:
        self._kinds: Mapping[str, Callable[..., Message]] = {each.__name__: each for each in kinds}
        self._sender, self._kind, self._most_bytes = sender, kind, most_bytes
        self._rest = b""

    def feed(self, data: bytes) -> tuple[Message, ...]:
        """The messages that are complete by now. Raises the error of `kind` that names the field of a damaged one."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._most_bytes is not None and max(map(len, (*lines, self._rest))) > self._most_bytes:
            raise self._kind.error(f"{self._sender}: expected lines of at most {self._most_bytes} bytes, got a longer one")
        return tuple([self._message(line) for line in lines])

    def _message(self, line: bytes) -> Message:
        try:
            field = Field(json.loads(line), self._sender, self._kind)
        except (ValueError, RecursionError):
            raise self._kind.error(f"{self._sender}: expected one message in JSON per line, got {line[:40]!r}") from None
        kind = self._kinds[field["type"].choice(self._kinds)]
        message: Message = reader_of(kind)(field)
        return message
