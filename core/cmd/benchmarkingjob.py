"""A benchmarking job: read whole, checked whole, then run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.common.config import existing_file, read_section
from core.common.constant import TestObjectType
from core.common.log import LOGGER
from core.storymanager.rank.rank import Rank, parse_rank
from core.storymanager.rank.repeats import combined
from core.storymanager.rank.table import NO_ROWS, Table
from core.storymanager.visualization.page import write_page
from core.testcasecontroller.algorithm.algorithm import Algorithm, parse_algorithms
from core.testcasecontroller.testcase.testcase import Failure, Outcome, TestCase
from core.testcasecontroller.testcasecontroller import run_testcases
from core.testenvmanager.testenv.testenv import TestEnv, read_testenv
from multiedge.formats.fields import Field

_KEYS = ("name", "workspace", "testenv", "test_object", "rank", "repeat", "simulation")


class JobError(Exception):
    """Some test cases of a job failed; the others' results are on the leaderboard."""


@dataclass(frozen=True)
class BenchmarkingJob:
    """Algorithms, compared in one test environment, each `repeat` times; `workspace` is the job's own folder."""

    name: str
    workspace: str
    test_env: TestEnv
    algorithms: tuple[Algorithm, ...]
    rank: Rank
    repeat: int = 1

    def run(self) -> None:
        """Runs every test case, writes the rank files and shows the leaderboard. Raises JobError if a test case failed.

        The rank files are written after each test case, so that an interruption or a crash loses none that has ended.
        """
        self.test_env.dataset.check()
        self.rank.check(self.workspace)
        done: list[Outcome] = []
        failed: list[Failure] = []
        selected = NO_ROWS
        try:
            for result in self._results(failed):
                if isinstance(result, Failure):
                    failed.append(result)
                else:
                    done.append(result)
                ended = self._ended(done, failed)
                if ended:
                    selected = self.rank.save(ended, self.workspace, [outcome.url for outcome in done])
        finally:
            self._show(self._ended(done, failed), failed, selected)
        if failed:
            raise JobError(_summary(failed, len(self.algorithms)))

    def _results(self, failed: Sequence[Failure]) -> Iterator[Outcome | Failure]:
        """Every test case in turn, round after round, so that a host that is busy for a while does not harm one of them alone.
        One that has `failed` is not run again."""
        for number in range(1, self.repeat + 1):
            if self.repeat > 1:
                LOGGER.info("round %d of %d", number, self.repeat)
            left = [each for each in self.algorithms if not any(each is failure.algorithm for failure in failed)]
            yield from run_testcases([TestCase(self.test_env, algorithm) for algorithm in left], self.workspace)

    def _ended(self, done: Sequence[Outcome], failed: Sequence[Failure]) -> list[Outcome]:
        """The test cases that have run without a failure, in the order of the job, their rounds combined."""
        rounds = [[outcome for outcome in done if outcome.algorithm is algorithm] for algorithm in self.algorithms]
        wrong = [failure.algorithm for failure in failed]
        kept = [own for own in rounds if own and not any(own[0].algorithm is each for each in wrong)]
        return [combined([[outcome] for outcome in own])[0] for own in kept]

    def _show(self, done: Sequence[Outcome], failed: Sequence[Failure], selected: Table) -> None:
        """Shows the test cases that have ended."""
        if done:
            LOGGER.info("rank files, with the folder of each row: %s", os.path.join(self.workspace, "rank"))
        if done or failed:
            write_page(self.name, done, failed, self.workspace)
            self.rank.plot(selected, failed)


def _summary(failed: list[Failure], total: int) -> str:
    first = f"{failed[0].algorithm.title}: {failed[0].reason}"
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return f"{len(failed)} of {total} test cases failed: {first}{more}"


def read_job(url: str) -> BenchmarkingJob:
    """The job in the yaml file `url`; every path in it is taken from the current folder.

    Raises ConfigError, one line, for anything in the job's own files that cannot be used.
    """
    content = read_section(url, "benchmarkingjob").record(_KEYS)
    if content["simulation"].value:
        raise content["simulation"].error(
            "this host starts no cluster; leave the key out, or run the job in KubeEdge Ianvs"
            " (https://github.com/kubeedge/ianvs)"
        )
    name = content["name"].name()
    test_env = read_testenv(existing_file(content["testenv"]))
    metrics = [metric.name for metric in test_env.metrics]
    return BenchmarkingJob(
        name,
        os.path.join(content["workspace"].optional(Field.name, "./workspace"), name),
        test_env,
        _algorithms(content["test_object"]),
        content["rank"].optional(lambda field: parse_rank(field, metrics), Rank()),
        content["repeat"].optional(_repeat, 1),
    )


def _repeat(field: Field) -> int:
    count = field.count()
    if count < 1:
        raise field.expected("1 or more")
    return count


def _algorithms(field: Field) -> tuple[Algorithm, ...]:
    content = field.record(("type", *(kind.value for kind in TestObjectType)))
    return parse_algorithms(content[content["type"].enum(TestObjectType).value])
