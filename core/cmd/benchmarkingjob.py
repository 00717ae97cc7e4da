"""A benchmarking job: read whole, checked whole, then run."""

from __future__ import annotations

import os
from dataclasses import dataclass

from core.common.config import existing_file, read_section
from core.common.constant import TestObjectType
from core.storymanager.rank.rank import Rank, parse_rank
from core.storymanager.rank.table import NO_ROWS
from core.testcasecontroller.algorithm.algorithm import Algorithm, parse_algorithms
from core.testcasecontroller.testcase.testcase import Failure, TestCase
from core.testcasecontroller.testcasecontroller import run_testcases
from core.testenvmanager.testenv.testenv import TestEnv, read_testenv
from multiedge.formats.fields import Field

_KEYS = ("name", "workspace", "testenv", "test_object", "rank", "simulation")


class JobError(Exception):
    """Some test cases of a job failed; the others' results are on the leaderboard."""


@dataclass(frozen=True)
class BenchmarkingJob:
    """Algorithms, compared in one test environment; `workspace` is the job's own folder."""

    name: str
    workspace: str
    test_env: TestEnv
    algorithms: tuple[Algorithm, ...]
    rank: Rank

    def run(self) -> None:
        """Runs every test case, writes the rank files and shows the leaderboard. Raises JobError if a test case failed."""
        self.test_env.dataset.check()
        cases = [TestCase(self.test_env, algorithm) for algorithm in self.algorithms]
        done, failed = run_testcases(cases, self.workspace)
        self.rank.plot(self.rank.save(done, self.workspace) if done else NO_ROWS, failed)
        if failed:
            raise JobError(_summary(failed, len(cases)))


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
    )


def _algorithms(field: Field) -> tuple[Algorithm, ...]:
    content = field.record(("type", *(kind.value for kind in TestObjectType)))
    return parse_algorithms(content[content["type"].enum(TestObjectType).value])
