"""Where a text ends: at one of several texts, which may lie across several pieces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scan:
    """What is known after a piece: `text` can be shown, `held` may be the beginning of a stop text."""

    text: str
    held: str = ""
    is_stopped: bool = False


def scan(held: str, piece: str, stops: tuple[str, ...]) -> Scan:
    """What can be shown of the text that was held and the piece after it, without the earliest of the stop texts and all that
    follows.

    >>> scan("", "one\\nUs", ("\\nUser:",))
    Scan(text='one', held='\\nUs', is_stopped=False)
    >>> scan("\\nUs", "er: two", ("\\nUser:",))
    Scan(text='', held='', is_stopped=True)
    """
    text = held + piece
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    if places:
        return Scan(text[: min(places)], is_stopped=True)
    size = max((_beginning(text, stop) for stop in stops), default=0)
    return Scan(text[: len(text) - size], text[len(text) - size :])


def _beginning(text: str, stop: str) -> int:
    """How many of the last characters of the text are the first ones of the stop text."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)
