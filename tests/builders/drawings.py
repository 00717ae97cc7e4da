"""Drawings read back as XML, for the tests of charts."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from markupsafe import Markup

from multiedge.report.graph_svg import standalone

SVG = "{http://www.w3.org/2000/svg}"


class Drawing:
    """The elements of a drawing by tag and class."""

    def __init__(self, markup: Markup) -> None:
        self.root = ElementTree.fromstring(standalone(markup))

    def all(self, tag: str, class_: str | None = None) -> list[ElementTree.Element]:
        """Every element of that tag whose classes contain `class_`."""
        return [
            found for found in self.root.iter(f"{SVG}{tag}") if class_ is None or class_ in (found.get("class") or "").split()
        ]

    def texts(self, class_: str | None = None) -> list[str]:
        return [found.text or "" for found in self.all("text", class_)]

    def titles(self, tag: str, class_: str | None = None) -> list[str]:
        """The tooltips of these elements, '' where there is none."""
        return [found.findtext(f"{SVG}title") or "" for found in self.all(tag, class_)]

    def numbers(self, tag: str, name: str, class_: str | None = None) -> list[float]:
        """An attribute of these elements as a number."""
        return [float(found.get(name, "nan")) for found in self.all(tag, class_)]

    @property
    def size(self) -> tuple[float, float]:
        width, height = (float(word) for word in self.root.get("viewBox", "").split()[2:])
        return width, height

    def corners(self) -> Iterator[tuple[float, float]]:
        """Two opposite corners of every rectangle, the centre of every circle, both ends of every line."""
        for rect in self.all("rect"):
            x, y = float(rect.get("x", 0)), float(rect.get("y", 0))
            yield x, y
            yield x + float(rect.get("width", 0)), y + float(rect.get("height", 0))
        for circle in self.all("circle"):
            yield float(circle.get("cx", 0)), float(circle.get("cy", 0))
        for line in self.all("line"):
            yield float(line.get("x1", 0)), float(line.get("y1", 0))
            yield float(line.get("x2", 0)), float(line.get("y2", 0))

    def is_inside(self) -> bool:
        """Whether all of it lies within the picture."""
        width, height = self.size
        return all(-0.5 <= x <= width + 0.5 and -0.5 <= y <= height + 0.5 for x, y in self.corners())


def path_points(path: str) -> list[tuple[float, float]]:
    """The corners of a path of absolute M, L, H and V commands.

    >>> path_points("M0,1H5V3L7,8Z")
    [(0.0, 1.0), (5.0, 1.0), (5.0, 3.0), (7.0, 8.0)]
    """
    points: list[tuple[float, float]] = []
    for command in path.rstrip("Z").replace("M", " M").replace("L", " L").replace("H", " H").replace("V", " V").split():
        kind, numbers = command[0], [float(number) for number in command[1:].split(",")]
        if kind == "H":
            points.append((numbers[0], points[-1][1]))
        elif kind == "V":
            points.append((points[-1][0], numbers[0]))
        else:
            points.append((numbers[0], numbers[1]))
    return points
