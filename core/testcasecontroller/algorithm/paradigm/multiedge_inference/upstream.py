"""Faults of KubeEdge Ianvs's own host that the paradigm can mend from inside it (`multiedge attach`).

This project's host has neither of them, and does not use this module.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from core.common.log import LOGGER

OWN_HOST = "core.common.user_module"
_PARADIGM = "multiedgeinference"
_NEVER_FORGOTTEN = {"core", "multiedge", "partitioners", "profilers", "sedna", "__main__"}
_last_paths: list[str] = []
_failures: list[str] = []


def is_upstream() -> bool:
    """Whether the host is KubeEdge Ianvs's."""
    return find_spec(OWN_HOST) is None


def forget_other_modules(urls: Iterable[str]) -> None:
    """Python keeps one module of each name, so that the second of two files called basemodel.py would not be loaded.

    Removes the modules that stand in the folders of the previous test case from `sys.modules`, unless the files are the same.
    """
    paths = [os.path.abspath(url) for url in urls if url]
    if paths == _last_paths:
        return
    folders = {os.path.dirname(path) for path in _last_paths}
    for name, module in list(sys.modules.items()):
        if (
            name.partition(".")[0] not in _NEVER_FORGOTTEN
            and _folder(sys.modules.get(name.partition(".")[0], module)) in folders
        ):
            del sys.modules[name]
    _last_paths[:] = paths


def _folder(module: Any) -> str:
    """The folder in which a top-level module stands."""
    file = getattr(module, "__file__", None) or ""
    place = os.path.dirname(file) if os.path.basename(file) == "__init__.py" else file
    return os.path.dirname(os.path.abspath(place)) if place else ""


def keep_finished_cases() -> None:
    """A failing test case gets a row of NaN instead of ending the job, which then fails when the rows are saved and printed."""
    try:
        test_case = importlib.import_module("core.testcasecontroller.testcase.testcase").TestCase
    except (ImportError, AttributeError) as error:
        LOGGER.warning("this version of Ianvs is not known; a test case that fails will end the job: %s", error)
        return
    run = test_case.run

    def run_or_fail(case: Any, workspace: str) -> Any:
        try:
            return run(case, workspace)
        except Exception as error:
            if case.algorithm.paradigm_type != _PARADIGM:
                raise
            LOGGER.exception("test case failed: %s; its row has NaN", case.algorithm.name)
            if not _failures:
                _fail_after_the_table()
            _failures.append(f"{case.algorithm.name}: {' '.join(str(error).split())}")
            return {metric["name"]: math.nan for metric in case.test_env.metrics}

    test_case.run = run_or_fail


def _fail_after_the_table() -> None:
    rank = importlib.import_module("core.storymanager.rank.rank").Rank
    plot = rank.plot

    def plot_and_fail(self: Any) -> None:
        plot(self)
        more = f" (and {len(_failures) - 1} more)" if len(_failures) > 1 else ""
        raise RuntimeError(f"test case failed: {_failures[0]}{more}")

    rank.plot = plot_and_fail
