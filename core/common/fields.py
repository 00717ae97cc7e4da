"""Reading fields out of parsed yaml: every error says file, place, expectation and finding."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from multiedge.errors import ConfigError, did_you_mean

_SO_NEAR_THAT_IT_IS_A_SLIP = 0.8


def mapping(data: object, place: str, known: Iterable[str]) -> dict[str, Any]:
    """`data` as a mapping that has no keys but the known ones."""
    known = tuple(known)
    content = _any_mapping(data, place, known)
    for key in content:
        if key not in known:
            raise ConfigError(f"{place}: unknown key '{key}'{did_you_mean(key, known)}")
    return content


def open_mapping(data: object, place: str, known: Iterable[str]) -> dict[str, Any]:
    """`data` as a mapping that may have keys of others' too; only a near miss of a known key that is absent is an error."""
    known = tuple(known)
    content = _any_mapping(data, place, known)
    absent = [key for key in known if key not in content]
    for key in content:
        near = get_close_matches(key, absent, n=1, cutoff=_SO_NEAR_THAT_IT_IS_A_SLIP)
        if key not in known and near:
            raise ConfigError(f"{place}: unknown key '{key}'; did you mean '{near[0]}'?")
    return content


def _any_mapping(data: object, place: str, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise ConfigError(f"{place}: expected a mapping of {', '.join(known)}, got {found(data)}")
    return {str(key): value for key, value in data.items()}


def section(data: object, place: str, name: str) -> object:
    """What stands under the one top key of a file."""
    if not isinstance(data, Mapping) or name not in data:
        keys = ", ".join(map(str, data)) if isinstance(data, Mapping) else found(data)
        raise ConfigError(f"{place}: expected a mapping with the top key '{name}', got {keys}")
    return data[name]


def entries(data: object, place: str) -> list[Any]:
    """`data` as a list with something in it."""
    if not isinstance(data, list) or not data:
        raise ConfigError(f"{place}: expected a list of at least one entry, got {found(data)}")
    return data


def text(content: Mapping[str, Any], key: str, place: str, default: str | None = None) -> str:
    """The word under `key`, or the default if the key is absent or empty."""
    value = content.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{place}.{key}: expected a word, got {found(value)}")
    return value


def existing_file(content: Mapping[str, Any], key: str, place: str) -> str:
    """The path under `key`; ConfigError if nothing is there."""
    url = text(content, key, place)
    if not os.path.exists(url):
        raise ConfigError(f"{place}.{key}: no such file '{url}' (looked from {os.getcwd()})")
    return url


def choice(value: object, place: str, known: Iterable[str]) -> str:
    """`value` if it is one of the known words."""
    known = tuple(known)
    if value not in known:
        raise ConfigError(f"{place}: unknown value '{value}'{did_you_mean(str(value), known)}")
    return str(value)


def found(data: object) -> str:
    """How an error names what it found.

    >>> found(None), found([1])
    ('nothing', "list '[1]'")
    """
    return "nothing" if data is None else f"{type(data).__name__} {str(data)[:40]!r}"
