"""How the scripts of examples speak and end: what they do goes to stderr, and an error is one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from multiedge.errors import MultiedgeError

FAILED, INTERRUPTED = 1, 130


def say(text: str) -> None:
    """A line on stderr: stdout is for results."""
    print(text, file=sys.stderr)


def run_script(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None], argv: Sequence[str] | None = None
) -> int:
    """Runs a script.

    Args:
        parser: Its options; the errors begin with its `prog`.
        run: Does the work.
        argv: The words of the command line; those of this process if None.

    Returns:
        The exit status: 0 done, 1 failed with one line on stderr, 130 interrupted.
    """
    name = Path(parser.prog).name
    try:
        run(parser.parse_args(argv))
    except MultiedgeError as error:
        say(f"{name}: {error}")
        return FAILED
    except KeyboardInterrupt:
        say(f"{name}: interrupted")
        return INTERRUPTED
    return 0
