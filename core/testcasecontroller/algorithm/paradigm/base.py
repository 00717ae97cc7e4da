"""The base of every paradigm, as in Ianvs: module instances, a dataset, a workspace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from core.testcasecontroller.algorithm.module.module import Module


class ParadigmBase:
    """`module_instances` holds an object of the user's class by module type."""

    def __init__(self, workspace: str, **kwargs: Any) -> None:
        self.workspace = workspace
        self.modules: Mapping[str, Module] = kwargs["modules"]
        self.dataset: Any = kwargs.get("dataset")
        self.system_metric_info: dict[str, Any] = {}
        os.environ["LOCAL_TEST"] = "TRUE"
        self.module_instances = {kind: module.get_module_instance(kind) for kind, module in self.modules.items()}

    def run(self) -> tuple[Any, dict[str, Any]]:
        """The result for the metrics, and the data for system metrics."""
        raise NotImplementedError
