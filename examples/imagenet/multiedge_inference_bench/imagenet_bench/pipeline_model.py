"""The base model of the benchmark: the parts of a cut model run as a pipeline on emulated devices."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from imagenet_bench.models import read_weights
from imagenet_bench.preprocess import read_picture
from imagenet_bench.reference import reference_outputs
from multiedge.errors import ConfigError, StageError, did_you_mean
from multiedge.executors import open_pipeline
from multiedge.executors.flow.contract import Result, Tensors
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_fleet
from multiedge.measurements import Measurements
from multiedge.meters.modelled import with_energy
from multiedge.metrics.accuracy import fidelity
from multiedge.onnx_io import read_graph, read_manifest
from multiedge.plan import Manifest
from multiedge.report.results import make_result, save_results

DEVICES = Path(__file__).resolve().parents[1] / "devices"
KEPT_IN_MEMORY = 256
"""A dataset of up to that many pictures is read before the clock starts; of a larger one each is read when it is due."""


class PipelineModel:
    """Runs every picture through the parts, all of them busy at once, one worker process for each device.

    `fleet` names a file in devices/; `strategy` and `devices` are what the paradigm's partition hook reads. `items` is
    how many pictures are timed (default: each once; more go round again), `depth` how many may be under way at once,
    `executor` how the parts run.
    """

    def __init__(
        self, fleet: str, strategy: str, items: int | None = None, depth: int | None = None, executor: str = "processes"
    ) -> None:
        self.model_parallel = True
        self.strategy = strategy
        self.devices = str(fleet_file(fleet))
        self.configuration = {"fleet": fleet, "strategy": strategy, "items": items, "depth": depth, "executor": executor}
        self.parts = ""

    def load(self, models_dir: str, map_info: Mapping[str, str]) -> None:
        """Takes the folder of the parts; the workers load them when the pictures are there."""
        self.parts = models_dir

    def predict(self, x: Sequence[str]) -> dict[str, Any]:
        """What the metrics read: answers and how far they are from the whole model's, measurements, the plan."""
        manifest, fleet = read_manifest(self.parts), read_fleet(self.devices)
        model, pictures = Path(manifest.model), [str(path) for path in x]
        if not pictures:
            raise ConfigError("the dataset has no pictures; run prepare.py")
        whole = reference_outputs(model, pictures, model.parents[2] / "reference")
        weights = read_weights(model)
        count = self.configuration["items"] or len(pictures)
        source = tensors_of(pictures, max(count, len(pictures)))
        results, measurements = self.run_parts(manifest, fleet, source)
        answers = [answer_of(result) for result in results]
        logits = np.concatenate(answers[: len(pictures)])
        said = {
            "pred": [(int(row.argmax()), index) for index, row in enumerate(logits)],
            "logits": logits,
            "trained": weights.trained,
            "fidelity": fidelity([{"logits": row[None]} for row in whole], [{"logits": row[None]} for row in logits]),
            "measurements": self.measured(measurements, manifest, fleet),
            "plan": manifest.plan,
            "model": model,
        }
        self.save(said, f"{model.parent.name}, {self.configuration['fleet']}, {self.strategy}", weights.source)
        return said

    def run_parts(self, manifest: Manifest, fleet: Fleet, source: Iterator[Tensors]) -> tuple[list[Result], Measurements]:
        """Answers in order, and what was measured meanwhile."""
        depth = self.configuration["depth"]
        options = {} if depth is None else {"depth": depth}
        with open_pipeline(manifest, fleet, self.configuration["executor"], **options) as pipeline:
            return pipeline.map(source)

    def measured(self, measurements: Measurements, manifest: Manifest, fleet: Fleet) -> Measurements:
        """The run's measurements, with energy modelled where no meter answered."""
        return with_energy(measurements, fleet)

    def save(self, said: Mapping[str, Any], title: str, weights: str) -> None:
        """Leaves a results file in the folder that the host names, which the report page is made from."""
        folder = os.environ.get("RESULT_SAVED_URL")
        if not folder:
            return
        extra = {"fidelity": said["fidelity"].top1_agreement, "max_absolute_error": said["fidelity"].max_absolute_error}
        configuration = {**self.configuration, "weights": weights, "model": said["model"].parent.name}
        graph = read_graph(said["model"])
        result = make_result(
            title, said["measurements"], plan=said["plan"], configuration=configuration, extra=extra, graph=graph
        )
        save_results(result, Path(folder) / "results.json")


def tensors_of(pictures: Sequence[str], count: int) -> Iterator[dict[str, Any]]:
    """Inputs for `count` items, the pictures in turn."""
    if len(pictures) > KEPT_IN_MEMORY:
        return ({"image": read_picture(path)} for path in islice(cycle(pictures), count))
    kept = [{"image": read_picture(path)} for path in pictures]
    return islice(cycle(kept), count)


def answer_of(result: Any) -> Any:
    """The logits of one result, (1, 1000); StageError if the item failed: a leaderboard without it would not be whole."""
    if result.error or result.tensors is None:
        raise StageError(f"picture {result.item} was not answered: {result.error}", item=result.item)
    return result.tensors["logits"]


def fleet_file(name: str) -> Path:
    """The devices.yaml of that name."""
    path = DEVICES / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"unknown fleet '{name}'{did_you_mean(name, [each.stem for each in DEVICES.glob('*.yaml')])}")
    return path
