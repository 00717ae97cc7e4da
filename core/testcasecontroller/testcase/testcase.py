"""One test case: one algorithm, with one combination of hyperparameters, in one test environment."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from core.testcasecontroller.algorithm.algorithm import Algorithm
from core.testenvmanager.testenv.testenv import TestEnv


@dataclass(frozen=True)
class TestCase:
    """`id` names the folder of the test case below the job's workspace."""

    __test__ = False

    test_env: TestEnv
    algorithm: Algorithm
    id: uuid.UUID = field(default_factory=uuid.uuid1)

    def output_dir(self, workspace: str) -> str:
        return os.path.join(workspace, self.algorithm.name, str(self.id))

    def run(self, workspace: str) -> dict[str, Any]:
        """The value of each metric. Raises what the user's code raises."""
        with _isolated(), ExitStack() as stack:
            for module in self.algorithm.modules.values():
                module.source.registered()
                stack.enter_context(module.source.active())
            paradigm = self.algorithm.paradigm(self.output_dir(workspace), **self._environment())
            result, _ = paradigm.run()
            return self._compute_metrics(result)

    def _environment(self) -> dict[str, Any]:
        return {**self.test_env.settings, "dataset": self.test_env.dataset, "metrics": self.test_env.metrics}

    def _compute_metrics(self, result: Any) -> dict[str, Any]:
        dataset = self.test_env.dataset
        truth = dataset.load_data(dataset.test_url, "eval overall", label=dataset.label).y
        return {metric.name: metric.compute(truth, result) for metric in self.test_env.metrics}


@dataclass(frozen=True)
class Outcome:
    """A test case that ran: `metrics` by name, the `time` it ended, the folder it wrote to, and those of earlier rounds."""

    algorithm: Algorithm
    metrics: Mapping[str, Any]
    time: str
    url: str
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A test case that failed: `reason` is one line."""

    algorithm: Algorithm
    reason: str


@contextmanager
def _isolated() -> Iterator[None]:
    """Hides the host's command-line options from user code, and restores what it may change: current folder, command line,
    search path and environment."""
    folder, arguments, path, environment = os.getcwd(), sys.argv, list(sys.path), dict(os.environ)
    sys.argv = arguments[:1]
    try:
        yield
    finally:
        os.chdir(folder)
        sys.argv, sys.path[:] = arguments, path
        os.environ.clear()
        os.environ.update(environment)
