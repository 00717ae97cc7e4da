"""Loaders of JSON and YAML: safe, bounded, and each failure is one line with the place."""

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiedge.errors import ConfigError, ProfileError
from multiedge.formats import documents
from multiedge.formats.documents import parse_json, parse_yaml, read_json, read_yaml
from multiedge.formats.fields import Kind
from tests.builders.refusals import refusal

PROFILE = Kind("profile", ProfileError, "profile the model again")
READERS = [read_json, read_yaml]


def test_files_hold_what_was_written_with_or_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text('{"a": [1, "é"]}', encoding="utf-8-sig")
    assert read_json(path).value == read_yaml(path).value == {"a": [1, "é"]}
    assert parse_json(b'{"a": 1}', "message")["a"].integer() == 1
    assert parse_yaml("", "empty").value is None
    assert parse_yaml("base: &b {x: 1}\nmore: {<<: *b, x: 2}", "merged")["more"]["x"].integer() == 2


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_readable_file_is_one_line(read, tmp_path):
    (tmp_path / "profile.json").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    messages = {
        "profil.json": f"{tmp_path}/profil.json: no such profile (looked from {os.getcwd()}); did you mean 'profile.json'?",
        ".": f"{tmp_path}: is a folder; expected a profile; profile the model again",
        "pipe": f"{tmp_path}/pipe: is no regular file; expected a profile; profile the model again",
        "latin": f"{tmp_path}/latin: expected text in UTF-8; byte 0 is not; profile the model again",
        "profile.json/x": f"{tmp_path}/profile.json/x: cannot be read: not a directory",
        "a\0b": f"'{tmp_path}/a\\x00b': a path cannot hold a null character",
    }
    for name, message in messages.items():
        with pytest.raises(ProfileError) as failure:
            read(tmp_path / name, PROFILE)
        assert str(failure.value) == message


def test_a_file_beyond_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "MAX_YAML_BYTES", 10)
    (tmp_path / "a.yaml").write_text("a: 123456789")
    with pytest.raises(ConfigError, match="expected at most 10 B, got 12 B"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "f: not valid JSON: expecting property name enclosed in double quotes at column 2"),
        ('{"a": 1,\n "b" 2}', "f:2: not valid JSON: expecting ':' delimiter at column 6"),
        ("", "f: not valid JSON: expecting value at column 1"),
        (b"\xff", "f: not valid JSON: byte 0 is not UTF-8"),
        ("[" * 100_000, "f: not valid JSON: nested too deeply"),
        ("9" * 5000, "f: not valid JSON: a number has too many digits"),
    ],
)
def test_a_text_that_is_no_json_is_one_line(text, message):
    with pytest.raises(ConfigError) as failure:
        parse_json(text, "f")
    assert str(failure.value) == message


BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [", "f:2: not valid yaml: expected the node content, but found '<stream end>'"),
        ("a: 1\nb: 2024-13-45", "f:2: not valid yaml: '2024-13-45' is not a valid timestamp"),
        ("a: !!int x", "f:1: not valid yaml: 'x' is not a valid int"),
        ("a: !!bool x", "f:1: not valid yaml: 'x' is not a valid bool"),
        ("a: !!timestamp x", "f:1: not valid yaml: 'x' is not a valid timestamp"),
        ("a: " + "9" * 5000, f"f:1: not valid yaml: '{'9' * 60}...' is not a valid int"),
        ("a: 1\nb: {x: 1, x: 2}", "f:2: not valid yaml: the key 'x' is given twice in one mapping"),
        ("a: &a [*a]", "f:1: not valid yaml: a value holds itself by an alias"),
        ("[" * 5000, "f: not valid yaml: nested too deeply"),
        ("a: \x01", "f: not valid yaml: the character '\\x01' is not allowed"),
        ("? [a]\n: 1", "f:1: not valid yaml: found unhashable key"),
        ("!!python/object/apply:os.system ['true']", "f:1: not valid yaml: could not determine a constructor for the tag"
         " 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("a: 1\n---\nb: 2", "f:2: not valid yaml: but found another document"),
        (BOMB, "f:7: not valid yaml: more than 1000000 values, aliases counted as copies"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_yaml_is_one_line(text, message):
    with pytest.raises(ConfigError) as failure:
        parse_yaml(text, "f")
    assert str(failure.value) == message


def test_deep_nesting_in_yaml_is_refused_at_once():
    begin = time.process_time()
    with pytest.raises(ConfigError, match="f: not valid yaml: nested too deeply"):
        parse_yaml("a: " + "[" * 100_000 + "b: 1, " * 1000, "f")
    assert time.process_time() - begin < 1


@given(st.text(alphabet=st.sampled_from("{}[]:,-&*!|>?#'\"% \n\tab1.e~<=\\0"), max_size=40))
def test_any_text_is_parsed_or_refused_in_one_line(text):
    for parse in (parse_json, parse_yaml):
        message = refusal(lambda parse=parse: parse(text, "f", PROFILE), ProfileError)
        assert message is None or (message.startswith("f:") and "\n" not in message)
