"""What measured items take of the times of each step.

It comes from the results of a run, or from JSON: {"steps": {"small": [1, 1, ...], "large": [0, 1, ...]}}.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from multiedge.composed import DOMAIN, FIRST_OF, OUTPUT_SUFFIX, WHEN, segment_of, step_of
from multiedge.errors import ConfigError
from multiedge.formats.documents import read_json
from multiedge.formats.fields import Field, Kind
from multiedge.graph import Graph, Node
from multiedge.measurements import Event
from multiedge.onnx_io.presence import presence_of
from multiedge.plan import Stage
from multiedge.profile import Floats
from multiedge.report.measured import MeasuredPlan, measured_plan
from multiedge.report.results import from_json

KIND = Kind("file of measured items", source="write it with `multiedge run -o`")


def read_shares(path: str | os.PathLike[str]) -> dict[str, Floats]:
    """The shares in a file, (items,) by name of the step.

    Raises ConfigError, one line with file, place, expectation and finding.
    """
    document = read_json(path, KIND)
    if "schema" in document:
        place = str(path)
        return shares_of(measured_plan(from_json(document.value, place), place), place)
    if "steps" not in document:
        raise document.error("expected the results of `multiedge run -o`, or shares of items under 'steps'")
    steps = document.record(("steps",))["steps"]
    shares = steps.mapping_of(lambda step: step.list_of(_share, least=1))
    counts = {name: len(values) for name, values in shares.items()}
    if len(set(counts.values())) != 1:
        raise steps.expected("as many items for each step")
    return {name: np.array(values, dtype=np.float64) for name, values in shares.items()}


def _share(field: Field) -> float:
    return field.number(0)


def shares_of(measured: MeasuredPlan, place: str) -> dict[str, Floats]:
    """What each item of a run took of each step, over the mean of the items that the step was computed for.

    Args:
        measured: A plan of a workflow that ran, each item alone. Steps that share a stage get the share of the stage; they must
            be computed for the same items.
        place: Begins errors.

    Returns:
        (items,) by name of the step; 0 for an item that the step was not computed for. Joins are missing.

    Raises:
        ConfigError: If items were computed together, no item was answered, or the time of each step is not known.
    """
    items = measured.run.documented_items
    if not items:
        raise ConfigError(f"{place}: no item was answered, so nothing is known of them; see why they failed")
    row = {item: number for number, item in enumerate(items)}
    computed = [event for event in measured.run.events if event.kind == "compute" and event.item in row]
    _require_alone(computed, place)
    mean_s = _means(computed)
    steps = [_steps_in(measured.graph, stage, place) for stage in measured.plan.stages]
    taken, whole = ({name: np.zeros(len(row)) for names in steps for name in names} for _ in range(2))
    for event in computed:
        for name in steps[event.stage]:
            taken[name][row[event.item]] += event.seconds
            whole[name][row[event.item]] += mean_s[event.stage, event.device]
    return {name: np.divide(taken[name], whole[name], out=np.zeros(len(row)), where=whole[name] > 0) for name in taken}


def _require_alone(computed: Sequence[Event], place: str) -> None:
    runs = Counter((event.stage, event.device, event.start_s) for event in computed)
    if max(runs.values(), default=1) > 1:
        raise ConfigError(
            f"{place}: items were computed together, so what each takes is not known; run again with --scenario singlestream"
        )


def _means(computed: Sequence[Event]) -> dict[tuple[int, str], float]:
    """The mean time of a stage on a device, by both."""
    seconds: dict[tuple[int, str], list[float]] = {}
    for event in computed:
        seconds.setdefault((event.stage, event.device), []).append(event.seconds)
    return {key: fmean(values) for key, values in seconds.items()}


def _steps_in(graph: Graph, stage: Stage, place: str) -> tuple[str, ...]:
    """The steps that a stage computes; conditions, joins and second names of results take no time."""
    nodes = [graph.nodes[index] for index in stage.nodes if _takes_time(graph.nodes[index])]
    steps = tuple(dict.fromkeys(step_of(segment_of(node.name)) for node in nodes))
    presence = presence_of(graph)
    if len(steps) > 1 and len({presence[node.writes[0]] for node in nodes if node.writes}) > 1:
        raise ConfigError(
            f"{place}: a stage on '{stage.device}' has the steps {' and '.join(steps)}, which are not computed for the same"
            " items, so the time of each is not known; run a plan with a stage for each step, which `multiedge optimise -o`"
            " writes"
        )
    return steps


def _takes_time(node: Node) -> bool:
    is_free = node.domain == DOMAIN and node.op_type in (WHEN, FIRST_OF)
    return not is_free and not segment_of(node.name).endswith(OUTPUT_SUFFIX)
