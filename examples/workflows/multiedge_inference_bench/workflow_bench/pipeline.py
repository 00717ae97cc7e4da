"""The base model of the benchmark: a workflow is planned, split and run as a pipeline on emulated devices."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.errors import ConfigError, StageError, did_you_mean
from multiedge.executors import open_pipeline
from multiedge.executors.flow.contract import Result
from multiedge.executors.flow.scenarios import scenario
from multiedge.formats.devices import read_fleet
from multiedge.graph import Graph
from multiedge.meters.modelled import with_energy
from multiedge.onnx_io import read_graph, read_manifest, write_parts
from multiedge.report.results import make_result, save_results
from multiedge.run import plan_model, profile_model
from multiedge.workflows import compose
from workflow_bench import BENCH
from workflow_bench.folder import Answer, read_note

DEVICES = BENCH / "devices"
CACHE = Path(".cache/workflows")
LEAST_ITEMS = 100
"""How many items a run has at least: the items of a workflow are used again until there are so many."""


class WorkflowPipeline:
    """Runs the items of a workflow.

    `workflow` names a document below the folder that prepare.py made, such as 'cascade/workflow'; `fleet` a file in devices/.
    By default items are run one at a time, as a device with one user has them.
    """

    def __init__(
        self, workflow: str, fleet: str, strategy: str, scenario: str = "singlestream", executor: str = "processes"
    ) -> None:
        self.model_parallel = True
        self.document, self.fleet, self.strategy = CACHE / f"{workflow}.yaml", read_fleet(fleet_file(fleet)), strategy
        self.scenario, self.executor = scenario, executor
        given = {"workflow": workflow, "fleet": fleet, "strategy": strategy}
        self.configuration = {**given, "scenario": scenario, "executor": executor}
        self.parts = ""

    def partition(self, initial_model_url: str) -> tuple[str, Mapping[str, str]]:
        """Plans for the fleet, and writes the parts."""
        graph = self.graph()
        profile = profile_model(graph, self.fleet)
        plan = plan_model(profile, self.fleet, self.strategy)
        folder = Path(os.environ["RESULT_SAVED_URL"]) / "parts"
        manifest = write_parts(graph, plan, folder, profile=profile)
        return str(folder), manifest.map_info

    def graph(self) -> Graph:
        """The workflow as one graph."""
        if not self.document.is_file():
            raise ConfigError(f"{self.document}: expected a workflow, found no file; run prepare.py")
        return read_graph(compose(self.document))

    def load(self, models_dir: str, map_info: Mapping[str, str]) -> None:
        """Keeps the folder of the parts; `predict` starts the workers, which load them."""
        self.parts = models_dir

    def predict(self, x: Sequence[str]) -> dict[str, Any]:
        """The input of the metrics: the answers to the items of this workflow, which rows of the dataset and what they are,
        measurements and the plan."""
        manifest, graph = read_manifest(self.parts), self.graph()
        folder = self.document.parent
        rows = [row for row, path in enumerate(x) if Path(path).parents[1].resolve() == folder.resolve()]
        if not rows:
            raise ConfigError(f"the dataset has no items of {folder.name}; run prepare.py")
        items = [read_item(Path(x[row])) for row in rows]
        with open_pipeline(manifest, self.fleet, self.executor) as pipeline:
            source = islice(cycle(items), max(LEAST_ITEMS, len(items)))
            results, measurements = pipeline.map(source, scenario(self.scenario))
        note = read_note(folder)
        outcome = {
            "answers": [answer_of(result) for result in results[: len(items)]],
            "rows": rows,
            "items": f"{note.count} {note.items}",
            "measurements": with_energy(measurements, self.fleet),
            "plan": manifest.plan,
        }
        self.save(outcome, graph)
        return outcome

    def save(self, outcome: Mapping[str, Any], graph: Graph) -> None:
        """Writes a results file, for the report page, to the folder that the host names."""
        folder = os.environ.get("RESULT_SAVED_URL")
        if folder:
            title = f"{self.configuration['workflow']}, {self.fleet.name}, {self.strategy}"
            result = make_result(
                title, outcome["measurements"], plan=outcome["plan"], configuration=self.configuration, graph=graph
            )
            save_results(result, Path(folder) / "results.json")


def read_item(path: Path) -> dict[str, Any]:
    """The arrays of an item by the names of inputs."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def answer_of(result: Result) -> Answer:
    """The class with the largest logit, or the whole numbers of the output `answer`; StageError if the item failed."""
    if result.error or result.tensors is None:
        raise StageError(f"item {result.item} was not answered: {result.error}", item=result.item)
    tensors = result.tensors
    if "answer" in tensors:
        return tuple(int(each) for each in np.ravel(tensors["answer"]))
    return (int(np.argmax(tensors["logits"])),)


def fleet_file(name: str) -> Path:
    """The devices.yaml of this name."""
    path = DEVICES / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"unknown fleet '{name}'{did_you_mean(name, [each.stem for each in DEVICES.glob('*.yaml')])}")
    return path
