"""The report page of a job: its test cases with their plans and measurements, as far as the base models saved them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.common.log import LOGGER
from core.storymanager.rank.repeats import SUFFIX, read_interval
from core.testcasecontroller.testcase.testcase import Failure, Outcome
from multiedge.errors import MultiedgeError
from multiedge.metrics import MetricValue, describe_metric
from multiedge.report.page import find_results, write_report
from multiedge.report.repeats import combined
from multiedge.report.results import RunResult, load_results
from multiedge.report.units import number_of


def write_page(name: str, outcomes: Sequence[Outcome], failed: Sequence[Failure], workspace: str) -> None:
    """Writes `report.html` into the job's folder. Rows do not depend on it: what is wrong with a results file is a warning."""
    path = os.path.join(workspace, "report.html")
    reasons = [(failure.algorithm.title, failure.reason) for failure in failed]
    try:
        results = [_result(outcome) for outcome in outcomes]
        write_report(results, path, title=f"Ianvs job: {name}", failed=reasons)
    except (MultiedgeError, OSError) as error:
        LOGGER.warning("no report page: %s", error)
    else:
        LOGGER.info("report page: %s", path)


def _result(outcome: Outcome) -> RunResult:
    """What the rounds of the test case saved in their folders, otherwise its metrics alone; in both cases with the metrics of
    the job."""
    metrics = {name: _figure(name, outcome.metrics) for name in outcome.metrics if not name.endswith(SUFFIX)}
    saved = [find_results(Path(url)) for url in (*outcome.earlier, outcome.url)]
    title = outcome.algorithm.title
    if not all(saved):
        return RunResult(title, metrics, configuration=dict(outcome.algorithm.hyperparameters))
    result = combined([load_results(paths[0]) for paths in saved])
    return replace(result, name=title, results={**metrics, **result.results})


def _figure(name: str, metrics: Mapping[str, Any]) -> MetricValue:
    unit, direction, description = describe_metric(name)
    value, interval = metrics[name], read_interval(metrics.get(name + SUFFIX))
    number = number_of(value)
    note = value if number is None and isinstance(value, str) else ""
    method = "none" if number is None else "measured"
    return MetricValue(number, unit, direction, description, note, method, interval=interval)
