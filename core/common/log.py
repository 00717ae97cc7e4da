"""The logger `ianvs`: progress on stderr, so that stdout holds only the table."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    _Handler = logging.StreamHandler[TextIO]
else:
    # Python 3.10 cannot subscript it.
    _Handler = logging.StreamHandler


class _CurrentStderr(_Handler):
    """Writes to the present `sys.stderr`; a handler that keeps the first one misses redirections."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Does nothing: the base class sets a stream, which is not kept."""


def _logger() -> logging.Logger:
    logger = logging.getLogger("ianvs")
    if not logger.handlers:
        handler = _CurrentStderr()
        handler.setFormatter(logging.Formatter("[%(asctime)s] %(filename)s(%(lineno)d) [%(levelname)s] - %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return logger


LOGGER = _logger()
