"""Texts that end before a stop text, wherever its pieces are cut."""

from __future__ import annotations

import itertools

import pytest

from multiedge.decoding.stopping import Scan, scan


@pytest.mark.parametrize(
    ("held", "piece", "stops", "expected"),
    [
        ("", "plain", (), Scan("plain")),
        ("", "plain", ("zz",), Scan("plain")),
        ("", "one. two", (".",), Scan("one", is_stopped=True)),
        ("", "one\n", ("\n\n",), Scan("one", "\n")),
        ("\n", "\ntwo", ("\n\n",), Scan("", is_stopped=True)),
        ("\n", "two", ("\n\n",), Scan("\ntwo")),
        ("", "b then a", ("a", "b"), Scan("", is_stopped=True)),
        ("", "aab", ("ab", "aac"), Scan("a", is_stopped=True)),
        ("", "xaa", ("aab",), Scan("x", "aa")),
        ("aa", "a", ("aab",), Scan("a", "aa")),
    ],
)
def test_what_may_begin_a_stop_text_is_held(held: str, piece: str, stops: tuple[str, ...], expected: Scan) -> None:
    assert scan(held, piece, stops) == expected


def test_the_text_does_not_depend_on_where_it_is_cut() -> None:
    text, stops = "ab-aba--abac", ("abac", "--a")
    for ends in itertools.combinations(range(1, len(text)), 3):
        held, shown = "", ""
        for start, end in itertools.pairwise((0, *ends, len(text))):
            result = scan(held, text[start:end], stops)
            held, shown = result.held, shown + result.text
            if result.is_stopped:
                break
        assert shown == "ab-aba"
        assert result.is_stopped
