"""One module of an algorithm: a user's file, the name that it registers, and the hyperparameters of this test case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.common import fields
from core.common.constant import ModuleType
from core.common.user_module import UserModule
from core.common.utils import one_line
from core.testcasecontroller.algorithm.module.hyperparameters import parse_grid


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


def parse_module(data: object, place: str) -> tuple[Module, ...]:
    """A module once for every combination of its hyperparameters."""
    content = fields.mapping(data, place, ("type", "name", "url", "hyperparameters"))
    kind = fields.choice(content.get("type"), f"{place}.type", [kind.value for kind in ModuleType])
    name = fields.text(content, "name", place)
    source = UserModule(fields.existing_file(content, "url", place), name)
    grid = parse_grid(content.get("hyperparameters"), f"{place}.hyperparameters")
    return tuple(Module(kind, name, source, hyperparameters) for hyperparameters in grid)
