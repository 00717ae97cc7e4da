"""The test environment: the dataset and the metrics of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.common.config import read_section
from core.testcasecontroller.metrics.metrics import AnyMetric, parse_metrics
from core.testenvmanager.dataset.dataset import Dataset, parse_dataset

_OWN_KEYS = ("metrics", "dataset")
_PARADIGM_KEYS = ("devices", "partition_strategy", "partition_options", "profiler", "input_shapes")
_IANVS_KEYS = ("incremental_rounds", "round", "client_number", "use_gpu", "model_eval")


@dataclass(frozen=True)
class TestEnv:
    """`settings` are all other keys, such as `devices`, which the paradigm reads."""

    __test__ = False

    metrics: tuple[AnyMetric, ...]
    dataset: Dataset
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_testenv(url: str) -> TestEnv:
    """The test environment in the yaml file `url`."""
    content = read_section(url, "testenv").open_record((*_OWN_KEYS, *_PARADIGM_KEYS, *_IANVS_KEYS))
    settings = {key: field.value for key, field in content.mapping().items() if key not in _OWN_KEYS}
    return TestEnv(parse_metrics(content["metrics"]), parse_dataset(content["dataset"]), settings)
