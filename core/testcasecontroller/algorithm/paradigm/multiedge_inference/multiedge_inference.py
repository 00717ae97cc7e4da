"""The multi-edge inference paradigm: partition the model, load the parts, predict.

This folder also runs inside KubeEdge Ianvs (`multiedge attach`): of the host it uses only what both have.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from core.common.log import LOGGER
from core.testcasecontroller.algorithm.paradigm.base import ParadigmBase

from .partitioning import partition
from .upstream import forget_other_modules, is_upstream

_USER_HOOKS = ("partition", "partiton")
"""The names of a user's own partition function; the second is the spelling of the paradigm's proposal."""


class MultiedgeInference(ParadigmBase):
    """Runs the user's base model.

    For a model that is not `model_parallel`, it calls `load(initial_model_url)` and `predict(x, train_dataset=...)`; for a
    parallel one, `load(models_dir, map_info)` and `predict(x)`. The parts come from the model's own
    `partition(initial_model_url)`, otherwise from its `partition_point_list`, otherwise from a strategy by name for the
    devices of a devices.yaml.
    """

    def __init__(self, workspace: str, **kwargs: Any) -> None:
        if is_upstream():
            forget_other_modules(module.url for module in kwargs["modules"].values())
        ParadigmBase.__init__(self, workspace, **kwargs)
        self.initial_model = kwargs.get("initial_model_url") or ""
        self.settings = kwargs

    def run(self) -> tuple[Any, dict[str, Any]]:
        """The user's result, of any type, and the data for system metrics (none)."""
        job = self.module_instances["basemodel"]
        results = os.path.join(self.workspace, "output", "inference", "")
        os.makedirs(results, exist_ok=True)
        os.environ["RESULT_SAVED_URL"] = results
        infer = self._infer_in_parts if getattr(job, "model_parallel", False) else self._infer_whole
        return infer(job), self.system_metric_info

    def _infer_whole(self, job: Any) -> Any:
        os.environ["BASE_MODEL_URL"] = self.initial_model
        with self._step(job, "load"):
            job.load(self.initial_model)
        extra = {"train_dataset": self._train_dataset()} if _takes(job.predict, "train_dataset") else {}
        with self._step(job, "predict"):
            return job.predict(self._test_inputs(), **extra)

    def _infer_in_parts(self, job: Any) -> Any:
        models_dir, map_info = self._parts(job)
        LOGGER.info("parts in %s: %s", models_dir, ", ".join(f"{file} on {device}" for file, device in map_info.items()))
        with self._step(job, "load"):
            job.load(models_dir, map_info)
        with self._step(job, "predict"):
            return job.predict(self._test_inputs())

    def _parts(self, job: Any) -> tuple[str, Mapping[str, Any]]:
        own = next((getattr(job, name) for name in _USER_HOOKS if callable(getattr(job, name, None))), None)
        if own is None:
            return self._partition(job, self.initial_model)
        with self._step(job, own.__name__):
            parts = own(self.initial_model)
        if not isinstance(parts, tuple | list) or len(parts) != 2 or not isinstance(parts[1], Mapping) or not parts[1]:
            raise ValueError(
                f"{type(job).__name__}.{own.__name__}: expected it to return (models_dir, {{file: device}}), got {parts!r:.80}"
            )
        return parts[0], parts[1]

    def _partition(self, job: Any, initial_model: str) -> tuple[str, Mapping[str, Any]]:
        """The parts that a strategy makes, in a separate folder of the workspace, so that parts of an earlier run are never
        used."""
        hyperparameters = getattr(self.modules["basemodel"], "hyperparameters", None) or {}
        folder = os.path.abspath(os.path.join(self.workspace, "output", "partition"))
        return partition(job, initial_model, folder, hyperparameters, self.settings)

    def _test_inputs(self) -> Any:
        return self.dataset.load_data(self.dataset.test_url, "inference").x

    def _train_dataset(self) -> Any:
        return self.dataset.load_data(self.dataset.train_url, "train") if self.dataset.train_url else None

    @contextmanager
    def _step(self, job: Any, name: str) -> Iterator[None]:
        """Adds to an error which of the user's functions failed, and whether the model file is missing."""
        try:
            yield
        except (Exception, SystemExit) as error:
            words = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
            hint = ""
            if self.initial_model and not os.path.exists(self.initial_model):
                hint = f"; initial_model_url '{self.initial_model}' does not exist (looked from {os.getcwd()})"
            raise RuntimeError(f"{type(job).__name__}.{name}: {words}{hint}") from error


def _takes(function: Callable[..., Any], name: str) -> bool:
    """Whether `function` can be called with the keyword `name`."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(parameter.name == name or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
