"""The base model of the benchmark: the parts of a cut model run as a pipeline on emulated devices."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from imagenet_bench.models import read_weights
from imagenet_bench.preprocess import read_picture
from imagenet_bench.reference import reference_outputs
from multiedge.backends.stages import CONVERTED
from multiedge.errors import ConfigError, StageError, did_you_mean
from multiedge.executors import open_pipeline
from multiedge.executors.flow.contract import Result, Tensors
from multiedge.files import write_text
from multiedge.fleet import Fleet
from multiedge.formats.devices import read_fleet
from multiedge.measurements import Measurements
from multiedge.meters.modelled import with_energy
from multiedge.metrics.accuracy import fidelity
from multiedge.onnx_io import read_graph, read_manifest
from multiedge.plan import Manifest
from multiedge.report.results import make_result, save_results

DEVICES = Path(__file__).resolve().parents[1] / "devices"
FLEETS, CONVERSIONS = Path(".cache/imagenet/fleets"), Path(".cache/imagenet/converted")
"""Fleets with other runtimes, and parts that were converted for them: kept from one run to the next."""
KEPT_IN_MEMORY = 256
"""A dataset of up to this many pictures is read before the timed window; of a larger one, each picture when it is due."""


class PipelineModel:
    """Runs every picture through the parts as a pipeline, with one worker process for each device.

    `fleet` names a file in devices/; the paradigm's partition hook reads `strategy` and `devices`. `items` is the number of
    pictures that are timed (default: each picture once; with more, pictures are used again), `depth` how many may be in the
    pipeline at the same time, `executor` how the parts run. `runtimes` are the backends of the fleet's devices in order, such
    as 'mnn, openvino, onnxruntime', or one for all of them; by default those in the fleet's file.
    """

    def __init__(
        self,
        fleet: str,
        strategy: str,
        items: int | None = None,
        depth: int | None = None,
        executor: str = "processes",
        runtimes: str | None = None,
    ) -> None:
        self.model_parallel = True
        self.strategy = strategy
        self.devices = str(fleet_file(fleet) if runtimes is None else fleet_with(fleet, runtimes))
        self.configuration = {"fleet": fleet, "strategy": strategy, "items": items, "depth": depth, "executor": executor}
        if runtimes is not None:
            self.configuration["runtimes"] = runtimes
        self.parts = ""

    def load(self, models_dir: str, map_info: Mapping[str, str]) -> None:
        """Keeps the folder of the parts; `predict` starts the workers, which load them, converted once for all runs."""
        CONVERSIONS.mkdir(parents=True, exist_ok=True)
        converted = Path(models_dir) / CONVERTED
        if not converted.exists():
            converted.symlink_to(CONVERSIONS.resolve())
        self.parts = models_dir

    def predict(self, x: Sequence[str]) -> dict[str, Any]:
        """The input of the metrics: answers and their distance from the whole model's, measurements, the plan."""
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
        outcome = {
            "pred": [(int(row.argmax()), index) for index, row in enumerate(logits)],
            "logits": logits,
            "trained": weights.trained,
            "fidelity": fidelity([{"logits": row[None]} for row in whole], [{"logits": row[None]} for row in logits]),
            "measurements": self.measured(measurements, manifest, fleet),
            "plan": manifest.plan,
            "model": model,
        }
        self.save(outcome, f"{model.parent.name}, {self.configuration['fleet']}, {self.strategy}", weights.source)
        return outcome

    def run_parts(self, manifest: Manifest, fleet: Fleet, source: Iterator[Tensors]) -> tuple[list[Result], Measurements]:
        """The results in order, and the measurements."""
        depth = self.configuration["depth"]
        options = {} if depth is None else {"depth": depth}
        with open_pipeline(manifest, fleet, self.configuration["executor"], **options) as pipeline:
            return pipeline.map(source)

    def measured(self, measurements: Measurements, manifest: Manifest, fleet: Fleet) -> Measurements:
        """The run's measurements, with modelled energy where there is no meter."""
        return with_energy(measurements, fleet)

    def save(self, outcome: Mapping[str, Any], title: str, weights: str) -> None:
        """Writes a results file, for the report page, to the folder that the host names."""
        folder = os.environ.get("RESULT_SAVED_URL")
        if not folder:
            return
        extra = {"fidelity": outcome["fidelity"].top1_agreement, "max_absolute_error": outcome["fidelity"].max_absolute_error}
        configuration = {**self.configuration, "weights": weights, "model": outcome["model"].parent.name}
        graph = read_graph(outcome["model"])
        result = make_result(
            title, outcome["measurements"], plan=outcome["plan"], configuration=configuration, extra=extra, graph=graph
        )
        save_results(result, Path(folder) / "results.json")


def tensors_of(pictures: Sequence[str], count: int) -> Iterator[dict[str, Any]]:
    """Inputs for `count` items; after the last picture the first one follows."""
    if len(pictures) > KEPT_IN_MEMORY:
        return ({"image": read_picture(path)} for path in islice(cycle(pictures), count))
    kept = [{"image": read_picture(path)} for path in pictures]
    return islice(cycle(kept), count)


def answer_of(result: Any) -> Any:
    """The logits of one result, (1, 1000); StageError if the item failed, since a leaderboard without it would be wrong."""
    if result.error or result.tensors is None:
        raise StageError(f"picture {result.item} was not answered: {result.error}", item=result.item)
    return result.tensors["logits"]


def fleet_file(name: str) -> Path:
    """The devices.yaml of this name."""
    path = DEVICES / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"unknown fleet '{name}'{did_you_mean(name, [each.stem for each in DEVICES.glob('*.yaml')])}")
    return path


def fleet_with(name: str, runtimes: str) -> Path:
    """The devices.yaml of this name with these backends of its devices, such as 'openvino' or 'mnn, openvino, onnxruntime'."""
    content = yaml.safe_load(fleet_file(name).read_text(encoding="utf-8"))
    devices = content["devices"]
    backends = [each.strip() for each in runtimes.split(",")]
    if len(backends) not in (1, len(devices)):
        raise ConfigError(f"runtimes: expected 1 or {len(devices)} names for fleet '{name}', got {len(backends)}")
    for device, backend in zip(devices, backends * (len(devices) // len(backends)), strict=True):
        device["backend"] = backend
    return write_text(FLEETS / f"{name}-{'-'.join(backends)}.yaml", yaml.safe_dump(content, sort_keys=False)).resolve()
