"""Runs test cases one after the other; the others run even if one fails."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from core.common.log import LOGGER
from core.common.utils import get_local_time, one_line
from core.testcasecontroller.testcase.testcase import Failure, Outcome, TestCase
from multiedge.errors import MultiedgeError


def run_testcases(cases: Sequence[TestCase], workspace: str) -> tuple[list[Outcome], list[Failure]]:
    """The outcomes of the test cases that ran, and the failures of the others."""
    done: list[Outcome] = []
    failed: list[Failure] = []
    for number, case in enumerate(cases, 1):
        LOGGER.info("test case %d of %d: %s", number, len(cases), case.algorithm.title)
        start = perf_counter()
        try:
            metrics = case.run(workspace)
        except (Exception, SystemExit) as error:
            failed.append(Failure(case.algorithm, one_line(error)))
            _log_failure(case, error)
            continue
        LOGGER.info("test case %d of %d: done in %.1f s", number, len(cases), perf_counter() - start)
        done.append(Outcome(case.algorithm, metrics, get_local_time(), case.output_dir(workspace)))
    return done, failed


def _log_failure(case: TestCase, error: BaseException) -> None:
    """Logs one line, with the traceback if the user's code failed."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    explained = any(isinstance(link, MultiedgeError) for link in chain)
    LOGGER.error("test case failed: %s: %s", case.algorithm.title, one_line(error), exc_info=None if explained else chain[-1])
