"""The decoder: each getter returns its type or one line with the place, whatever the value is."""

import datetime
import math
from enum import Enum

import pytest
from hypothesis import given

from multiedge.errors import ConfigError, PlanError
from multiedge.formats.documents import parse_yaml
from multiedge.formats.fields import MAX_DEPTH, Field, Kind
from multiedge.quantity import BYTES, FACTOR
from tests.builders.refusals import JSON_VALUES, refusal

PLAN = Kind("plan", PlanError, "write it again")

A_FACTOR = "expected a number such as 0.5"
ANY_JSON = "expected a text, a number, true, false, null, a list or a mapping"


class Colour(Enum):
    RED = "red"
    GREEN = "green"


def message_of(read, value):
    with pytest.raises(ConfigError) as failure:
        read(Field({"key": value}, "file.yaml")["key"])
    return str(failure.value)


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (Field.text, "", ""),
        (Field.text, "é", "é"),
        (Field.name, "phone", "phone"),
        (Field.name, 1, "1"),
        (Field.boolean, False, False),
        (Field.integer, -3, -3),
        (Field.integer, 2**63 - 1, 2**63 - 1),
        (Field.count, 0, 0),
        (Field.number, 3, 3.0),
        (Field.number, 1e300, 1e300),
        (lambda field: field.number(finite=False), math.inf, math.inf),
        (lambda field: field.number(0, 1), 1, 1.0),
        (lambda field: field.quantity(BYTES), "2GiB", 2.0**31),
        (lambda field: field.choice(("a", "b")), "b", "b"),
        (lambda field: field.enum(Colour), "green", Colour.GREEN),
        (lambda field: field.list_of(Field.integer), [1, 2], (1, 2)),
        (lambda field: field.pair_of(Field.integer), [1, 2], (1, 2)),
        (lambda field: field.mapping_of(Field.number), {"a": 1, 2: 3}, {"a": 1.0, "2": 3.0}),
        (lambda field: field.optional(Field.text), None, None),
        (lambda field: field.optional(Field.count, 7), None, 7),
        (lambda field: field.optional(Field.count, 7), 3, 3),
        (Field.data, {"a": [1, None, {"b": 0.5}]}, {"a": [1, None, {"b": 0.5}]}),
    ],
)
def test_a_getter_returns_what_it_names(read, value, expected):
    result = read(Field({"key": value}, "file.yaml")["key"])
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("read", "value", "finding"),
    [
        (Field.text, 3, "expected a text, got 3"),
        (Field.text, "a\0b", r"expected a text that UTF-8 can hold, without null characters, got 'a\x00b'"),
        (Field.text, "\ud800", r"expected a text that UTF-8 can hold, without null characters, got '\ud800'"),
        (Field.name, " ", "expected a name, got ' '"),
        (Field.name, True, "expected a name, got true"),
        (Field.boolean, 1, "expected true or false, got 1"),
        (Field.boolean, "yes", "expected true or false, got 'yes'"),
        (Field.integer, 1.0, "expected a whole number, got 1.0"),
        (Field.integer, True, "expected a whole number, got true"),
        (Field.integer, 2**63, "expected a whole number, got a whole number of more than 64 bits"),
        (Field.count, -1, "expected a whole number from 0, got -1"),
        (lambda field: field.integer(1, 5), 6, "expected a whole number from 1 to 5, got 6"),
        (Field.number, "3", "expected a finite number, got '3'"),
        (Field.number, math.nan, "expected a finite number, got nan"),
        (Field.number, 10**400, "expected a finite number, got a whole number of more than 64 bits"),
        (lambda field: field.number(0), -math.inf, "expected a finite number from 0, got -inf"),
        (lambda field: field.number(most=1), 2, "expected a finite number up to 1, got 2"),
        (lambda field: field.quantity(FACTOR), -1, f"{A_FACTOR}, not negative and finite, got -1"),
        (lambda field: field.quantity(FACTOR, positive=True), 0, f"{A_FACTOR}, more than zero, got 0"),
        (lambda field: field.quantity(FACTOR), 10**400, f"{A_FACTOR}, got a whole number of more than 64 bits"),
        (lambda field: field.quantity(FACTOR), [1], f"{A_FACTOR}, got a list of 1"),
        (lambda field: field.choice(("left", "right")), "rihgt", "unknown value 'rihgt'; did you mean 'right'?"),
        (lambda field: field.choice(("left", "right")), ["left"], "expected one of left, right, got a list of 1"),
        (lambda field: field.enum(Colour), "blue", "unknown value 'blue'; known: green, red"),
        (Field.items, {"a": 1}, "expected a list, got a mapping of a"),
        (lambda field: field.items(least=1), [], "expected a list of at least 1 entry, got an empty list"),
        (lambda field: field.pair_of(Field.text), ["a"], "expected a list of two, got a list of 1"),
        (Field.mapping, [1], "expected a mapping, got a list of 1"),
        (Field.mapping, {1: 2, "1": 3}, "expected each key once and in UTF-8, got '1'"),
        (lambda field: field.record(("a", "b")), None, "expected a mapping of a, b, got nothing"),
        (lambda field: field.record(("memory",)), {"memry": 1}, "unknown key 'memry'; did you mean 'memory'?"),
        (lambda field: field.record(("a",), {"b": "a"}), {"a": 1, "b": 2}, "'a' is given twice, once as 'b'; keep one"),
        (lambda field: field.open_record(("memory",)), {"memry": 1}, "unknown key 'memry'; did you mean 'memory'?"),
        (lambda field: field["inner"], "text", "expected a mapping with 'inner', got 'text'"),
        (Field.data, datetime.date(2024, 1, 2), f"{ANY_JSON}, got the date 2024-01-02"),
        (Field.text, b"ab", "expected a text, got binary data"),
        (Field.text, {1, 2}, "expected a text, got a set"),
        (Field.integer, "x" * 1000, f"expected a whole number, got '{'x' * 60}...'"),
    ],
)  # fmt: skip
def test_another_value_is_one_line_with_place_expectation_and_finding(read, value, finding):
    assert message_of(read, value) == f"file.yaml: key: {finding}"


def test_a_missing_key_differs_from_an_empty_one():
    field = Field({"null": None}, "file.yaml")
    assert not field["null"].given
    assert not field["other"].given
    assert field["other"].value is None
    assert "null" in field
    assert "other" not in field
    with pytest.raises(ConfigError, match=r"^file.yaml: null: expected a text, got nothing$"):
        field["null"].text()
    with pytest.raises(ConfigError, match=r"^file.yaml: other: missing; expected a text$"):
        field["other"].text()
    with pytest.raises(ConfigError, match=r"^file.yaml: other: missing; expected a size such as"):
        field["other"].quantity(BYTES)


def test_a_field_is_no_sequence():
    with pytest.raises(TypeError, match="not iterable"):
        list(Field({"a": 1}, "file.yaml"))


def test_a_place_has_the_line_of_the_value_where_lines_are_known():
    """A key that is missing is at the line of what would hold it."""
    text = "# devices\ndevices:\n  - {name: phone}\n  - name: laptop\n    speed: fast\n1: one\n"
    document = parse_yaml(text, "devices.yaml", with_lines=True)
    phone, laptop = document["devices"].items()
    assert laptop["speed"].place == "devices.yaml:5: devices[1].speed"
    assert phone["speed"].place == "devices.yaml:3: devices[0].speed"
    assert document["links"].place == "devices.yaml:2: links"
    assert (document["1"].line, laptop.record(("name", "speed"))["speed"].line) == (6, 5)
    with pytest.raises(ConfigError, match=r"^devices\.yaml:5: devices\[1\]\.speed: expected a finite number, got 'fast'$"):
        laptop["speed"].number()


def test_a_place_grows_with_each_key_and_index():
    root = Field({"devices": [{}, {"power": {"idle": "x"}}]}, "devices.yaml")
    idle = root["devices"].items()[1].record(("power",))["power"].mapping()["idle"]
    assert idle.place == "devices.yaml: devices[1].power.idle"
    assert Field([1], "f").items()[0].place == "f: [0]"
    assert Field({"a\nb": 1}, "f")["a\nb"].place == r"f: 'a\nb'"


@pytest.mark.parametrize("key", [True, None, 1.5, datetime.date(2024, 1, 2), ("a", "b")])
def test_keys_that_yaml_reads_as_other_types_are_refused_with_their_place(key):
    assert message_of(Field.mapping, {key: 1}).startswith("file.yaml: key.key: expected a name, got ")


def test_a_number_of_more_digits_than_python_prints_is_one_line():
    for read in (Field.text, Field.integer, Field.number, Field.data, lambda field: field.quantity(BYTES)):
        assert "got a whole number of more than 64 bits" in message_of(read, 10**5000)


def test_a_kind_gives_the_errors_their_class_and_remedy():
    with pytest.raises(PlanError, match=r"^plan.json: stages\[0\]: expected a whole number, got 'x'; write it again$"):
        Field({"stages": ["x"]}, "plan.json", PLAN)["stages"].list_of(Field.integer)


def test_an_open_record_takes_keys_of_others_but_no_misspelling_of_an_absent_one():
    record = Field({"memory": 1, "memries": 2, "extra": 3}, "f").open_record(("memory",))
    assert record["memory"].integer() == 1
    assert record["extra"].integer() == 3


def test_free_form_data_is_bounded_in_depth():
    nested = []
    for _ in range(MAX_DEPTH + 10):
        nested = [nested]
    with pytest.raises(ConfigError, match="expected at most 100 levels"):
        Field(nested, "f").data()


GETTERS = {
    "text": Field.text,
    "name": Field.name,
    "boolean": Field.boolean,
    "integer": Field.integer,
    "number": Field.number,
    "size": lambda field: field.quantity(BYTES),
    "choice": lambda field: field.choice(("a", "b")),
    "enum": lambda field: field.enum(Colour),
    "list": lambda field: field.list_of(Field.number),
    "pair": lambda field: field.pair_of(Field.text),
    "mapping": lambda field: field.mapping_of(Field.text),
    "record": lambda field: field.record(("a", "b"), {"c": "a"}),
    "open record": lambda field: field.open_record(("a", "b")),
    "child": lambda field: field["a"].text(),
    "data": Field.data,
}


@pytest.mark.parametrize("name", GETTERS)
@given(value=JSON_VALUES)
def test_any_value_is_read_or_refused_in_one_line_of_the_kinds_class(name, value):
    message = refusal(lambda: GETTERS[name](Field(value, "plan.json", PLAN)), PlanError)
    assert message is None or (message.startswith("plan.json") and message.endswith("; write it again"))
    assert message is None or ("\n" not in message and len(message) < 600)
