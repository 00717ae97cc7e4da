"""Errors on one line, file endings, and modules that are imported for what they do."""

import re
import sys

import pytest

from core.common.utils import get_file_format, get_local_time, load_module, one_line
from multiedge.errors import ConfigError


def chained():
    error = RuntimeError("metric 'fps': ValueError:\n  too\tslow")
    error.__cause__ = ValueError("too slow")
    return error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        pytest.param(ValueError("too\n  slow\t!"), "ValueError: too slow !", id="whitespace"),
        pytest.param(ValueError(), "ValueError", id="no-text"),
        pytest.param(KeyError("name"), "KeyError: 'name'", id="key"),
        pytest.param(SystemExit(3), "SystemExit: 3", id="exit"),
        pytest.param(ConfigError("a.yaml: expected a list"), "a.yaml: expected a list", id="written-for-a-user"),
        pytest.param(chained(), "metric 'fps': ValueError: too slow", id="explained-by-us"),
        pytest.param(RuntimeError("out of memory"), "RuntimeError: out of memory", id="the-users-own"),
    ],
)
def test_an_error_on_one_line(error, line):
    assert one_line(error) == line


@pytest.mark.parametrize(
    ("url", "ending"),
    [("a.txt", "txt"), ("a.tar.gz", "gz"), ("a", ""), ("/b.c/a", ""), (".hidden", ""), ("a.", ""), ("A.YAML", "YAML")],
)
def test_the_ending_of_a_file(url, ending):
    assert get_file_format(url) == ending


def test_the_time_is_as_the_column_shows_it():
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", get_local_time())


@pytest.fixture
def forget():
    yield
    for name in ("third_party_file", "third_party_folder"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("url", ["third_party_file.py", "third_party_folder"])
def test_a_module_stays_importable_and_the_search_path_as_it_was(tmp_path, url, forget):
    (tmp_path / "third_party_file.py").write_text("VALUE = 1\n")
    (tmp_path / "third_party_folder").mkdir()
    (tmp_path / "third_party_folder" / "__init__.py").write_text("VALUE = 1\n")
    before = list(sys.path)
    load_module(str(tmp_path / url))
    assert sys.modules[url.removesuffix(".py")].VALUE == 1
    assert sys.path == before


def test_a_module_that_fails_is_named_and_leaves_the_search_path_as_it_was(tmp_path, forget):
    (tmp_path / "third_party_file.py").write_text("1 / 0\n")
    before = list(sys.path)
    with pytest.raises(ConfigError, match=r"third_party_file\.py: cannot be imported: ZeroDivisionError: division by zero$"):
        load_module(str(tmp_path / "third_party_file.py"))
    assert sys.path == before
