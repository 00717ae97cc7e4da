"""The command `ianvs`: runs a benchmarking job and prints its leaderboard."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from core.__version__ import __version__
from core.cmd.benchmarkingjob import JobError, read_job
from core.common import class_factory
from core.common.log import LOGGER
from core.common.utils import one_line
from multiedge.errors import MultiedgeError

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed with one last line on stderr, 2 wrong usage, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if not words:
        parser.print_help(sys.stderr)
        return 1
    args = parser.parse_args(words)
    class_factory.install()
    try:
        read_job(args.benchmarking_config_file).run()
    except (JobError, MultiedgeError) as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        LOGGER.error("interrupted")
        return INTERRUPTED
    except Exception as error:
        LOGGER.exception("unexpected error")
        return _failed(one_line(error))
    LOGGER.info("benchmarkingjob runs successfully.")
    return 0


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
