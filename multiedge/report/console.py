"""A console for texts from files: names of devices, nodes and tensors may look like markup or hold commands to a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from multiedge.errors import printable


class PlainConsole(Console):
    """Prints texts as they are, without rich's markup (a tag that is not closed would end the command) and without control
    characters. rich counts these as of no width, so tables stay aligned."""

    def __init__(self, *, file: IO[str] | None = None, width: int | None = None, **options: Any) -> None:
        super().__init__(file=file, width=width, markup=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            clean = segment.control or segment.text == "\n" or segment.text.isprintable()
            yield segment if clean else _printable(segment)


def _printable(segment: Segment) -> Segment:
    return Segment("\n".join(map(printable, segment.text.split("\n"))), segment.style)
