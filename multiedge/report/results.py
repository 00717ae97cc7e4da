"""One JSON file per run, with everything that the page, the table and a comparison need.

Schema 'multiedge-results/1':

    schema, name, created                  what this is, and when it was made (UTC)
    results                                figure by name: value (null: not measured), unit, direction, description,
                                           note, method, by_device
    validity                               valid, reasons
    configuration                          whatever the run was asked to do
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

from multiedge.errors import ConfigError, no_such
from multiedge.files import write_text
from multiedge.formats.plan import plan_from_json, plan_to_json
from multiedge.graph import Graph
from multiedge.measurements import Measurements
from multiedge.metrics import MetricValue, compute, describe_metric
from multiedge.metrics.validity import Validity, validity
from multiedge.plan import Plan
from multiedge.report import environment
from multiedge.report.encode import graph_from_json, graph_to_json, measurements_from_json, measurements_to_json, plain_data

SCHEMA = "multiedge-results/1"


@dataclass(frozen=True)
class RunResult:
    """One run with its metrics and their provenance.

    Attributes:
        name: Name of the run.
        results: Values of metrics by name.
        validity: Whether the run is valid, and the reasons if not.
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


def make_result(
    name: str,
    measurements: Measurements,
    *,
    plan: Plan | None = None,
    configuration: Mapping[str, Any] | None = None,
    extra: Mapping[str, float | MetricValue | None] | None = None,
    repeats: Mapping[str, Sequence[float]] | None = None,
    graph: Graph | None = None,
) -> RunResult:
    """The result of a run on this machine, now.

    `plan` is the one that ran; `extra` are figures from elsewhere, such as accuracy, by name; with `graph`
    the page shows the model coloured by device.
    """
    figures = compute(measurements, plan=plan) | {key: _figure(key, value) for key, value in (extra or {}).items()}
    return RunResult(
        name,
        figures,
        validity(measurements),
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
        "validity": {"valid": result.validity.valid, "reasons": list(result.validity.reasons)},
        "configuration": plain_data(result.configuration),
        "versions": dict(result.versions),
        "commit": result.commit,
        "machine": plain_data(result.machine),
        "plan": plan_to_json(result.plan) if result.plan else None,
        "graph": graph_to_json(result.graph) if result.graph else None,
        "measurements": measurements_to_json(result.measurements) if result.measurements else None,
        "repeats": plain_data(result.repeats),
    }


def from_json(data: Any, place: str = "results") -> RunResult:
    """The result in JSON data; ConfigError that names `place` if it is none, or of another schema."""
    found = data.get("schema") if isinstance(data, Mapping) else None
    if found != SCHEMA:
        raise ConfigError(
            f"{place}: expected a results file of schema '{SCHEMA}', got {found!r}; write it with `multiedge run`"
        )
    try:
        raw = data.get("measurements")
        verdict = data.get("validity", {})
        return RunResult(
            name=str(data["name"]),
            results={name: MetricValue(**entry) for name, entry in data["results"].items()},
            validity=Validity(bool(verdict.get("valid", True)), tuple(verdict.get("reasons", ()))),
            configuration=data.get("configuration", {}),
            plan=plan_from_json(data["plan"], f"{place}: plan") if data.get("plan") else None,
            measurements=measurements_from_json(raw) if raw else None,
            left_out=(raw or {}).get("left_out", {}),
            repeats=data.get("repeats", {}),
            graph=graph_from_json(data["graph"]) if data.get("graph") else None,
            versions=data.get("versions", {}),
            commit=data.get("commit"),
            machine=data.get("machine", {}),
            created=str(data.get("created", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{place}: the results file is damaged ({type(error).__name__}: {error}); run again") from error


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
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(no_such(path)) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: expected a results file in JSON, got something else ({error})") from error
    return from_json(data, str(path))
