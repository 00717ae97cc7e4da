"""Users' metrics: `f(y_true, y_pred)`, found by the alias that they register."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from core.common import fields
from core.common.user_module import UserModule
from core.common.utils import one_line
from multiedge.errors import ConfigError


@dataclass(frozen=True)
class Metric:
    """A metric's name, which is its alias and its column, and the file that registers it."""

    name: str
    source: UserModule

    def compute(self, y_true: Any, y_pred: Any) -> Any:
        """The metric's value; NaN where it says None, a plain number where it says a numpy one."""
        function = self.source.registered()
        with self.source.active():
            try:
                value = function(y_true, y_pred)
            except (Exception, SystemExit) as error:
                raise RuntimeError(f"metric '{self.name}' ({self.source.url}): {one_line(error)}") from error
        if value is None:
            return math.nan
        return value.item() if getattr(value, "size", 0) == 1 and hasattr(value, "item") else value


def parse_metrics(data: object, place: str) -> tuple[Metric, ...]:
    """The metrics of a test environment, in the order of the file."""
    found: dict[str, Metric] = {}
    for index, entry in enumerate(fields.entries(data, place)):
        here = f"{place}[{index}]"
        content = fields.mapping(entry, here, ("name", "url"))
        name = fields.text(content, "name", here)
        if name in found:
            raise ConfigError(f"{here}: metric '{name}' is listed twice")
        if content.get("url") is None:
            raise ConfigError(f"{here}.url: expected the file of metric '{name}'; only other paradigms have built-in ones")
        found[name] = Metric(name, UserModule(fields.existing_file(content, "url", here), name))
    return tuple(found.values())
