"""The decoder of every file and message: typed values out of parsed JSON or YAML, with errors that name the place.

>>> device = Field({"name": "phone", "memory": "lots"}, "devices.yaml")
>>> device["name"].text()
'phone'
>>> device["memory"].quantity(BYTES)
Traceback (most recent call last):
multiedge.errors.ConfigError: devices.yaml: memory: expected a size such as '2GiB', '512MB' or 1024 (MiB), got 'lots'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from typing import Any, TypeVar, overload

from multiedge import quantity as quantities
from multiedge.errors import ConfigError, MultiedgeError, describe, did_you_mean
from multiedge.quantity import Quantity

T = TypeVar("T")
Default = TypeVar("Default")
Choice = TypeVar("Choice", bound=Enum)

MAX_INTEGER = 2**63 - 1
MAX_DEPTH = 100
"""How deep free-form data may be nested."""

_Read = Callable[["Field"], T]
Keys = tuple[str | int, ...]
"""The keys and indices that lead to a value of a file."""

_NEAR_MISS = 0.8
"""An unknown key of an open record counts as misspelt if it is at least as similar (difflib's ratio) to a known key."""

_MAPPINGS = (dict, Mapping)
"""`dict` first: the check of an abstract class takes several times as long."""


@dataclass(frozen=True)
class Kind:
    """A kind of file or message: what to call it, the class of its errors, and what to do about a damaged one (`remedy`)
    or a missing one (`source`). `lines` has the lines of one file, by keys and indices, for places of errors."""

    name: str = "file"
    error: type[MultiedgeError] = ConfigError
    remedy: str = ""
    source: str = ""
    lines: Mapping[Keys, int] = field(default_factory=dict, compare=False)


ANY_FILE = Kind()


class Field:
    """One value of parsed JSON or YAML, and its place. Every getter returns a checked value or raises the kind's error.

    A missing key is a Field too: `given` is false, and the error of a getter states that it is missing.
    """

    # A profile has some hundred thousand fields: the text of a place is made only for an error.
    __slots__ = ("_is_missing", "_key", "_parent", "kind", "value")

    # Without this, a loop over a field would call `__getitem__` with 0, 1, 2 and so on without end.
    __iter__ = None

    def __init__(
        self, value: object, place: str | int, kind: Kind = ANY_FILE, parent: Field | None = None, is_missing: bool = False
    ) -> None:
        self.value = value
        self.kind = kind
        self._key = place
        self._parent = parent
        self._is_missing = is_missing

    def __getitem__(self, key: str) -> Field:
        """The field under `key` of a mapping, given or not."""
        if not isinstance(self.value, _MAPPINGS):
            raise self.expected(f"a mapping with '{key}'")
        value = self.value.get(key)
        return Field(value, key, self.kind, self, value is None and key not in self.value)

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, _MAPPINGS) and key in self.value

    @property
    def given(self) -> bool:
        """Whether there is a value: false for a key that is missing or null."""
        return self.value is not None

    @property
    def place(self) -> str:
        """Where the value stands: 'devices.yaml: devices[2].memory', or 'devices.yaml:7: ...' if the line is known."""
        keys = self._keys
        root = self._root
        words = "".join(f"[{key}]" if isinstance(key, int) else f".{_shown(key)}" for key in keys).removeprefix(".")
        file = f"{root._key}:{self.line}" if self.line else str(root._key)
        return f"{file}: {words}" if words else file

    @property
    def key(self) -> str | int:
        """The key or index that leads to the value; of the whole document, its place."""
        return self._key

    @property
    def line(self) -> int:
        """The line of the file where the value stands, or what would hold it if it is missing; 0 if that is not known."""
        keys = self._keys
        return next((self.kind.lines[keys[:n]] for n in range(len(keys), -1, -1) if keys[:n] in self.kind.lines), 0)

    @property
    def _root(self) -> Field:
        return self if self._parent is None else self._parent._root

    @property
    def _keys(self) -> Keys:
        return () if self._parent is None else (*self._parent._keys, self._key)

    def error(self, message: str) -> MultiedgeError:
        """The error to raise for this value: its place, the message, and the remedy of its kind of file."""
        remedy = f"; {self.kind.remedy}" if self.kind.remedy else ""
        return self.kind.error(f"{self.place}: {message}{remedy}")

    def expected(self, expectation: str) -> MultiedgeError:
        """The error to raise for a value that does not meet `expectation`."""
        if self._is_missing:
            return self.error(f"missing; expected {expectation}")
        return self.error(f"expected {expectation}, got {describe(self.value)}")

    @overload
    def optional(self, read: _Read[T]) -> T | None: ...

    @overload
    def optional(self, read: _Read[T], default: Default) -> T | Default: ...

    def optional(self, read: _Read[T], default: Default | None = None) -> T | Default | None:
        """The value as `read` returns it; the default where it is missing or null."""
        return read(self) if self.given else default

    def text(self) -> str:
        """A text, which may be empty."""
        if not isinstance(self.value, str):
            raise self.expected("a text")
        if not _is_storable(self.value):
            raise self.expected("a text that UTF-8 can hold, without null characters")
        return self.value

    def name(self) -> str:
        """A text of one line that is not blank. A whole number counts as its digits: YAML reads `name: 1` as one."""
        if isinstance(self.value, int) and not isinstance(self.value, bool):
            return str(self.integer())
        if not isinstance(self.value, str) or not self.value.strip() or len(self.value.splitlines()) > 1:
            raise self.expected("a name")
        return self.text()

    def boolean(self) -> bool:
        """True or false, and no other spelling of them."""
        if not isinstance(self.value, bool):
            raise self.expected("true or false")
        return self.value

    def integer(self, least: int = -MAX_INTEGER - 1, most: int = MAX_INTEGER) -> int:
        """A whole number from `least` to `most`; 64 bits unless stated otherwise."""
        value = self.value
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.expected(f"a whole number{_bounds(least, most)}")
        return value

    def count(self) -> int:
        """A whole number from 0."""
        return self.integer(least=0)

    def number(self, least: float = -math.inf, most: float = math.inf, *, finite: bool = True) -> float:
        """A number from `least` to `most`, as a float. Infinite and undefined numbers only where `finite` is false."""
        value = self.value if type(self.value) is float else _float_of(self.value)
        if value is None or (finite and not math.isfinite(value)) or not (least <= value <= most or math.isnan(value)):
            raise self.expected(f"a {'finite ' if finite else ''}number{_bounds(least, most)}")
        return value

    def quantity(self, kind: Quantity, *, positive: bool = False) -> float:
        """A number with or without a unit, such as '2GiB', in the kind's base unit; more than 0 if `positive`."""
        if self._is_missing:
            raise self.expected(kind.example)
        try:
            number = quantities.parse(self.value, kind)
        except ValueError as error:
            raise self.error(str(error)) from None
        if positive and number <= 0:
            raise self.expected(f"{kind.example}, more than zero")
        return number

    def choice(self, known: Iterable[str]) -> str:
        """One of the known words."""
        known = tuple(known)
        if not isinstance(self.value, str):
            raise self.expected(f"one of {', '.join(known)}")
        if self.value not in known:
            raise self.error(f"unknown value {describe(self.value)}{did_you_mean(self.value, known)}")
        return self.value

    def enum(self, choices: type[Choice]) -> Choice:
        """The member of an Enum of words that has this value."""
        return choices(self.choice([str(member.value) for member in choices]))

    def items(self, least: int = 0) -> list[Field]:
        """The fields of a list of at least `least` entries."""
        if not isinstance(self.value, list | tuple):
            raise self.expected("a list")
        if len(self.value) < least:
            raise self.expected(f"a list of at least {least} {'entry' if least == 1 else 'entries'}")
        return [Field(entry, index, self.kind, self) for index, entry in enumerate(self.value)]

    def list_of(self, read: _Read[T], least: int = 0) -> tuple[T, ...]:
        """Each entry of a list of at least `least` entries, as `read` returns it."""
        return tuple([read(entry) for entry in self.items(least)])

    def pair_of(self, read: _Read[T]) -> tuple[T, T]:
        """The two entries of a list, as `read` returns them."""
        entries = self.items()
        if len(entries) != 2:
            raise self.expected("a list of two")
        return read(entries[0]), read(entries[1])

    def mapping(self) -> dict[str, Field]:
        """The fields of a mapping with any keys."""
        content = self._by_name("a mapping")
        return {key: Field(value, key, self.kind, self) for key, value in content.items()}

    def mapping_of(self, read: _Read[T]) -> dict[str, T]:
        """Each value of a mapping with any keys, as `read` returns it."""
        return {key: read(field) for key, field in self.mapping().items()}

    def record(self, known: Iterable[str], synonyms: Mapping[str, str] | None = None) -> Field:
        """This mapping, which may have the known keys only. `synonyms` are other names of known keys."""
        known = tuple(known)
        content: dict[str, Any] = {}
        for key, value in self._by_name(f"a mapping of {', '.join(known)}").items():
            name = (synonyms or {}).get(key, key)
            if name not in known:
                raise self.error(f"unknown key {describe(key)}{did_you_mean(key, known)}")
            if name in content:
                raise self.error(f"'{name}' is given twice, once as '{key}'; keep one")
            content[name] = value
        return Field(content, self._key, self.kind, self._parent)

    def open_record(self, known: Iterable[str]) -> Field:
        """This mapping, which may have other keys too, except misspelt known ones."""
        known = tuple(known)
        content = self._by_name(f"a mapping of {', '.join(known)}")
        absent = [key for key in known if key not in content]
        for key in content:
            near = [] if key in known else get_close_matches(key, absent, n=1, cutoff=_NEAR_MISS)
            if near:
                raise self.error(f"unknown key {describe(key)}; did you mean '{near[0]}'?")
        return Field(content, self._key, self.kind, self._parent)

    def _by_name(self, expectation: str) -> dict[str, Any]:
        """The mapping with texts as keys. YAML reads the keys 1, yes and 2024-01-01 as other types."""
        if not isinstance(self.value, _MAPPINGS):
            raise self.expected(expectation)
        content: dict[str, Any] = {}
        for key, value in self.value.items():
            name = key if isinstance(key, str) else Field(key, "key", self.kind, self).name()
            if name in content or not _is_storable(name):
                raise self.error(f"expected each key once and in UTF-8, got {describe(key)}")
            content[name] = value
        return content

    def data(self) -> Any:
        """Free-form data in the types of JSON: mappings by text, lists, texts, finite numbers, booleans and null."""
        return _plain(self, MAX_DEPTH)


def _shown(key: str) -> str:
    return key if key.isprintable() and len(key) <= 60 else describe(key)


def _plain(field: Field, depth: int) -> Any:
    value = field.value
    if depth == 0:
        raise field.error(f"expected at most {MAX_DEPTH} levels of lists and mappings, got more")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return field.text()
    if isinstance(value, int):
        return field.integer()
    if isinstance(value, float):
        return field.number()
    if isinstance(value, _MAPPINGS):
        return {key: _plain(entry, depth - 1) for key, entry in field.mapping().items()}
    if isinstance(value, list):
        return [_plain(entry, depth - 1) for entry in field.items()]
    raise field.expected("a text, a number, true, false, null, a list or a mapping")


def _float_of(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _is_storable(text: str) -> bool:
    """JSON can state half of a surrogate pair, which no file can hold; no path can hold a null character."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _bounds(least: float, most: float) -> str:
    words = ""
    if least >= -MAX_INTEGER:
        words += f" from {least}"
    if most < MAX_INTEGER:
        words += f" to {most}" if words else f" up to {most}"
    return words
