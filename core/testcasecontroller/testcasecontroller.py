"""Runs test cases one after the other; one that fails does not keep the others from running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter

from core.common.log import LOGGER
from core.common.utils import get_local_time, one_line
from core.testcasecontroller.testcase.testcase import Failure, Outcome, TestCase
from multiedge.errors import MultiedgeError


def run_testcases(cases: Sequence[TestCase], workspace: str) -> Iterator[Outcome | Failure]:
    """The result of each test case, as soon as it has ended."""
    for number, case in enumerate(cases, 1):
        LOGGER.info("test case %d of %d: %s", number, len(cases), case.algorithm.title)
        start = perf_counter()
        try:
            metrics = case.run(workspace)
        except (Exception, SystemExit) as error:
            _log_failure(case, error)
            yield Failure(case.algorithm, one_line(error))
        else:
            LOGGER.info("test case %d of %d: done in %.1f s", number, len(cases), perf_counter() - start)
            yield Outcome(case.algorithm, metrics, get_local_time(), case.output_dir(workspace))


def _log_failure(case: TestCase, error: BaseException) -> None:
    """One line; with the traceback where it is the user's code that failed, to help to correct it."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    explained = any(isinstance(link, MultiedgeError) for link in chain)
    LOGGER.error("test case failed: %s: %s", case.algorithm.title, one_line(error), exc_info=None if explained else chain[-1])
