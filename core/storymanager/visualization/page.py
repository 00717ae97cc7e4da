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
from multiedge.graph import Graph
from multiedge.metrics import MetricValue, describe_metric
from multiedge.onnx_io import read_manifest
from multiedge.plan import Plan
from multiedge.report import environment
from multiedge.report.page import find_results, write_report
from multiedge.report.repeats import combined
from multiedge.report.results import RunResult, load_results
from multiedge.report.units import number_of
from multiedge.run import graph_of

PARTS = os.path.join("output", "partition")
"""Where the host writes the parts, in the folder of a test case."""


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
    """What the test case saved in its folders, of several rounds the median; otherwise its metrics alone.

    In both cases with the metrics of the job, and with the plan and the model if the host partitioned it.
    """
    metrics = {name: _figure(name, outcome.metrics) for name in outcome.metrics if not name.endswith(SUFFIX)}
    words = {name: figure.note for name, figure in metrics.items() if figure.note}
    own = {name: figure for name, figure in metrics.items() if name not in words}
    title = outcome.algorithm.title
    saved = [find_results(Path(url)) for url in (*outcome.earlier, outcome.url)]
    if saved[-1]:
        last = saved if all(saved) else saved[-1:]
        result = combined([load_results(files[0]) for files in last])
    else:
        result = RunResult(
            title, {}, versions=environment.versions(), commit=environment.commit(), machine=environment.machine()
        )
    repeated = {name: figure for name, figure in own.items() if figure.interval}
    plan, graph = _partition(outcome)
    return replace(
        result,
        name=title,
        results={**own, **result.results, **repeated},
        configuration={**outcome.algorithm.hyperparameters, **words, **result.configuration},
        plan=result.plan or plan,
        graph=result.graph or graph,
    )


def _partition(outcome: Outcome) -> tuple[Plan | None, Graph | None]:
    """The plan and the model in the folder where the host writes the parts; None where a base model made its own."""
    folder = Path(outcome.url, PARTS)
    if not folder.is_dir():
        return None, None
    manifest = read_manifest(folder)
    return manifest.plan, graph_of(manifest)


def _figure(name: str, metrics: Mapping[str, Any]) -> MetricValue:
    unit, direction, description = describe_metric(name)
    value, interval = metrics[name], read_interval(metrics.get(name + SUFFIX))
    number = number_of(value)
    note = value if number is None and isinstance(value, str) else ""
    method = "none" if number is None else "measured"
    return MetricValue(number, unit, direction, description, note, method, interval=interval)
