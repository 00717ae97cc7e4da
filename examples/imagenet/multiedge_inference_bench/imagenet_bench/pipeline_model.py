"""The base model of the benchmark: the parts of a cut model run as a pipeline on emulated devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multiedge.errors import ConfigError, did_you_mean

DEVICES = Path(__file__).resolve().parents[1] / "devices"
KEPT_IN_MEMORY = 256
"""Pictures that are read before the clock starts; of a larger dataset each is read as it is issued."""


class PipelineModel:
    """Runs every picture through the parts, all of them busy at once, one worker process for each device.

    `fleet` names a file in devices/; `strategy` and `devices` are what the paradigm's partition hook reads. `items` is
    how many pictures are timed (default: each once; more go round again); `depth` how many are under way at once.
    """

    def __init__(
        self, fleet: str, strategy: str, items: int | None = None, depth: int | None = None, executor: str = "processes"
    ) -> None:
        self.model_parallel = True
        self.strategy = strategy
        self.devices = str(fleet_file(fleet))
        self.items = items
        self.depth = depth
        self.executor = executor
        self.models_dir = ""

    def load(self, models_dir: str, map_info: Mapping[str, str]) -> None:
        """Takes the folder of the parts; the workers load them when the pictures are there."""
        self.models_dir = models_dir

    def predict(self, x: Sequence[str]) -> dict[str, Any]:
        """What the metrics read: answers, how far they are from the whole model's, the run's measurements, the plan."""
        raise NotImplementedError


def fleet_file(name: str) -> Path:
    """The devices.yaml of that name."""
    path = DEVICES / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"unknown fleet '{name}'{did_you_mean(name, [each.stem for each in DEVICES.glob('*.yaml')])}")
    return path
