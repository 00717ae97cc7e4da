"""What is wrong with a workflow: every mistake is kept with its place, and all are told together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from multiedge.errors import MultiedgeError, WorkflowError
from multiedge.formats.fields import Field

T = TypeVar("T")


class Mistakes:
    """Collects mistakes; what depends on a value that is wrong is not looked at."""

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}

    def at(self, field: Field, problem: str) -> None:
        """Adds a mistake, which states the finding and the remedy, at the place of the field."""
        self._texts[str(field.error(problem))] = field.line

    def read(self, field: Field, read: Callable[[Field], T]) -> T | None:
        """The field as `read` returns it; None, and one more mistake, if it raises."""
        try:
            return read(field)
        except MultiedgeError as error:
            self._texts[str(error)] = field.line
            return None

    def require_none(self) -> None:
        """Raises WorkflowError with all mistakes, in the order of their lines, if there are any."""
        if self._texts:
            raise WorkflowError(sorted(self._texts, key=lambda text: self._texts[text]))
