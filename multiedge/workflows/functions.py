"""The functions of transforms, looked at without running them."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from multiedge.errors import ConfigError, did_you_mean, no_such, one_line
from multiedge.workflows.workflow import Function

MAX_SOURCE_BYTES = 1 << 20
ANY = "*"
"""Among the names of a module: there may be others."""


def source_of(work: Function) -> str:
    """The text of the file with the function; '' for a module that is installed.

    Raises:
        ConfigError: If there is no such file, or one of more than MAX_SOURCE_BYTES.
    """
    if work.file is None:
        return ""
    return _read(work.file)


def check_function(work: Function, inputs: Collection[str]) -> None:
    """Checks that the function is there and takes the inputs and options.

    Raises:
        ConfigError: If not; the finding and the remedy, without a place.
    """
    module, _, name = work.name.rpartition(":")
    path = work.file or _installed(module)
    if path is None:
        return  # a module without Python text
    names = _names_in(_read(path), path)
    if ANY in names and name not in names:
        return  # it cannot be seen without running the module
    if name not in names:
        raise ConfigError(f"{path.name} has no function '{name}'{did_you_mean(name, names)}")
    parameters = names[name]
    if parameters is not None:
        _check_parameters(name, parameters, inputs, work.options)


@dataclass(frozen=True)
class _Parameters:
    accepted: frozenset[str]
    required: frozenset[str]
    takes_any: bool


def _check_parameters(name: str, parameters: _Parameters, inputs: Collection[str], options: Mapping[str, object]) -> None:
    given = (*inputs, *options)
    for word in given:
        if word in inputs and word in options:
            raise ConfigError(f"'{word}' is an input and an option of {name}(); rename one of them")
        if word not in parameters.accepted and not parameters.takes_any:
            raise ConfigError(f"{name}() has no argument '{word}'{did_you_mean(word, parameters.accepted)}")
    missing = sorted(parameters.required - set(given))
    if missing:
        raise ConfigError(f"{name}() needs '{missing[0]}', which is no input and no option; add it to one of them")


def _installed(module: str) -> Path | None:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        spec = None
    except Exception as error:  # a package may raise anything while it is imported
        raise ConfigError(
            f"module '{module}' cannot be imported: {type(error).__name__}: {one_line(error)}; correct it"
        ) from error
    if spec is None:
        raise ConfigError(f"no module '{module}' is installed; install its package, or give 'file.py:function'")
    return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_SOURCE_BYTES:
            raise ConfigError(f"{path}: expected at most {MAX_SOURCE_BYTES} bytes; install it as a package instead")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(no_such(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as Python: {error}") from None


def _names_in(text: str, path: Path) -> dict[str, _Parameters | None]:
    """The names that the file defines; None for what is no plain function. ANY is one of them if there may be others."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ConfigError(f"{path}{line}: is no valid Python; correct it") from None
    names: dict[str, _Parameters | None] = {}
    for node in body:
        names |= _names_of(node)
    return {ANY: None, **names} if "__getattr__" in names else names


def _names_of(node: ast.stmt) -> dict[str, _Parameters | None]:
    """The names that a statement of a module defines; those of a conditional one may be there."""
    if isinstance(node, ast.FunctionDef):
        return {node.name: None if node.decorator_list else _parameters(node.args)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
        return {node.target.id: None}
    if isinstance(node, ast.ClassDef):
        return {node.name: None}
    if isinstance(node, ast.Assign):
        return {target.id: None for target in node.targets if isinstance(target, ast.Name)}
    if isinstance(node, ast.Import | ast.ImportFrom):  # `from module import *` has the name '*', which is ANY
        return {(alias.asname or alias.name): None for alias in node.names}
    inner = (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.ExceptHandler))
    return {name: None for child in inner for name in _inner_names(child)}


def _inner_names(node: ast.stmt | ast.ExceptHandler) -> Iterable[str]:
    if isinstance(node, ast.stmt):
        return _names_of(node)
    return [name for child in node.body for name in _names_of(child)]


def _parameters(arguments: ast.arguments) -> _Parameters:
    plain = [argument.arg for argument in arguments.args]
    needed = plain[: len(plain) - len(arguments.defaults)]
    only = {argument.arg: default for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)}
    required = {*needed, *(name for name, default in only.items() if default is None)}
    return _Parameters(frozenset((*plain, *only)), frozenset(required), arguments.kwarg is not None)
