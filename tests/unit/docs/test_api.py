"""Every function and class on the API page documents its arguments, results and fields by name."""

import inspect
import re
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path

import pytest

import multiedge

PAGE = Path(__file__).resolve().parents[3] / "docs" / "api.md"
ERRORS = "multiedge.errors"
"""Of this module the page shows classes only."""
ENTRIES = re.findall(r"^::: (\S+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def public(holder, home):
    """The public functions and classes of a module, or methods of a class, that are defined there."""
    for name, value in vars(holder).items():
        value = getattr(value, "__func__", value)  # a class method's function
        if not name.startswith("_") and (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == home:
            yield f"{holder.__name__}.{name}", value


def documented():
    """Every function and class that the page shows."""
    for entry in ENTRIES:
        try:
            module = import_module(entry)
            members = {name: value for name, value in public(module, entry) if entry != ERRORS or inspect.isclass(value)}
        except ModuleNotFoundError:
            home, _, name = entry.rpartition(".")
            members = {entry: getattr(import_module(home), name)}
        for name, value in members.items():
            yield name, value
            if inspect.isclass(value):
                yield from public(value, value.__module__)


SHOWN = {name: value for name, value in documented() if value.__doc__}
FUNCTIONS = {name: value for name, value in SHOWN.items() if inspect.isfunction(value)}
DATACLASSES = {name: value for name, value in SHOWN.items() if is_dataclass(value)}


def section(value, title):
    """The names that a section of the docstring lists; empty without such a section."""
    found = re.search(rf"^{title}:\n((?: {{4}}.*\n?)+)", inspect.getdoc(value) or "", re.MULTILINE)
    return re.findall(r"^ {4}(\**\w+):", found[1], re.MULTILINE) if found else []


def arguments(function):
    prefix = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    parameters = inspect.signature(function).parameters.values()
    return [f"{prefix.get(each.kind, '')}{each.name}" for each in parameters if each.name not in ("self", "cls")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_documented_in_order(name):
    assert section(FUNCTIONS[name], "Args") == arguments(FUNCTIONS[name])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_comes_back_is_documented(name):
    returns = inspect.signature(FUNCTIONS[name]).return_annotation
    has_section = re.search(r"^Returns:\n    \S", inspect.getdoc(FUNCTIONS[name]) or "", re.MULTILINE) is not None
    assert has_section == (returns not in ("None", None))


@pytest.mark.parametrize("name", DATACLASSES)
def test_every_field_of_its_own_is_documented_in_order(name):
    value = DATACLASSES[name]
    assert section(value, "Attributes") == [each.name for each in fields(value) if each.name in vars(value)["__annotations__"]]


def test_the_functions_and_values_of_the_package_are_on_the_page():
    shown = {name.rpartition(".")[2] for name in SHOWN}
    assert [name for name in multiedge.__all__ if name not in shown] == []
