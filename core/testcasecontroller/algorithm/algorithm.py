"""The algorithms that a job compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from core.common.config import existing_file, read_section
from core.common.constant import ModuleType, ParadigmType
from core.common.utils import load_module
from core.testcasecontroller.algorithm.module.module import Module, parse_module
from core.testcasecontroller.algorithm.paradigm.base import ParadigmBase
from core.testcasecontroller.algorithm.paradigm.multiedge_inference import MultiedgeInference
from multiedge.formats.fields import Field

_OWN_KEYS = ("paradigm_type", "modules", "initial_model_url", "third_party_packages")
_PARADIGM_KEYS = ("devices", "partition_strategy", "partition_options", "profiler", "input_shapes")
_IANVS_KEYS = ("incremental_learning_data_setting", "lifelong_learning_data_setting", "fl_data_setting")
_UPSTREAM = "https://github.com/kubeedge/ianvs"


@dataclass(frozen=True)
class Algorithm:
    """One algorithm with one combination of hyperparameters. `settings` are the other keys of its file, for the paradigm."""

    name: str
    paradigm_type: str
    initial_model_url: str
    modules: Mapping[str, Module]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hyperparameters(self) -> dict[str, str]:
        """Values by column name, `basemodel-learning_rate`, as the leaderboard shows them."""
        return {
            f"{module.type}-{name}": str(value)
            for module in self.modules.values()
            for name, value in module.hyperparameters.items()
        }

    @property
    def title(self) -> str:
        """The name with the hyperparameters, for messages."""
        values = ", ".join(f"{name.partition('-')[2]}={value}" for name, value in self.hyperparameters.items())
        return f"{self.name} ({values})" if values else self.name

    def paradigm(self, workspace: str, **kwargs: Any) -> ParadigmBase:
        """The paradigm that tests this algorithm; `kwargs` are the settings of the test environment."""
        own = {
            "name": self.name,
            "paradigm_type": self.paradigm_type,
            "initial_model_url": self.initial_model_url,
            "modules": self.modules,
        }
        return MultiedgeInference(workspace, **{**kwargs, **self.settings, **own})


def parse_algorithms(field: Field) -> tuple[Algorithm, ...]:
    """Every algorithm that a job lists, once for each combination of hyperparameters."""
    contents = [entry.record(("name", "url")) for entry in field.items(least=1)]
    return tuple(
        algorithm for content in contents for algorithm in read_algorithm(content["name"].name(), existing_file(content["url"]))
    )


def read_algorithm(name: str, url: str) -> list[Algorithm]:
    """The algorithm in the yaml file `url`, once for each combination of its modules' hyperparameters."""
    content = read_section(url, "algorithm").open_record((*_OWN_KEYS, *_PARADIGM_KEYS, *_IANVS_KEYS))
    paradigm = _paradigm_type(content["paradigm_type"])
    model = content["initial_model_url"].optional(Field.name, "")
    for package in content["third_party_packages"].optional(Field.items) or ():
        load_module(existing_file(package.record(("name", "url"))["url"]))
    settings = {key: field.value for key, field in content.mapping().items() if key not in _OWN_KEYS}
    modules = _modules(content["modules"])
    return [
        Algorithm(name, paradigm, model, dict(zip(modules, chosen, strict=True)), settings)
        for chosen in product(*modules.values())
    ]


def _paradigm_type(field: Field) -> str:
    paradigm, own = field.enum(ParadigmType), ParadigmType.MULTIEDGE_INFERENCE
    if paradigm is not own:
        raise field.error(f"'{paradigm.value}' runs in KubeEdge Ianvs ({_UPSTREAM}), not here; this host runs '{own.value}'")
    return own.value


def _modules(field: Field) -> dict[str, tuple[Module, ...]]:
    """Each module's combinations of hyperparameters, by the module's type."""
    modules: dict[str, tuple[Module, ...]] = {}
    for entry in field.items(least=1):
        combinations = parse_module(entry)
        if combinations[0].type in modules:
            raise entry.error(f"a second {combinations[0].type}; list it as an algorithm of its own")
        modules[combinations[0].type] = combinations
    if ModuleType.BASEMODEL.value not in modules:
        raise field.error(f"expected a module of type '{ModuleType.BASEMODEL.value}'")
    return modules
