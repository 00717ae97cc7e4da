"""One JSON file per run, with everything that the page, the table and a comparison need.

Schema 'multiedge-results/1':

    schema, name, created                  what this is, and when it was made (UTC)
    results                                figure by name: value (null: not measured), unit, direction, description,
                                           note, method, by_device, interval
    validity                               verdict, valid, reasons, faults, moved stages, busy_share of the host, rate_loss
    configuration                          the run's options
    versions, commit, machine              what it ran on
    plan                                   the plan, as in plan.json (null: none)
    graph                                  nodes and who reads what, for the drawing (null: not kept)
    measurements                           raw items and events (bounded; `left_out` counts the rest)
    repeats                                figure by name -> its values in repeated runs
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from multiedge.errors import ConfigError, describe
from multiedge.files import write_text
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Field, Kind
from multiedge.formats.plan import plan_or_none, plan_to_json
from multiedge.graph import Graph
from multiedge.measurements import Measurements
from multiedge.metrics import MetricValue, compute, describe_metric
from multiedge.metrics.validity import FaultCount, MovedStage, Validity, validity
from multiedge.plan import Plan
from multiedge.report import environment
from multiedge.report.encode import free_form, graph_to_json, measurements_to_json, plain_data, read_graph, read_measurements

SCHEMA = "multiedge-results/1"
NOT_CHECKED = "not checked"
KIND = Kind("results file", ConfigError, "run again", "write it with `multiedge run`")


@dataclass(frozen=True)
class RunResult:
    """One run with its metrics and their provenance.

    Attributes:
        name: Name of the run.
        results: Values of metrics by name.
        validity: Whether the run is valid, the reasons if not, and what degraded it.
        configuration: Options of the run.
        plan: The plan; None if there was none.
        measurements: The raw records; None if only metrics are known.
        left_out: How many items and events are not in the file, by kind.
        graph: The model, for the drawing; None if it is not in the file.
        repeats: Values in repeated runs by name of the metric.
        versions: Versions of packages by name.
        commit: The commit of this project; None if unknown.
        machine: Processor, cores, memory and system.
        created: When the result was made, UTC.
    """

    name: str
    results: Mapping[str, MetricValue]
    validity: Validity = field(default_factory=lambda: Validity(True))
    configuration: Mapping[str, Any] = field(default_factory=dict)
    plan: Plan | None = None
    measurements: Measurements | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    graph: Graph | None = None
    repeats: Mapping[str, Sequence[float]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""

    @property
    def verdict(self) -> str:
        """The verdict on the run; 'not checked' for figures without one, since nothing is known about its items."""
        return self.validity.verdict if self.measurements or not self.validity.valid else NOT_CHECKED


def make_result(
    name: str,
    measurements: Measurements,
    *,
    plan: Plan | None = None,
    configuration: Mapping[str, Any] | None = None,
    extra: Mapping[str, float | MetricValue | None] | None = None,
    repeats: Mapping[str, Sequence[float]] | None = None,
    graph: Graph | None = None,
    predicted: Plan | None = None,
) -> RunResult:
    """The result of a run on this machine, now.

    `plan` is the one that ran; `predicted` is the same with another estimate, where its own does not hold for this run; `extra`
    are figures from elsewhere, such as accuracy, by name; with `graph` the page shows the model coloured by device.
    """
    figures = compute(measurements, plan=predicted or plan) | {key: _figure(key, value) for key, value in (extra or {}).items()}
    return RunResult(
        name,
        figures,
        validity(measurements, predicted or plan),
        dict(configuration or {}),
        plan,
        measurements,
        repeats=dict(repeats or {}),
        graph=graph,
        versions=environment.versions(),
        commit=environment.commit(),
        machine=environment.machine(),
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _figure(name: str, value: float | MetricValue | None) -> MetricValue:
    if isinstance(value, MetricValue):
        return value
    unit, direction, description = describe_metric(name)
    return MetricValue(value, unit, direction, description, method="none" if value is None else "measured")


def to_json(result: RunResult) -> dict[str, Any]:
    """The result as JSON data of the schema above."""
    return {
        "schema": SCHEMA,
        "name": result.name,
        "created": result.created,
        "results": {name: plain_data(asdict(value)) for name, value in result.results.items()},
        "validity": validity_to_json(result.validity),
        "configuration": plain_data(result.configuration),
        "versions": dict(result.versions),
        "commit": result.commit,
        "machine": plain_data(result.machine),
        "plan": plan_to_json(result.plan) if result.plan else None,
        "graph": graph_to_json(result.graph) if result.graph else None,
        "measurements": measurements_to_json(result.measurements) if result.measurements else None,
        "repeats": plain_data(result.repeats),
    }


def validity_to_json(verdict: Validity) -> dict[str, Any]:
    """The verdict and everything that led to it as JSON data."""
    return {"verdict": verdict.verdict, **plain_data(asdict(verdict))}


def from_json(data: object, place: str = "results") -> RunResult:
    """The result in JSON data; ConfigError that names `place` if it is none, or of another schema."""
    return _result(Field(data, place, KIND))


def _result(data: Field) -> RunResult:
    schema = data["schema"].value if isinstance(data.value, Mapping) else data.value
    if schema != SCHEMA:
        raise ConfigError(
            f"{data.place}: expected a results file of schema '{SCHEMA}', got {describe(schema)}; write it with `multiedge run`"
        )
    measurements = data["measurements"]
    return RunResult(
        name=data["name"].text(),
        results=data["results"].mapping_of(_metric_value),
        validity=data["validity"].optional(_validity, Validity(True)),
        configuration=data["configuration"].optional(free_form, {}),
        plan=plan_or_none(data["plan"]),
        measurements=measurements.optional(read_measurements),
        left_out=measurements["left_out"].optional(_counts, {}) if measurements.given else {},
        repeats=data["repeats"].optional(_repeats, {}),
        graph=data["graph"].optional(read_graph),
        versions=data["versions"].optional(lambda versions: versions.mapping_of(Field.text), {}),
        commit=data["commit"].optional(Field.text),
        machine=data["machine"].optional(free_form, {}),
        created=data["created"].optional(Field.text, ""),
    )


def _metric_value(data: Field) -> MetricValue:
    return MetricValue(
        value=data["value"].optional(Field.number),
        unit=data["unit"].text(),
        direction=data["direction"].text(),
        description=data["description"].text(),
        note=data["note"].optional(Field.text, ""),
        method=data["method"].optional(Field.text, "measured"),
        by_device=data["by_device"].optional(_by_device, {}),
        samples_needed=data["samples_needed"].optional(Field.count),
        interval=data["interval"].optional(_interval),
    )


def _interval(data: Field) -> tuple[float, float]:
    ends = data.list_of(Field.number)
    if len(ends) != 2 or ends[0] > ends[1]:
        raise data.expected("the two ends of an interval, the lower one first")
    return ends[0], ends[1]


def _by_device(data: Field) -> dict[str, float | None]:
    return data.mapping_of(lambda value: value.optional(Field.number))


def _validity(data: Field) -> Validity:
    return Validity(
        data["valid"].boolean(),
        data["reasons"].list_of(Field.text),
        data["faults"].optional(lambda faults: faults.list_of(_fault_count), ()),
        data["moved"].optional(lambda stages: stages.list_of(_moved_stage), ()),
        data["busy_share"].optional(Field.number),
        data["rate_loss"].optional(Field.number),
    )


def _fault_count(data: Field) -> FaultCount:
    return FaultCount(data["kind"].text(), data["device"].text(), data["count"].count(), data["open"].count())


def _moved_stage(data: Field) -> MovedStage:
    return MovedStage(data["stage"].count(), data["planned"].list_of(Field.text), data["ran"].list_of(Field.text))


def _counts(data: Field) -> dict[str, int]:
    return data.mapping_of(Field.count)


def _repeats(data: Field) -> dict[str, tuple[float, ...]]:
    return data.mapping_of(lambda values: values.list_of(Field.number))


def save_results(result: RunResult, path: str | os.PathLike[str]) -> Path:
    """Writes the file atomically; makes its folder. Returns the path."""
    return write_text(path, json.dumps(to_json(result), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")


def load_results(path: str | os.PathLike[str]) -> RunResult:
    """The result of one run from its file.

    Args:
        path: A file that `multiedge run -o` wrote.

    Returns:
        The RunResult.

    Raises:
        ConfigError: If the file cannot be read or is no results file.
    """
    return _result(read_json(path, KIND))
