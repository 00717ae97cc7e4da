"""Options of what is registered by name: each one known, of its type, or refused in one line.

A strategy or profiler takes its options as arguments of its constructor. A class with an `options_type` (executors) takes
them as one value of that type, a frozen dataclass. Both are read from the signature and its annotations, so that a class
from outside declares its options in one place and gets the same checks and errors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from multiedge.errors import ConfigError, MissingDependencyError, did_you_mean
from multiedge.registry import Registry

Options = TypeVar("Options")
NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", NoneType: "none"}
"""Simple types as users read them. A whole number is a number; true and false are neither."""
VAR_ARGUMENTS, VAR_OPTIONS = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


def build(registry: Registry, name: str, options: Mapping[str, Any]) -> Any:
    """An instance of what is registered under `name`, with `options` as arguments of its constructor.

    Raises ConfigError for an option that it does not have or that is of another type.
    """
    return registry.load(name)(**_checked(registry, name, options))


def build_options(registry: Registry, name: str, options: Mapping[str, Any], base: Any = None) -> Any:
    """The `options_type` of what is registered under `name`, with `options` as its fields; the rest as in `base`.

    Raises ConfigError for an option that it does not have or that is of another type, and for a `base` of another class.
    """
    wanted = _taker(registry, name)
    if not is_dataclass(wanted):
        raise ConfigError(f"{registry.kind} '{name}' declares no dataclass `options_type`; correct the package that it is from")
    if base is not None and type(base) is not wanted:
        raise ConfigError(f"{registry.kind} '{name}', options: expected {wanted.__name__}, got {type(base).__name__}")
    values = _checked(registry, name, options)
    return wanted(**values) if base is None else replace(base, **values)


def require_options(registry: Registry, name: str, options: Iterable[str]) -> None:
    """ConfigError unless what is registered under `name` has all these options; their values are not looked at."""
    _require_known(_taker(registry, name), options, f"{registry.kind} '{name}'", registry)


def option_names(registry: Registry, name: str) -> tuple[str, ...]:
    """The options of what is registered under `name`, in the order in which it declares them."""
    return tuple(_parameters(_taker(registry, name)))


def with_option(registry: Registry, option: str) -> list[str]:
    """The names of this kind that have the option. What cannot be imported here is left out."""
    names = []
    for name in registry.names():
        with suppress(ConfigError, MissingDependencyError):
            if option in _parameters(_taker(registry, name)):
                names.append(name)
    return names


def _checked(registry: Registry, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_check_all(_taker(registry, name), options, f"{registry.kind} '{name}'", registry))


def _taker(registry: Registry, name: str) -> Callable[..., Any]:
    """What is called with the options: the class itself, or its `options_type`."""
    loaded = registry.load(name)
    taker: Callable[..., Any] = getattr(loaded, "options_type", loaded)
    return taker


def _parameters(taker: Callable[..., Any]) -> list[str]:
    return [each.name for each in inspect.signature(taker).parameters.values() if each.kind not in (VAR_ARGUMENTS, VAR_OPTIONS)]


def _takes_any(taker: Callable[..., Any]) -> bool:
    return any(each.kind is VAR_OPTIONS for each in inspect.signature(taker).parameters.values())


def _check_all(
    taker: Callable[..., Any], options: Mapping[str, Any], owner: str, registry: Registry | None = None, prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Each option with its value as its type wants it."""
    _require_known(taker, options, owner, registry, prefix)
    types = _types(taker)
    for key, value in options.items():
        yield key, _fit(types.get(key, Any), value, owner, f"{prefix}{key}")


def _require_known(
    taker: Callable[..., Any], options: Iterable[str], owner: str, registry: Registry | None = None, prefix: str = ""
) -> None:
    known = _parameters(taker)
    for key in options:
        if key not in known and not _takes_any(taker):
            raise ConfigError(f"{owner} has no option '{prefix}{key}'{_remedy(key, known, registry)}")


def _remedy(key: str, known: Sequence[str], registry: Registry | None) -> str:
    owners = with_option(registry, key) if registry else []
    return f"; {registry.kind}s that have it: {', '.join(owners)}" if registry and owners else did_you_mean(key, known)


def _types(taker: Callable[..., Any]) -> dict[str, Any]:
    """Annotations by option; none where they cannot be read at run time, as with imports for the type checker only."""
    try:
        return get_type_hints(taker if is_dataclass(taker) or not inspect.isclass(taker) else taker.__init__)
    except NameError:
        return {}


def _fit(wanted: Any, value: Any, owner: str, place: str) -> Any:
    """`value` as the type wants it: a mapping as a dataclass, a list as a tuple. ConfigError if it cannot be that."""
    kinds = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    kind = next((kind for kind in kinds if _is_a(value, kind)), None)
    if kind is None:
        expected = " or ".join(_name(kind) for kind in kinds if kind is not NoneType)
        raise ConfigError(f"{owner}, option '{place}': expected {expected}, got {value!r}")
    if isinstance(value, Mapping) and is_dataclass(kind) and isinstance(kind, type):
        return kind(**dict(_check_all(kind, value, owner, prefix=f"{place}.")))
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(value, Mapping) and len(arguments) == 2:
        return {
            _fit(arguments[0], key, owner, place): _fit(arguments[1], each, owner, f"{place}.{key}")
            for key, each in value.items()
        }
    if _is_list(kind) and arguments:
        return (tuple if origin is tuple else list)(_fit(arguments[0], each, owner, place) for each in value)
    return value


def _is_a(value: Any, kind: Any) -> bool:
    """Whether the value may be given for the type, parts of it aside."""
    plain = get_origin(kind) or kind
    if kind is Any or isinstance(kind, TypeVar):
        return True
    if plain is Literal:
        return value in get_args(kind)
    if isinstance(value, bool) or plain is bool:
        return isinstance(value, bool) and plain is bool
    if is_dataclass(plain):
        # Not a subclass: what it adds would have no effect here.
        return isinstance(value, Mapping) or type(value) is plain
    if _is_list(kind):
        return isinstance(value, Sequence) and not isinstance(value, str)
    return isinstance(value, (int, float) if plain is float else plain)


def _is_list(kind: Any) -> bool:
    return (get_origin(kind) or kind) in (tuple, list, Sequence)


def _name(kind: Any) -> str:
    plain = get_origin(kind) or kind
    if plain is Literal:
        return " or ".join(f"'{choice}'" for choice in get_args(kind))
    if plain is Callable:
        return "a function"
    if plain is Mapping or plain is dict:
        return "a mapping"
    return "a list" if _is_list(kind) else NAMES.get(plain, f"a {getattr(plain, '__name__', plain)}")
