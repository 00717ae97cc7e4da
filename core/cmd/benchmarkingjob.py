"""A benchmarking job: read whole, checked whole, then run."""

from __future__ import annotations

import os
from dataclasses import dataclass

from core.common.config import existing_file, read_section
from core.common.constant import TestObjectType
from core.common.log import LOGGER
from core.storymanager.rank.rank import Rank, parse_rank
from core.storymanager.rank.repeats import combined
from core.storymanager.rank.table import NO_ROWS
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
        """Runs every test case, writes the rank files and shows the leaderboard. Raises JobError if a test case failed."""
        self.test_env.dataset.check()
        done, failed = self._run_rounds()
        self.rank.plot(self.rank.save(done, self.workspace) if done else NO_ROWS, failed)
        if failed:
            raise JobError(_summary(failed, len(self.algorithms)))

    def _run_rounds(self) -> tuple[list[Outcome], list[Failure]]:
        """Every test case in turn, round after round, so that a host that is busy for a while does not harm one of them alone.
        One that failed is not run again."""
        rounds: list[list[Outcome]] = []
        failed: list[Failure] = []
        for number in range(1, self.repeat + 1):
            if self.repeat > 1:
                LOGGER.info("round %d of %d", number, self.repeat)
            left = [each for each in self.algorithms if not any(each is failure.algorithm for failure in failed)]
            done, wrong = run_testcases([TestCase(self.test_env, algorithm) for algorithm in left], self.workspace)
            rounds.append(done)
            failed += wrong
        return combined(rounds), failed


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
    return BenchmarkingJob(
        name,
        os.path.join(content["workspace"].optional(Field.name, "./workspace"), name),
        read_testenv(existing_file(content["testenv"])),
        _algorithms(content["test_object"]),
        content["rank"].optional(parse_rank, Rank()),
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
