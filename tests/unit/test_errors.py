"""Errors for people: one line, with the place and the nearest name."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from multiedge import errors
from multiedge.errors import ConfigError, MissingDependencyError, MultiedgeError, PlanError, StageError


def test_an_error_is_one_line_without_control_characters_whatever_names_it_has() -> None:
    error = PlanError("node 'a\n\x1b[31mb\u202e' is\tbad")
    assert str(error) == "node 'a [31mb' is bad"


@pytest.mark.parametrize(
    ("kind", "parents"),
    [
        ("ConfigError", ["MultiedgeError"]),
        ("CutError", ["ModelError", "MultiedgeError"]),
        ("ProfileError", ["MultiedgeError"]),
        ("InfeasibleError", ["PlanError", "MultiedgeError"]),
        ("StageError", ["PipelineError", "MultiedgeError"]),
        ("MissingDependencyError", ["MultiedgeError"]),
    ],
)
def test_the_tree_of_errors_is_the_one_that_the_module_draws(kind: str, parents: list[str]) -> None:
    found = getattr(errors, kind)
    assert [parent.__name__ for parent in found.__mro__[1 : 1 + len(parents)]] == parents
    assert kind in (errors.__doc__ or "")


def test_errors_carry_what_their_handlers_need() -> None:
    stage = StageError("stage 1 failed", stage=1, device="nano", item=7)
    assert (stage.stage, stage.device, stage.item, str(stage)) == (1, "nano", 7, "stage 1 failed")
    assert PlanError("no", iter(["a", "b"])).violations == ("a", "b")
    missing = MissingDependencyError("ray", extra="ray")
    assert (missing.package, missing.extra) == ("ray", "ray")
    assert isinstance(missing, MultiedgeError)


def test_a_plan_error_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(PlanError("no", ["a"])))  # noqa: S301
    assert str(error) == "no"


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        pytest.param("memry", ["memory", "name"], "; did you mean 'memory'?", id="a slip"),
        pytest.param("zzz", ["name", "memory"], "; known: memory, name", id="nothing near: all, sorted"),
        pytest.param("zzz", [], "; known: none", id="nothing known"),
        pytest.param("name", ["name"], "; did you mean 'name'?", id="the word itself"),
        pytest.param("latncy", ["latency", "latency2"], "; did you mean 'latency'?", id="the nearest of two"),
    ],
)
def test_the_nearest_known_word_is_suggested(word: str, known: list[str], expected: str) -> None:
    assert errors.did_you_mean(word, known) == expected
    assert errors.did_you_mean(word, iter(known)) == expected


def test_a_long_list_of_known_words_ends_with_their_number() -> None:
    ending = errors.did_you_mean("zzz", [f"conv{number:03}" for number in range(170)])
    assert ending.endswith("conv039 and 130 more")


def test_a_file_that_is_not_there_is_named_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devices.yaml").touch()
    assert errors.no_such(tmp_path / "device.yaml") == (
        f"{tmp_path / 'device.yaml'}: no such file (looked from {tmp_path}); did you mean 'devices.yaml'?"
    )
    assert (
        errors.no_such(tmp_path / "gone" / "x", "folder")
        == f"{tmp_path / 'gone' / 'x'}: no such folder (looked from {tmp_path})"
    )


@pytest.mark.parametrize(("value", "least"), [(0, 0), (1, 0.5), (float("inf"), 1)])
def test_enough_passes(value: float, least: float) -> None:
    errors.require_least("--items", value, least)


@pytest.mark.parametrize("value", [-1, 0.9, float("nan")])
def test_too_little_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=rf"--items: expected 1 or more, got {value}"):
        errors.require_least("--items", value, 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "nothing"),
        (False, "false"),
        (7, "7"),
        (10**30, "a whole number of more than 64 bits"),
        (0.5, "0.5"),
        ("lots", "'lots'"),
        ([1, 2], "a list of 2"),
        ({"a": 1, "b": 2}, "a mapping of a, b"),
    ],
)
def test_values_are_described_in_no_programming_languages_words(value: object, expected: str) -> None:
    assert errors.describe(value) == expected
