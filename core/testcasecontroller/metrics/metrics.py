"""Users' metrics: `f(y_true, y_pred)`, registered under an alias."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from core.common.config import existing_file
from core.common.user_module import UserModule
from core.common.utils import one_line
from multiedge.formats.fields import Field


@dataclass(frozen=True)
class Metric:
    """A metric's name, which is its alias and the heading of its column, and the file that registers it."""

    name: str
    source: UserModule

    def compute(self, y_true: Any, y_pred: Any) -> Any:
        """The metric's value; NaN for None, a plain number for a numpy scalar."""
        function = self.source.registered()
        with self.source.active():
            try:
                value = function(y_true, y_pred)
            except (Exception, SystemExit) as error:
                raise RuntimeError(f"metric '{self.name}' ({self.source.url}): {one_line(error)}") from error
        if value is None:
            return math.nan
        return value.item() if getattr(value, "size", 0) == 1 and hasattr(value, "item") else value


def parse_metrics(field: Field) -> tuple[Metric, ...]:
    """The metrics of a test environment, in the order of the file."""
    metrics: dict[str, Metric] = {}
    for entry in field.items(least=1):
        content = entry.record(("name", "url"))
        name, url = content["name"].name(), content["url"]
        if name in metrics:
            raise entry.error(f"metric '{name}' is listed twice")
        if not url.given:
            raise url.error(f"expected the file of metric '{name}'; only other paradigms have built-in ones")
        metrics[name] = Metric(name, UserModule(existing_file(url), name))
    return tuple(metrics.values())
