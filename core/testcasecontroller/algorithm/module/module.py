"""One module of an algorithm: a user's file, the name that it registers, and the hyperparameters of this test case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.common.config import existing_file
from core.common.constant import ModuleType
from core.common.user_module import UserModule
from core.common.utils import one_line
from core.testcasecontroller.algorithm.module.hyperparameters import parse_grid
from multiedge.formats.fields import Field


@dataclass(frozen=True)
class Module:
    """A module with one combination of hyperparameters; all combinations share one `source`."""

    type: str
    name: str
    source: UserModule
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.source.url

    def get_module_instance(self, module_type: str) -> Any:
        """A new object of the user's class, the hyperparameters being its keyword arguments."""
        factory = self.source.registered()
        try:
            return factory(**self.hyperparameters)
        except (Exception, SystemExit) as error:
            raise RuntimeError(f"{module_type} '{self.name}' ({self.url}) cannot be made: {one_line(error)}") from error


def parse_module(field: Field) -> tuple[Module, ...]:
    """A module once for every combination of its hyperparameters."""
    content = field.record(("type", "name", "url", "hyperparameters"))
    kind = content["type"].enum(ModuleType)
    name = content["name"].name()
    source = UserModule(existing_file(content["url"]), name)
    return tuple(Module(kind.value, name, source, values) for values in parse_grid(content["hyperparameters"]))
