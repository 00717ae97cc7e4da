from __future__ import annotations

from pathlib import Path

import pytest

from multiedge.errors import ConfigError
from multiedge.workflows.functions import check_function, source_of
from multiedge.workflows.workflow import Function

TEXT = """
import math
raise SystemExit("this file must not be run")

def plain(a, b=2, *, c, d=4): ...
def any_words(**words): ...
@math.cache
def decorated(): ...
class Callable: ...
partial = plain
annotated: object = plain
if math:
    def conditional(a): ...
try:
    from json import dumps
except ImportError:
    def fallback(a): ...
"""


def function(name: str, folder: Path, **options: object) -> Function:
    path = folder / "functions.py"
    path.write_text(TEXT)
    return Function(name, {}, options, path)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("plain", ("a", "c")),
        ("plain", ("a", "b", "c", "d")),
        ("any_words", ("x", "y")),
        ("decorated", ("x",)),
        ("Callable", ("x",)),
        ("partial", ("x",)),
        ("annotated", ("x",)),
        ("conditional", ("x",)),
        ("dumps", ("x",)),
        ("fallback", ("x",)),
    ],
)
def test_a_function_is_seen_without_running_its_file(name: str, inputs: tuple[str, ...], tmp_path: Path) -> None:
    check_function(function(name, tmp_path), inputs)


@pytest.mark.parametrize(
    ("name", "inputs", "options", "expected"),
    [
        ("plane", ("a",), {}, "functions.py has no function 'plane'; did you mean 'plain'?"),
        ("plain", ("a",), {}, "plain() needs 'c', which is no input and no option; add it to one of them"),
        ("plain", ("a", "c", "e"), {}, "plain() has no argument 'e'; known: a, b, c, d"),
        ("plain", ("a", "c"), {"a": 1}, "'a' is an input and an option of plain(); rename one of them"),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    name: str, inputs: tuple[str, ...], options: dict[str, object], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_function(function(name, tmp_path, **options), inputs)
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", ["json:dumps", "numpy:mean", "math:sqrt"])
def test_functions_of_installed_modules_are_known_as_far_as_their_text_says(name: str) -> None:
    """numpy gives names when they are asked for, and math is not written in Python."""
    check_function(Function(name, {}), ("obj",) if name == "json:dumps" else ("x",))
    with pytest.raises(ConfigError, match="no module 'no_such' is installed"):
        check_function(Function("no_such:f", {}), ())


def test_a_file_that_is_no_python_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(ConfigError, match=r"f\.py:2: is no valid Python; correct it$"):
        check_function(Function("f", {}, file=tmp_path / "f.py"), ())


def test_the_text_of_a_file_is_what_is_kept(tmp_path: Path) -> None:
    assert source_of(function("plain", tmp_path)) == TEXT
    assert source_of(Function("json:dumps", {})) == ""


def test_a_package_that_fails_while_it_is_imported_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package").mkdir()
    (tmp_path / "broken_package" / "__init__.py").write_text("raise RuntimeError('no gpu')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"module 'broken_package\.m' cannot be imported: RuntimeError: no gpu; correct it"):
        check_function(Function("broken_package.m:f", {}), ())
