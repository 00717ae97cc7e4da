from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Literal

import pytest

from multiedge.errors import ConfigError
from multiedge.formats.fields import Field, Kind
from multiedge.formats.records import LineDecoder, encode_line, reader_of


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    size: int
    rate: float = 1.0


@dataclass(frozen=True)
class Outer:
    name: str
    inner: tuple[Inner, ...]
    by_name: Mapping[str, Inner] = field(default_factory=dict)
    maybe: float | None = None
    word: Literal["on", "off"] = "on"
    rest: Any = None


OUTER = Outer("a", (Inner(1), Inner(2, 0.5)), {"x": Inner(3)}, 2.0, "off", {"k": [1, None]})


def test_a_record_is_read_as_it_was_written():
    assert reader_of(Outer)(Field(asdict(OUTER), "file")) == OUTER


def test_an_enum_is_read_by_its_word():
    assert reader_of(Colour)(Field("blue", "file")) is Colour.BLUE


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        (Outer, {"name": "a", "inner": [{"size": "1"}]}, r"file: inner\[0\].size: expected a whole number, got '1'"),
        (Inner, {"size": 1}, "file: rate: missing; expected a number"),
        (Colour, "green", "file: unknown value 'green'"),
        (tuple[int, ...], 3, "file: expected a list, got 3"),
    ],
)
def test_an_error_names_the_place(kind, data, text):
    with pytest.raises(ConfigError, match=text):
        reader_of(kind)(Field(data, "file"))


def test_a_field_with_a_default_may_be_missing_where_that_is_allowed():
    assert reader_of(Inner, uses_defaults=True)(Field({"size": 1}, "file")) == Inner(1, 1.0)
    with pytest.raises(ConfigError, match="file: size: missing"):
        reader_of(Inner, uses_defaults=True)(Field({}, "file"))


def test_infinite_numbers_are_refused_where_numbers_must_be_finite():
    data = Field({"size": 1, "rate": float("inf")}, "file")
    assert reader_of(Inner)(data).rate == float("inf")
    with pytest.raises(ConfigError, match="file: rate: expected a finite number"):
        reader_of(Inner, finite=True)(data)


def test_a_line_that_is_too_long_is_refused_before_it_ends():
    decoder = LineDecoder([Inner], "peer", Kind("message", ConfigError), most_bytes=100)
    assert decoder.feed(encode_line(Inner(1))) == (Inner(1),)
    with pytest.raises(ConfigError, match="peer: expected lines of at most 100 bytes"):
        decoder.feed(b"x" * 101)
