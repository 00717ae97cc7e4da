"""Algorithms: what a job compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from core.common import fields
from core.common.constant import ModuleType, ParadigmType
from core.common.utils import load_module, yaml2dict
from core.testcasecontroller.algorithm.module.module import Module, parse_module
from core.testcasecontroller.algorithm.paradigm.base import ParadigmBase
from core.testcasecontroller.algorithm.paradigm.multiedge_inference import MultiedgeInference
from multiedge.errors import ConfigError, did_you_mean

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
        words = ", ".join(f"{name.partition('-')[2]}={value}" for name, value in self.hyperparameters.items())
        return f"{self.name} ({words})" if words else self.name

    def paradigm(self, workspace: str, **kwargs: Any) -> ParadigmBase:
        """The test flow of this algorithm; `kwargs` are the test environment's part of it."""
        own = {
            "name": self.name,
            "paradigm_type": self.paradigm_type,
            "initial_model_url": self.initial_model_url,
            "modules": self.modules,
        }
        return MultiedgeInference(workspace, **{**kwargs, **self.settings, **own})


def parse_algorithms(data: object, place: str) -> tuple[Algorithm, ...]:
    """Every algorithm that a job lists, once for each combination of hyperparameters."""
    found: list[Algorithm] = []
    for index, entry in enumerate(fields.entries(data, place)):
        here = f"{place}[{index}]"
        content = fields.mapping(entry, here, ("name", "url"))
        found += read_algorithm(fields.text(content, "name", here), fields.existing_file(content, "url", here))
    return tuple(found)


def read_algorithm(name: str, url: str) -> list[Algorithm]:
    """The algorithm in the yaml file `url`, once for each combination of its modules' hyperparameters."""
    place = f"{url}: algorithm"
    data = fields.section(yaml2dict(url), url, "algorithm")
    content = fields.open_mapping(data, place, (*_OWN_KEYS, *_PARADIGM_KEYS, *_IANVS_KEYS))
    paradigm = _paradigm_type(content.get("paradigm_type"), f"{place}.paradigm_type")
    model = fields.text(content, "initial_model_url", place, default="")
    _import_packages(content.get("third_party_packages"), f"{place}.third_party_packages")
    settings = {key: value for key, value in content.items() if key not in _OWN_KEYS}
    modules = _modules(content.get("modules"), f"{place}.modules")
    return [
        Algorithm(name, paradigm, model, dict(zip(modules, chosen, strict=True)), settings)
        for chosen in product(*modules.values())
    ]


def _paradigm_type(value: object, place: str) -> str:
    own = ParadigmType.MULTIEDGE_INFERENCE.value
    if value == own:
        return own
    if value in [kind.value for kind in ParadigmType]:
        raise ConfigError(f"{place}: '{value}' runs in KubeEdge Ianvs ({_UPSTREAM}), not here; this host runs '{own}'")
    known = [kind.value for kind in ParadigmType]
    raise ConfigError(f"{place}: unknown paradigm '{value}'{did_you_mean(str(value), known)}")


def _modules(data: object, place: str) -> dict[str, tuple[Module, ...]]:
    found: dict[str, tuple[Module, ...]] = {}
    for index, entry in enumerate(fields.entries(data, place)):
        choices = parse_module(entry, f"{place}[{index}]")
        if choices[0].type in found:
            raise ConfigError(f"{place}[{index}]: a second {choices[0].type}; list it as an algorithm of its own")
        found[choices[0].type] = choices
    if ModuleType.BASEMODEL.value not in found:
        raise ConfigError(f"{place}: expected a module of type '{ModuleType.BASEMODEL.value}'")
    return found


def _import_packages(data: object, place: str) -> None:
    for index, entry in enumerate(data if isinstance(data, list) else []):
        here = f"{place}[{index}]"
        load_module(fields.existing_file(fields.mapping(entry, here, ("name", "url")), "url", here))
    if data is not None and not isinstance(data, list):
        raise ConfigError(f"{place}: expected a list of packages, got {fields.found(data)}")
