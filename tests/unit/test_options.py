"""Options of registered classes: known, of the right type, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from multiedge.errors import ConfigError
from multiedge.options import build, build_options, option_names, with_option
from multiedge.registry import Registry

if TYPE_CHECKING:
    from decimal import Decimal


class Strategy:
    def __init__(self, goal: str = "fps", gap: float | None = None, rounds: int = 1, strict: bool = False) -> None:
        self.given = (goal, gap, rounds, strict)


class Plain:
    pass


class AnyOptions:
    def __init__(self, known: int = 0, **others: Any) -> None:
        self.given = {"known": known, **others}


class Unreadable:
    """Its annotation exists for the type checker only."""

    def __init__(self, price: Decimal | None = None) -> None:
        self.price = price


@dataclass(frozen=True)
class Limits:
    first_s: float = 1.0


@dataclass(frozen=True)
class NarrowLimits(Limits):
    last_s: float = 1.0


@dataclass(frozen=True)
class Base:
    seed: int = 0


@dataclass(frozen=True)
class RunnerOptions(Base):
    mode: Literal["fast", "safe"] = "fast"
    limits: Limits = field(default_factory=Limits)
    spare: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    places: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    call: Callable[[int], int] | None = None
    cache: str | Path | None = None


class Runner:
    options_type = RunnerOptions


THINGS = Registry(
    "thing",
    {
        "strategy": f"{__name__}:Strategy",
        "plain": f"{__name__}:Plain",
        "any": f"{__name__}:AnyOptions",
        "unreadable": f"{__name__}:Unreadable",
        "runner": f"{__name__}:Runner",
        "absent": "no.such.module:Thing",
    },
)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes of this file under the names of the registry, however pytest has imported the file."""
    monkeypatch.setattr("multiedge.registry.import_module", _module)


def _module(name: str) -> Any:
    if name != __name__:
        raise ModuleNotFoundError(name)
    return type("module", (), globals())


def test_options_are_arguments_of_the_constructor() -> None:
    assert build(THINGS, "strategy", {"goal": "latency", "gap": 1, "strict": True}).given == ("latency", 1, 1, True)
    assert build(THINGS, "strategy", {"gap": None}).given == ("fps", None, 1, False)
    assert isinstance(build(THINGS, "plain", {}), Plain)


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("strategy", {"gaol": "x"}, "thing 'strategy' has no option 'gaol'; did you mean 'goal'?"),
        ("strategy", {"gap": "small"}, "thing 'strategy', option 'gap': expected a number, got 'small'"),
        ("strategy", {"gap": True}, "thing 'strategy', option 'gap': expected a number, got True"),
        ("strategy", {"rounds": 1.5}, "thing 'strategy', option 'rounds': expected a whole number, got 1.5"),
        ("strategy", {"strict": 1}, "thing 'strategy', option 'strict': expected true or false, got 1"),
        ("plain", {"goal": "x"}, "thing 'plain' has no option 'goal'; things that have it: strategy"),
        ("plain", {"other": 1}, "thing 'plain' has no option 'other'; known: none"),
    ],
)
def test_a_wrong_option_is_one_line(name: str, options: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(THINGS, name, options)
    assert str(caught.value) == line


def test_a_class_that_takes_any_option_gets_those_that_it_does_not_name() -> None:
    assert build(THINGS, "any", {"known": 2, "mine": "x"}).given == {"known": 2, "mine": "x"}
    with pytest.raises(ConfigError, match="option 'known': expected a whole number"):
        build(THINGS, "any", {"known": "two"})


def test_types_that_only_the_type_checker_sees_are_left_to_the_class() -> None:
    assert build(THINGS, "unreadable", {"price": "12"}).price == "12"
    with pytest.raises(ConfigError, match="has no option 'prize'; did you mean 'price'"):
        build(THINGS, "unreadable", {"prize": 1})


def test_lists_and_mappings_become_what_the_fields_hold() -> None:
    given = {
        "seed": 3,
        "limits": {"first_s": 2},
        "spare": {1: ["a", "b"]},
        "places": {"a": "h:1", "b": ["h:2"]},
        "mode": "safe",
    }
    made = build_options(THINGS, "runner", given)
    assert made == RunnerOptions(3, "safe", Limits(2), {1: ("a", "b")}, {"a": "h:1", "b": ["h:2"]})
    assert build_options(THINGS, "runner", {"call": abs}).call is abs
    assert build_options(THINGS, "runner", {"cache": Path("x")}).cache == Path("x")


@pytest.mark.parametrize(
    ("options", "ending"),
    [
        ({"sead": 1}, " has no option 'sead'; did you mean 'seed'?"),
        ({"goal": "x"}, " has no option 'goal'; things that have it: strategy"),
        ({"mode": "slow"}, ", option 'mode': expected 'fast' or 'safe', got 'slow'"),
        ({"limits": {"frist_s": 2}}, " has no option 'limits.frist_s'; did you mean 'first_s'?"),
        ({"limits": {"first_s": "x"}}, ", option 'limits.first_s': expected a number, got 'x'"),
        ({"limits": NarrowLimits()}, ", option 'limits': expected a Limits, got NarrowLimits(first_s=1.0, last_s=1.0)"),
        ({"spare": {"one": ["a"]}}, ", option 'spare': expected a whole number, got 'one'"),
        ({"spare": {1: "ab"}}, ", option 'spare.1': expected a list, got 'ab'"),
        ({"spare": {1: [2]}}, ", option 'spare.1': expected a word, got 2"),
        ({"places": ["h:1"]}, ", option 'places': expected a mapping, got ['h:1']"),
        ({"places": {"a": 1}}, ", option 'places.a': expected a word or a list, got 1"),
        ({"call": 3}, ", option 'call': expected a function, got 3"),
        ({"cache": 3}, ", option 'cache': expected a word or a Path, got 3"),
    ],
)
def test_a_wrong_field_names_its_place(options: dict[str, Any], ending: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_options(THINGS, "runner", options)
    assert str(caught.value) == f"thing 'runner'{ending}"


def test_values_change_options_that_are_given() -> None:
    base = RunnerOptions(seed=1, mode="safe")
    assert build_options(THINGS, "runner", {"seed": 2}, base) == RunnerOptions(seed=2, mode="safe")
    assert build_options(THINGS, "runner", {}, base) == base


def test_options_of_another_class_are_refused() -> None:
    with pytest.raises(ConfigError, match="thing 'runner', options: expected RunnerOptions, got Base"):
        build_options(THINGS, "runner", {}, Base())


def test_a_class_without_options_type_is_named() -> None:
    with pytest.raises(ConfigError, match="thing 'plain' declares no dataclass `options_type`"):
        build_options(THINGS, "plain", {})


def test_names_of_options_and_their_owners_are_listed() -> None:
    assert option_names(THINGS, "strategy") == ("goal", "gap", "rounds", "strict")
    assert option_names(THINGS, "runner") == ("seed", "mode", "limits", "spare", "places", "call", "cache")
    assert with_option(THINGS, "seed") == ["runner"]
    assert with_option(THINGS, "nothing") == []
