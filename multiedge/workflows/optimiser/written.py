"""A choice as files: workflow.yaml with the models and batches that were chosen, and the plan of where each step runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from multiedge.backends.stages import pass_on
from multiedge.composed import segment_of, step_of
from multiedge.files import write_text
from multiedge.fleet import Fleet
from multiedge.formats.documents import read_yaml
from multiedge.graph import Graph
from multiedge.onnx_io import read_graph, write_parts
from multiedge.plan import Manifest, Stage
from multiedge.profile import Profile
from multiedge.run import plan_by_hand
from multiedge.workflows import compose
from multiedge.workflows.optimiser.choices import OWN, Choices
from multiedge.workflows.optimiser.configuration import Choice, Configuration, wait_s
from multiedge.workflows.optimiser.placing import placed
from multiedge.workflows.optimiser.problem import Problem

WORKFLOW, PLAN = "workflow.yaml", "plan"
STRATEGY = "optimiser"


def write_chosen(
    workflow: Path,
    choices: Choices,
    problem: Problem,
    configuration: Configuration,
    fleet: Fleet,
    profiler: Callable[[Graph, Fleet], Profile],
    folder: Path,
) -> Manifest:
    """Writes the workflow as chosen, and its plan with the parts.

    Args:
        workflow: The workflow.yaml.
        choices: What may replace its models.
        problem: What there was to choose from.
        configuration: What was chosen, which can be placed.
        fleet: The devices.
        profiler: What finds costs.
        folder: Gets `workflow.yaml`, and the folder `plan` with the parts.

    Returns:
        The manifest of the plan.

    Raises:
        PlanError: If the plan cannot run, for instance because stages of one device do not fit its memory together.
    """
    document = read_yaml(workflow).data()
    for step, choice in zip(problem.steps, configuration.choices, strict=True):
        _choose(document["steps"][step.name], choice, choices.variants.get(step.name, {}), wait_s(problem, step, choice))
    for step in document["steps"].values():
        _make_absolute(step, workflow.parent.resolve())
    folder.mkdir(parents=True, exist_ok=True)
    chosen = folder / WORKFLOW
    write_text(chosen, yaml.safe_dump(document, sort_keys=False))
    graph = read_graph(compose(chosen))
    profile = profiler(graph, fleet)
    devices = placed(problem, configuration, range(len(problem.steps)))
    stages = step_stages(graph, [step.name for step in problem.steps], devices or ())
    plan = plan_by_hand(profile, fleet, stages, strategy=STRATEGY, objective="latency")
    manifest = write_parts(graph, plan, folder / PLAN, profile=profile)
    pass_on(manifest, fleet, graph.path)
    return manifest


def step_stages(graph: Graph, steps: Sequence[str], devices: Sequence[tuple[str, ...]]) -> tuple[Stage, ...]:
    """A stage for each step of a workflow.

    Args:
        graph: The workflow as one model.
        steps: Names of the steps, in topological order; joins and second names of results are not among them.
        devices: The devices of each.

    Returns:
        The stages: joins, and what only renames a result, are where the last of what they read is made.
    """
    number = {name: index for index, name in enumerate(steps)}
    home: list[int] = []
    for node in graph.nodes:
        before = [home[graph.producer[name]] for name in node.reads if name in graph.producer]
        home.append(number.get(step_of(segment_of(node.name)), max(before, default=0)))
    nodes = [tuple(index for index, place in enumerate(home) if place == step) for step in range(len(steps))]
    return tuple(Stage(names[0], own, names[1:]) for own, names in zip(nodes, devices, strict=True))


def _choose(step: dict[str, Any], choice: Choice, variants: Mapping[str, Any], wait: float) -> None:
    """Sets the model and the batch of a step of the document."""
    if choice.variant != OWN:
        step.pop("plan", None)
        step["model"] = str(variants[choice.variant].model.resolve())
    for key in ("batch", "timeout_ms"):
        step.pop(key, None)
    if choice.batch > 1:
        step |= {"batch": choice.batch, "timeout_ms": round(wait * 1e3, 3)}


def _make_absolute(step: dict[str, Any], folder: Path) -> None:
    """Files are relative to the workflow that was read, not to the one that is written."""
    for key in ("model", "plan"):
        if key in step:
            step[key] = str(folder / step[key])
    where, _, function = str(step.get("transform", "")).rpartition(":")
    if where.endswith(".py"):
        step["transform"] = f"{folder / where}:{function}"
