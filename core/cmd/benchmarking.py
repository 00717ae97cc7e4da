"""The command `ianvs`: runs a benchmarking job and prints its leaderboard."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from core.__version__ import __version__
from core.cmd.benchmarkingjob import JobError, read_job
from core.common import class_factory
from core.common.log import LOGGER
from core.common.utils import one_line
from multiedge.errors import MultiedgeError

INTERRUPTED = 130
TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a job as Ctrl-C does: what is finished is kept."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed with one last line on stderr, 2 wrong usage, 130 interrupted, 143 terminated."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if not words:
        parser.print_help(sys.stderr)
        return 1
    args = parser.parse_args(words)
    class_factory.install()
    try:
        with _terminable():
            read_job(args.benchmarking_config_file).run()
    except (JobError, MultiedgeError) as error:
        return _failed(str(error))
    except KeyboardInterrupt as error:
        is_terminated = isinstance(error, Terminated)
        LOGGER.error(
            "%s; the test cases that have ended are in the rank files", "terminated" if is_terminated else "interrupted"
        )
        return TERMINATED if is_terminated else INTERRUPTED
    except Exception as error:
        LOGGER.exception("unexpected error")
        return _failed(one_line(error))
    LOGGER.info("benchmarkingjob runs successfully.")
    return 0


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises Terminated inside the block. Only the main thread can arrange that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _failed(reason: str) -> int:
    sys.stdout.flush()
    print(f"RuntimeError: benchmarkingjob runs failed, error: {reason}", file=sys.stderr)
    return 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ianvs", description="Run an Ianvs benchmarking job for multi-edge inference.")
    parser.add_argument("-f", "--benchmarking_config_file", metavar="FILE", required=True, help="the job, a .yaml or .yml file")
    parser.add_argument("-v", "--version", action="version", version=__version__)
    return parser


if __name__ == "__main__":
    sys.exit(main())
